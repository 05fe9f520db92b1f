"""Style sheets and scripts, which pages hold within themselves."""

from __future__ import annotations

from importlib.resources import files

from nobuco.report.html.markup import Markup, tag


def asset(name: str, package: str = "nobuco.report.html") -> Markup:
    """A style sheet (`x.css`) or a script (`x.js`) of a package, as an element of the page."""
    element = {"css": "style", "js": "script"}[name.rpartition(".")[2]]
    return tag(element, Markup("\n" + (files(package) / name).read_text(encoding="utf-8")))
