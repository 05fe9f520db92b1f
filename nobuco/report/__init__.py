"""The report of a conversion: plain data, and what shows it."""

from nobuco.report.console import print_report, progress, render_text
from nobuco.report.coverage import CallCoverage, Coverage, Served, render_coverage
from nobuco.report.data import Choice, NodeReport, Port, Report, Status, TraceLevel, report_to_dict
from nobuco.report.html import html_path, render_html, save_html

__all__ = [
    "CallCoverage",
    "Choice",
    "Coverage",
    "NodeReport",
    "Port",
    "Report",
    "Served",
    "Status",
    "TraceLevel",
    "html_path",
    "print_report",
    "progress",
    "render_coverage",
    "render_html",
    "render_text",
    "report_to_dict",
    "save_html",
]
