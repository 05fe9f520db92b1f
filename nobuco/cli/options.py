"""What several commands ask for: a model, its inputs, its weights."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nobuco.errors import InputError, NobucoError
from nobuco.subject.inputs import FORM, InputSpec, arranged, parse_input, parse_seed, tensor_leaves, told
from nobuco.subject.mistakes import in_a_line
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
        "-i", "--input", dest="inputs", metavar="SIZES", type=told(parse_input), action="append", default=[],
        help=f"one input, {FORM}; once per input, in order. Left out: the model's own example_inputs().",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=told(parse_seed), default=0, help="seed of random weights and inputs (default: 0)"
    )


def model_and_arguments(options: argparse.Namespace, weights: Path | None = None) -> tuple[Any, Arguments]:
    """The model, with the weights of a file if one is given, and the arguments to try it on.

    Raises:
        InputError: there is no such model or file, the weights are another model's, or it does not take its inputs.
    """
    import torch

    from nobuco.subject.model import arguments, built, ran

    named = resolve(options.model)
    if isinstance(named, torch.nn.Module):
        model = built(lambda: named, options.seed)
    else:
        model = _made(f"{options.model}: making the model", lambda: built(named, options.seed))
    if weights is not None:
        _load(model, weights)
    inputs = options.inputs or None
    args, kwargs = _made(f"{options.model}: its inputs", lambda: arguments(model, inputs, {}, options.seed))
    ran(model, args, kwargs)  # a mistake is told before TensorFlow loads
    return model, (args, kwargs)


def _made(what: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except NobucoError:
        raise
    except Exception as error:
        raise InputError(f"{what} raised {in_a_line(error)}; --traceback shows more") from error


def _load(model: Any, path: Path) -> None:
    import torch

    from nobuco.subject.model import summary

    if not isinstance(model, torch.nn.Module):
        raise InputError(f"--weights {path}: the model is {summary(model)}, which has no state_dict")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of whatever kind of file it is; PyTorch tells at length of ways to load it unsafely
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"--weights {path}: {reason}") from error
    if not isinstance(state, Mapping):
        raise InputError(f"--weights {path}: it holds {summary(state)}; give a file that holds a state_dict")
    try:
        model.load_state_dict(state.get("state_dict", state))
    except (RuntimeError, TypeError) as error:
        raise InputError(f"--weights {path}: {error}") from error


def bound(text: str) -> float:
    """A bound as a command line gives it."""
    number = float(text)
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 up")
    return number


def free_shapes(tensors: Sequence[Any], specs: Sequence[InputSpec]) -> dict[Any, tuple[int | None, ...]]:
    """`input_shapes` for the inputs that have a dynamic axis."""
    return {
        tensor: tuple(None if axis in spec.free else size for axis, size in enumerate(spec.shape))
        for tensor, spec in zip(tensors, tensor_leaves(arranged(specs)))
        if spec.free
    }
