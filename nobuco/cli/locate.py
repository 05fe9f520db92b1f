"""Show which converter an operation has: where it stands, and its source.

python -m nobuco locate torch.nn.functional.gelu
"""

from __future__ import annotations

import argparse

from nobuco.environment.quiet import load_tensorflow
from nobuco.subject.resolve import resolve


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `locate`."""
    parser.add_argument(
        "operation",
        help="a function, method, module class or operator: torch.Tensor.repeat, torch.nn.Conv2d, torchvision::nms",
    )


def run(options: argparse.Namespace) -> int:
    """Print the link and the source."""
    import nobuco

    named = options.operation  # "torchvision::nms" is how the registry itself calls an operator
    operation = named if "::" in named else resolve(named)
    load_tensorflow()
    link, source = nobuco.locate_converter(operation)
    print(f"{link}\n\n{source}", end="")
    return 0
