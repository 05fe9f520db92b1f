"""Tell what of an operation or a model converts, without converting it.

An operation goes by its name; a model by its name and its inputs.

  python -m nobuco coverage torch.special.zeta
  python -m nobuco coverage mypkg.Net --input 1,3,224,224
"""

from __future__ import annotations

import argparse
import shutil
import sys

from nobuco.cli.options import add_model_options, model_and_arguments
from nobuco.environment.quiet import load_tensorflow
from nobuco.subject.resolve import resolve


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `coverage`."""
    add_model_options(parser)


def run(options: argparse.Namespace) -> int:
    """Print the calls, and the converter of each or what it is opened into; 1 if something has neither."""
    import nobuco

    named = resolve(options.model)
    load_tensorflow()
    if _is_operation(named):
        coverage = nobuco.coverage(options.model)
    else:
        model, (args, kwargs) = model_and_arguments(options)
        coverage = nobuco.coverage(model, args, kwargs)
    from nobuco.report import render_coverage
    from nobuco.report.console import shows_color

    width = min(shutil.get_terminal_size().columns, 120)
    print(render_coverage(coverage, width=width, color=shows_color(sys.stdout)), end="")
    return 0 if coverage.complete else 1


def _is_operation(named: object) -> bool:
    """Whether a name means one of PyTorch's own operations, or what has a converter, rather than a model's maker."""
    from nobuco.builtin import find_converter

    home = getattr(named, "__module__", None) or "torch"
    return find_converter(named) is not None or str(home).split(".")[0] in ("torch", "_operator")  # type: ignore[arg-type]
