"""The report of a conversion: plain data, and what shows it."""

from nobuco.report.console import print_report, progress, render_text
from nobuco.report.data import NodeReport, Report, Status, TraceLevel, report_to_dict

__all__ = [
    "NodeReport",
    "Report",
    "Status",
    "TraceLevel",
    "print_report",
    "progress",
    "render_text",
    "report_to_dict",
]
