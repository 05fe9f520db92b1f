"""The picture of the printed tree for the documentation: `python -m tools.console_picture docs/images/console.svg`.

The network of the HTML trace's pictures, with its converter that is a little wrong.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

import nobuco
from nobuco.report import render_text
from tools.trace_picture import Net, anywhere

WIDTH = 92
# A picture in a page may load no font, and asks for none.
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def main(picture: Path) -> None:
    """Convert, print, draw."""
    torch.manual_seed(0)
    _, report = nobuco.pytorch_to_keras(
        Net().eval(), args=[torch.randn(1, 3, 16, 16)], return_report=True, verbose=False
    )
    text = anywhere(render_text(report, width=WIDTH, color=True))
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text.from_ansi(text.rstrip()))
    svg = console.export_svg(title="nobuco.pytorch_to_keras(Net(), args=[image])", theme=DIMMED_MONOKAI)
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    picture.write_text(re.sub(r"font-family: Fira Code, monospace", f"font-family: {FONTS}", svg), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
