"""Command line and ini: declared here, read here."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import pytest

from pytest_nobuco.inputs import FORM, InputSpec, parse_input

REAL_BACKEND = "pytest_nobuco.backend:NobucoBackend"
MARKER = (
    "convert(inputs, kwargs, orders, runtimes, max_abs_diff, max_rel_diff): convert the PyTorch model that "
    "this function returns (or this torch.nn.Module class) to Keras and TFLite, and compare each with "
    "PyTorch. On a module or a test class it sets what its functions inherit."
)


@dataclass(frozen=True)
class Options:
    """What the user asked for on the command line and in the ini file; None where nothing was said."""

    models: tuple[str, ...]
    inputs: tuple[InputSpec, ...]
    max_abs_diff: float | None
    max_rel_diff: float | None
    ini_max_abs_diff: float | None
    ini_max_rel_diff: float | None
    max_abs_limit: float | None
    seed: int
    backend: str


def add_options(parser: pytest.Parser) -> None:
    """Declare every `--nobuco-*` option and `nobuco_*` ini key."""
    group = parser.getgroup("nobuco", "PyTorch to Keras and TFLite (nobuco)")
    group.addoption(
        "--nobuco-model",
        action="append",
        default=[],
        metavar="NAME",
        help="convert this model and compare with PyTorch; a dotted name or module:attribute of a class, a "
        "factory or an instance; repeatable. Without a path only the models run.",
    )
    group.addoption(
        "--nobuco-input",
        action="append",
        default=[],
        type=_input,
        metavar="SPEC",
        help=f"one input of the models, {FORM}; once per input, in order. Left out: the model's own example_inputs().",
    )
    group.addoption(
        "--nobuco-max-abs-diff",
        type=_bound,
        metavar="BOUND",
        help="the largest absolute difference of an output element from PyTorch's",
    )
    group.addoption(
        "--nobuco-max-rel-diff",
        type=_bound,
        metavar="BOUND",
        help="the same as a fraction of the output's largest element",
    )
    group.addoption(
        "--nobuco-max-abs-limit",
        type=_bound,
        metavar="BOUND",
        help="a ceiling on the absolute difference that no marker and no ini file can loosen",
    )
    group.addoption(
        "--nobuco-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of random weights and inputs (default: 0)",
    )
    parser.addini("nobuco_max_abs_diff", "as --nobuco-max-abs-diff, which overrides it")
    parser.addini("nobuco_max_rel_diff", "as --nobuco-max-rel-diff, which overrides it")
    parser.addini("nobuco_backend", "for the plugin's own tests", default=REAL_BACKEND)


def read_options(config: pytest.Config) -> Options:
    """What was given; a value in the ini file that is no number is a usage error."""
    return Options(
        models=tuple(dict.fromkeys(config.getoption("nobuco_model"))),
        inputs=tuple(config.getoption("nobuco_input")),
        max_abs_diff=config.getoption("nobuco_max_abs_diff"),
        max_rel_diff=config.getoption("nobuco_max_rel_diff"),
        ini_max_abs_diff=_ini_bound(config, "nobuco_max_abs_diff"),
        ini_max_rel_diff=_ini_bound(config, "nobuco_max_rel_diff"),
        max_abs_limit=config.getoption("nobuco_max_abs_limit"),
        seed=config.getoption("nobuco_seed"),
        backend=config.getini("nobuco_backend"),
    )


def _input(text: str) -> InputSpec:
    try:
        return parse_input(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _bound(text: str) -> float:
    try:
        bound = float(text)
    except ValueError:
        bound = -1.0
    if not bound >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no bound; a bound is a number from 0 up, e.g. 1e-4")
    return bound


def _ini_bound(config: pytest.Config, key: str) -> float | None:
    text = config.getini(key)
    if not text:
        return None
    try:
        return _bound(text)
    except argparse.ArgumentTypeError as error:
        raise pytest.UsageError(f"ini key {key}: {error}") from None
