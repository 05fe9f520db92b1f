"""Reads the command line and runs a command. Only the standard library is imported until one runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from nobuco.cli import check, convert, coverage, locate
from nobuco.errors import InputError, NobucoError

COMMANDS = {"convert": convert, "check": check, "coverage": coverage, "locate": locate}
EXITS = """\
exit codes: 0 all is well; 1 the model cannot be converted, or what came out is not PyTorch's; 2 the command line
is wrong, or names what is not there."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow says at length which processor it found
    options = _parsed(argv)
    if os.getcwd() not in sys.path:  # as a console script starts, and `python -m` does not
        sys.path.insert(0, os.getcwd())
    try:
        return COMMANDS[options.command].run(options)
    except InputError as error:
        print(f"nobuco {options.command}: {error}", file=sys.stderr)
        return 2
    except NobucoError as error:
        print(f"nobuco {options.command}: {error}", file=sys.stderr)
        return 1


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; those that a command hands on to another programme are its `rest`."""
    reader = parser()
    options, rest = reader.parse_known_args(argv)
    if rest and not getattr(COMMANDS[options.command], "HANDS_ON", False):
        reader.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    return options


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(
        prog="python -m nobuco",
        description="Turn a PyTorch model into a Keras 3, SavedModel or TFLite model that gives the same numbers.",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        summary, _, rest = (module.__doc__ or "").partition("\n\n")
        module.add_options(
            commands.add_parser(
                name,
                help=summary,
                description=f"{summary}\n\n{rest}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
                allow_abbrev=False,
            )
        )
    return top
