"""Makes one site of the pages in `docs/`, README.md and the tables of `conformance/`: a hook of MkDocs (mkdocs.yml)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add what lies outside of `docs/`: pages, and the file of known gaps that they name."""
    pages = OUTSIDE | {f"conformance/{path.name}": f"conformance/{path.name}" for path in _tables()}
    for source, target in pages.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at where the pages lie in the site."""
    inside = "../" if "/" in page.file.src_uri else ""

    def moved(match: re.Match[str]) -> str:
        source, anchor = match[1], match[2] or ""
        if source.removeprefix("../") in OUTSIDE:
            return f"]({inside}{OUTSIDE[source.removeprefix('../')]}{anchor})"
        if source.startswith(("docs/", "../docs/")):
            return f"]({inside}{source.removeprefix('../').removeprefix('docs/')}{anchor})"
        if source.startswith("../conformance/"):
            return f"]({source.removeprefix('../')}{anchor})"
        return match[0]

    return re.sub(r"\]\(([^)#\s:]+)(#[^)]*)?\)", moved, markdown)


def _tables() -> list[Path]:
    return [*sorted((ROOT / "conformance").glob("*.md")), ROOT / "conformance" / "xfails.txt"]
