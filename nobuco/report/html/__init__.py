"""The report as an HTML page: a tree of calls and a graph, from the report's data alone."""

from nobuco.report.html.page import EDITORS, html_path, render_html, save_html

__all__ = ["EDITORS", "html_path", "render_html", "save_html"]
