"""Which weights of a converted model hold which tensors of a PyTorch checkpoint, and putting others in.

Needs no PyTorch: a checkpoint is a dict of arrays, or of whatever has `detach()`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from nobuco.errors import CheckpointError
from nobuco.kinds import instance, mapping, shown, takes
from nobuco.layers.state import StateLayer

# What may lie between a tensor and a weight. A step is its name and its argument, as JSON holds it.
STEPS: Mapping[str, Callable[[np.ndarray, Any], np.ndarray]] = {
    "transpose": lambda x, axes: np.transpose(x, axes),
    "reshape": lambda x, shape: np.reshape(x, shape),
    "flip": lambda x, axes: np.flip(x, axes),
    "take": lambda x, given: np.take(x, given[1:], given[0]),
    "rows": lambda x, ends: x[ends[0] : ends[1]],
}
Step = tuple[str, Sequence[int]]


def moved(array: np.ndarray, steps: Sequence[Step]) -> np.ndarray:
    """The array after these steps."""
    for name, argument in steps:
        array = STEPS[name](array, tuple(argument))
    return array


@dataclass(frozen=True)
class Term:
    """One tensor of a checkpoint on its way to a weight."""

    key: str
    steps: Sequence[Step] = ()


@dataclass(frozen=True)
class Checkpoint:
    """What a model's weights have to do with the checkpoint of the PyTorch model that it was made from.

    weights: by layer, for each of its variables the terms that add up to it; None where they are not known.
    shapes: of each tensor in the checkpoint.
    fixed: digests of the tensors that the conversion itself has computed with, so that no weight holds them.
    tied: keys of tensors that are others by a second name.
    """

    weights: Mapping[str, Sequence[Sequence[Term] | None]] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)

    @property
    def loaded(self) -> set[str]:
        """The keys that some weight holds."""
        return {term.key for terms in self.weights.values() for sum_ in terms for term in sum_ or ()}

    def to_config(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        weights = {
            layer: [None if terms is None else [[term.key, list(term.steps)] for term in terms] for terms in all_]
            for layer, all_ in self.weights.items()
        }
        shapes = {key: list(shape) for key, shape in self.shapes.items()}
        return {"weights": weights, "shapes": shapes, "fixed": dict(self.fixed), "tied": dict(self.tied)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Checkpoint:
        """What `to_config` wrote."""
        weights = {
            layer: [None if terms is None else [Term(key, steps) for key, steps in terms] for terms in all_]
            for layer, all_ in config["weights"].items()
        }
        return cls(weights, config["shapes"], config["fixed"], config["tied"])


def digest(array: np.ndarray) -> str:
    """A few characters that tell arrays apart."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


@takes(
    CheckpointError,
    model=instance("a Keras model that pytorch_to_keras returned", keras.Model),
    state_dict=mapping("a dict of tensors or arrays, as module.state_dict() gives it"),
)
def load_state_dict(model: keras.Model, state_dict: Mapping[str, Any]) -> None:
    """Put a newly trained PyTorch checkpoint into a model that was converted, or loaded from its `.keras` file.

    Each weight becomes what a new conversion would have made of the checkpoint: kernels are transposed, packed
    projections split, biases that a converter has added are added. Nothing is changed if anything does not fit.
    Tensors that the program never read may differ or be missing.

    Args:
        model: what `pytorch_to_keras` returned, or `keras.models.load_model` loaded.
        state_dict: what `module.state_dict()` gives, of tensors or of NumPy arrays. (For a function converted in
            place of a module: of the one module that it calls; of several, the keys begin with their names.)

    Raises:
        CheckpointError: keys are missing, unexpected, or of another shape; or tensors have changed that the
            conversion has computed with, so that the model must be converted again. All are listed.
    """
    checkpoint = getattr(model, "checkpoint", None)
    if checkpoint is None:
        raise CheckpointError(
            f"{model.name!r} does not know its checkpoint: give the model that pytorch_to_keras returned, or one that "
            "was loaded from its .keras file (and not, e.g., a model around it)"
        )
    arrays = {key: _array(tensor, key) for key, tensor in state_dict.items()}
    arrays |= {key: arrays[tied] for tied, key in checkpoint.tied.items() if key not in arrays and tied in arrays}
    _refuse(checkpoint, arrays)
    for name, recipes in checkpoint.weights.items():
        layer = model.get_layer(name)
        for variable, terms in zip(layer.variables, recipes, strict=True):
            if terms is not None:
                value = sum(moved(arrays[term.key], term.steps) for term in terms)
                variable.assign(np.asarray(value).astype(variable.numpy().dtype))
        if isinstance(layer, StateLayer) and recipes[0] is not None:
            layer.begin()


def _refuse(checkpoint: Checkpoint, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise one error about everything that is wrong."""
    known = {**checkpoint.shapes}
    needed = checkpoint.loaded | set(checkpoint.fixed)
    misshapen = [k for k in arrays if k in known and list(arrays[k].shape) != list(known[k]) and k in needed]
    problems = {
        "missing": [key for key in known if key in needed and key not in arrays],
        "unexpected": [key for key in arrays if key not in known],
        "of another shape": [f"{k} (is {arrays[k].shape}, must be {tuple(known[k])})" for k in misshapen],
        "changed, but the conversion has computed with them, so that no weight holds them; convert again": [
            key
            for key, before in checkpoint.fixed.items()
            if key in arrays and key not in misshapen and digest(arrays[key]) != before
        ],
    }
    lines = [f"  {what}: {', '.join(keys)}" for what, keys in problems.items() if keys]
    if lines:
        raise CheckpointError("the checkpoint does not fit the model:\n" + "\n".join(lines))


def _array(tensor: Any, key: str) -> np.ndarray:
    """A tensor of PyTorch, or what is like an array, as an array; bfloat16 as float32, which holds all its numbers."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        tensor = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
        return tensor.numpy()
    array = np.asarray(tensor)
    if array.dtype.kind not in "biufcV":
        raise CheckpointError(f"state_dict holds {shown(tensor)} for {key!r}; give a tensor or an array of numbers")
    return array
