"""What several commands ask for: a model, its inputs, its weights."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nobuco.errors import InputError
from nobuco.subject.inputs import FORM, InputSpec, parse_input
from nobuco.subject.resolve import resolve

if TYPE_CHECKING:
    from nobuco.subject.model import Arguments

ORDERS = ("nhwc", "nchw")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The model and what it is tried on."""
    parser.add_argument(
        "model", help="pkg.Net or pkg.mod:attr: a torch.nn.Module class, a function that returns a model, or a model"
    )
    parser.add_argument(
        "-i", "--input", dest="inputs", metavar="SIZES", type=_input, action="append", default=[],
        help=f"one input, {FORM}; once per input, in order. Left out: the model's own example_inputs().",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of random weights and inputs (default: 0)")


def _input(text: str) -> InputSpec:
    try:
        return parse_input(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def model_and_arguments(options: argparse.Namespace, weights: Path | None = None) -> tuple[Any, Arguments]:
    """The model, with the weights of a file if one is given, and the arguments to try it on.

    Raises:
        InputError: there is no such model or file, or the weights are another model's.
    """
    import torch

    from nobuco.subject.model import arguments, built

    named = resolve(options.model)
    model = built((lambda: named) if isinstance(named, torch.nn.Module) else named, options.seed)
    if weights is not None:
        _load(model, weights)
    return model, arguments(model, options.inputs or None, {}, options.seed)


def _load(model: Any, path: Path) -> None:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state.get("state_dict", state))
    except Exception as error:
        raise InputError(f"--weights {path}: {error}") from error


def free_shapes(tensors: Sequence[Any], specs: Sequence[InputSpec]) -> dict[Any, tuple[int | None, ...]]:
    """`input_shapes` for the inputs that have a dynamic axis."""
    return {
        tensor: tuple(None if axis in spec.free else size for axis, size in enumerate(spec.shape))
        for tensor, spec in zip(tensors, specs)
        if spec.free
    }
