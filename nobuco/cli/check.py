"""Compare a model with PyTorch in every form: channel orders, static and dynamic shapes, Keras and TFLite.

What `pytest --nobuco-model MODEL` does, whose options may follow: --nobuco-report out.html, --nobuco-runtime tflite,
-n 4, -x and the others. Exit codes are pytest's: 0 all matches, 1 something does not, 4 the command line is wrong.

  python -m nobuco check mypkg.Net --input 1,3,224,224 --max-abs-diff 1e-4 --nobuco-report parity.html
"""

from __future__ import annotations

import argparse
import importlib.util

from nobuco.cli.options import add_model_options, bound
from nobuco.errors import InputError
from nobuco.subject.resolve import resolve

# Options that are unknown here are pytest's.
HANDS_ON = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `check`."""
    add_model_options(parser)
    parser.add_argument("--max-abs-diff", type=bound, metavar="X", help="the largest difference (default: the dtype's)")


def run(options: argparse.Namespace) -> int:
    """Run the plugin's suite of the model."""
    if importlib.util.find_spec("pytest") is None:
        raise InputError("check runs in pytest, which is not installed: pip install 'nobuco[pytest]'")
    resolve(options.model)  # a wrong name is told before anything else loads
    import pytest

    words = ["--nobuco-model", options.model, "--nobuco-seed", str(options.seed)]
    words += [word for spec in options.inputs for word in ("--nobuco-input", str(spec))]
    words += [] if options.max_abs_diff is None else ["--nobuco-max-abs-diff", str(options.max_abs_diff)]
    words += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]  # nobuco is, as it runs
    return int(pytest.main([*words, *options.rest]))
