"""The report of a conversion: plain data, and what shows it."""

from nobuco.report.console import print_report, progress, render_text
from nobuco.report.data import Choice, NodeReport, Port, Report, Status, TraceLevel, report_to_dict
from nobuco.report.html import html_path, render_html, save_html

__all__ = [
    "Choice",
    "NodeReport",
    "Port",
    "Report",
    "Status",
    "TraceLevel",
    "html_path",
    "print_report",
    "progress",
    "render_html",
    "render_text",
    "report_to_dict",
    "save_html",
]
