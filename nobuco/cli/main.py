"""Reads the command line and runs a command. Only the standard library is imported until one runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from nobuco.cli import check, convert, coverage, env, locate, report
from nobuco.errors import InputError, NobucoError
from nobuco.files import working_directory
from nobuco.subject.mistakes import in_a_line

COMMANDS = {"convert": convert, "check": check, "coverage": coverage, "locate": locate, "report": report, "env": env}
EXITS = """\
exit codes: 0 all is well; 1 the model cannot be converted, or what came out is not PyTorch's; 2 the command line
is wrong, or names what is not there."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow says at length which processor it found
    options = _parsed(argv)
    here = working_directory()
    if here is not None and here not in sys.path:  # as a console script starts, and `python -m` does not
        sys.path.insert(0, here)
    try:
        code = COMMANDS[options.command].run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads the output has seen enough; Python would say so once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if options.traceback:
            raise
        code, message = _told(error)
        print(f"nobuco {options.command}: {message}", file=sys.stderr)
    return code


def _told(error: BaseException) -> tuple[int, str]:
    """The exit code for an error, and what to say."""
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted"
    if isinstance(error, NobucoError):
        return (2 if isinstance(error, InputError) else 1), str(error)
    if isinstance(error, OSError):
        return 1, f"{error} (--traceback shows where)"
    return 1, f"{in_a_line(error)}; --traceback shows where"


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; those that a command hands on to another program are its `rest`."""
    reader = parser()
    for word in sys.argv[1:] if argv is None else argv:
        if word.startswith("-") and word.endswith("=--"):  # argparse would make an empty list of the value
            reader.error(f"{word}: '--' is no value")
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
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary}\n\n{rest}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_options(command)
        command.add_argument("--traceback", action="store_true", help="show Python's traceback of an error")
    return top
