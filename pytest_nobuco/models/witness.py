"""What PyTorch tells of a model beside its outputs, by running it again: what a bound may and may not ask of them.

Imports PyTorch only where something is asked.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

    from nobuco.parity.pointing import Pointed

_RUNS = 3


@dataclass(frozen=True)
class Witness:
    """A model that ran, with its arguments and what it gave."""

    model: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: Any

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each output is called: its key or field, or its number."""
        return tuple(".".join(path) or "0" for path in _paths(self.outputs))

    @cached_property
    def randomness(self) -> str | None:
        """How two runs on the same inputs differ; None where they do not."""
        try:
            others = self._arrays(self._again())
        except Exception as error:
            return f"the second raises {type(error).__name__}: {error}"
        for name, one, other in zip(self.names, self._arrays(self.outputs), others):
            if one.shape != other.shape:
                return f"output {name} has shape {one.shape} once and {other.shape} another time"
            if not _equal(one, other):
                return f"output {name} by {_apart(one, other):.1e}"
        return None

    @cached_property
    def emptiness(self) -> str | None:
        """Why nothing that the model does would show in its outputs; None where it would."""
        arrays = self._arrays(self.outputs)
        if not any(array.size for array in arrays):
            return "every output is empty, so nothing was compared"
        changed = with_other_values((self.args, dict(self.kwargs)))
        if changed is None:
            return None
        try:
            others = self._arrays(self._again(*changed))
        except Exception:  # these values may be beyond what the model takes
            return None
        same = len(arrays) == len(others) and all(map(_equal, arrays, others))
        return "the outputs are the same for other inputs, so a wrong conversion may not show" if same else None

    @cached_property
    def noise(self) -> tuple[float | None, ...]:
        """Per output, how far it moves when each result on the way is rounded anew; None where that cannot be told.

        Every operation's result is moved within its last place, at random, which is what another order of summation or
        another kernel does (Monte Carlo arithmetic). So numbers that are left where larger ones cancelled out show how
        much of them is chance.
        """
        arrays = self._arrays(self.outputs)
        try:
            runs = [self._arrays(self._again(rounding=seed)) for seed in range(_RUNS)]
        except Exception:  # a model may refuse to run under a dispatch mode
            return (None,) * len(arrays)
        if any(len(run) != len(arrays) for run in runs):
            return (None,) * len(arrays)
        return tuple(_largest_move(plain, [run[i] for run in runs]) for i, plain in enumerate(arrays))

    @cached_property
    def pointed(self) -> Mapping[int, Pointed]:
        """By the number of an output: what it points to, where it is what an operation gave that finds indices."""
        from nobuco.bridge import flat_outputs
        from pytest_nobuco.models.pointing import Finding

        try:
            with Finding() as finding:
                outputs = flat_outputs(self._again())
        except Exception:  # a model may refuse to run under a function mode
            return {}
        known = {i: finding.of(output) for i, output in enumerate(outputs)}
        return {i: pointed for i, pointed in known.items() if pointed is not None}

    def _again(self, args: Any = None, kwargs: Any = None, rounding: int | None = None) -> Any:
        """The model's outputs from another run, as a copy that knows nothing of earlier ones."""
        from contextlib import nullcontext

        import torch

        from pytest_nobuco.models.rounding import Rounding, moved

        given = copy.deepcopy((self.args, dict(self.kwargs)) if args is None else (args, kwargs))
        model = copy.deepcopy(self.model)
        mode: Any = nullcontext()
        if rounding is not None:
            mode = Rounding.seeded(rounding)
            given = moved(given, mode)
        with torch.no_grad(), mode:
            return model(*given[0], **given[1])

    def _arrays(self, outputs: Any) -> list[np.ndarray]:
        from nobuco.bridge import flat_outputs, to_numpy

        return [to_numpy(tensor) for tensor in flat_outputs(outputs)]


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are the same, NaN where the other has it."""
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference that is finite."""
    import numpy as np

    apart = np.abs(one.astype(np.complex128) - other.astype(np.complex128))
    return float(np.max(apart, where=np.isfinite(apart), initial=0.0))


def _largest_move(plain: np.ndarray, moved: Sequence[np.ndarray]) -> float | None:
    if any(other.shape != plain.shape for other in moved):
        return None
    return max(_apart(plain, other) for other in moved)


def _paths(outputs: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where each tensor stands, in the order of `nobuco.bridge.flat_outputs`."""
    import torch

    if isinstance(outputs, torch.Tensor):
        yield path
        return
    if dataclasses.is_dataclass(outputs):
        items: Any = [(f.name, getattr(outputs, f.name)) for f in dataclasses.fields(outputs)]
    elif hasattr(outputs, "items"):
        items = outputs.items()
    elif isinstance(outputs, (list, tuple)):
        items = zip(getattr(outputs, "_fields", range(len(outputs))), outputs)
    else:
        return
    for key, item in items:
        yield from _paths(item, (*path, str(key)))


def with_other_values(tree: Any) -> Any:
    """The arguments with their rows read backwards, and numbers scaled; None where that changes nothing.

    What a model may ask of a row holds: a box has its corners where it had them. What ascends or descends keeps its
    order, since it may be a list of limits.
    """
    import torch
    from torch.utils import _pytree as pytree

    def other(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        is_number = leaf.is_floating_point() or leaf.is_complex()
        axes = [axis for axis, size in enumerate(leaf.shape[: -1 if is_number else None]) if size > 1]
        turned = leaf
        if axes and not _is_sorted(leaf):
            rows = torch.arange(leaf.shape[axes[0]] - 1, -1, -1, device=leaf.device)
            turned = leaf.index_select(axes[0], rows)  # `flip` takes not every dtype
        return turned * 0.75 if is_number else turned

    changed = pytree.tree_map(other, tree)
    pairs = zip(pytree.tree_leaves(tree), pytree.tree_leaves(changed))
    if any(isinstance(a, torch.Tensor) and not torch.equal(a, b) for a, b in pairs):
        return changed
    return None


def _is_sorted(tensor: torch.Tensor) -> bool:
    """Whether the elements of each row ascend, or those of each descend."""
    if tensor.is_complex() or not tensor.dim():
        return False
    numbers = tensor.double()  # PyTorch compares no unsigned integers of 16 bits and more
    before, after = numbers[..., :-1], numbers[..., 1:]
    return bool((before <= after).all() or (before >= after).all())
