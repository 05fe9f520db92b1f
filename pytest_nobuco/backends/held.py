"""An artifact held against a PyTorch model: its tensors brought into PyTorch's places and order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_nobuco.backends.artifact import Opened
from pytest_nobuco.backends.matching import NCHW, NHWC, Place, Slot, match
from pytest_nobuco.errors import SuiteError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Tensors:
    """What PyTorch takes and gives, in its order, with names as far as there are any."""

    inputs: Sequence[np.ndarray]
    input_names: Sequence[str]
    outputs: Sequence[np.ndarray]
    output_names: Sequence[str] = ()


@dataclass
class Held:
    """An artifact with how its inputs and outputs are wanted to lie.

    open: opens it; called once.
    inputs, outputs: channel orders; empty where they are to be found. `strict`: no other will do.
    facts: what its conversion took, and what it consists of.
    keep: what has to live as long as the file.
    """

    path: Path
    open: Callable[[], Opened]
    inputs: str = ""
    outputs: str = ""
    strict: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    keep: Any = None
    orders: str = ""
    """How the tensors of the last run lay, and how that is known, in words."""

    @cached_property
    def opened(self) -> Opened:
        """The artifact, opened."""
        return self.open()

    def run(self, tensors: Tensors) -> list[Any]:
        """Its outputs in PyTorch's places and order, for inputs in PyTorch's.

        Where neither a shape nor a wish tells an order, each is tried, and the one nearer to PyTorch holds.
        """
        inputs, made = self._places(tensors)
        best: tuple[float, list[Any], str] | None = None
        for order, how in self._input_orders(inputs):
            lying = [self._input_order(place, order) for place in inputs]
            feeds = [
                _cast(to_order(tensors.inputs[place.index], each), self._dtype(i))
                for i, (place, each) in enumerate(zip(inputs, lying))
            ]
            outputs = self._outputs(self.opened.run(feeds), made, tensors.outputs)
            off = sum(off for off, _, _ in outputs)
            arrays = [array for _, array, _ in outputs]
            if best is None or off < best[0]:
                words = [_words(inputs, lying, how), _words_of_outputs([each for _, _, each in outputs])]
                best = off, arrays, f"inputs {words[0]}, outputs {words[1]}"
        assert best is not None
        self.orders = best[2]
        return best[1]

    def feeds(self, tensors: Tensors) -> list[Any]:
        """The inputs as the artifact takes them, in the order that it is wanted in or that shapes tell."""
        inputs, _ = self._places(tensors)
        order = next(iter(self._input_orders(inputs)))[0]
        return [
            _cast(to_order(tensors.inputs[place.index], self._input_order(place, order)), self._dtype(i))
            for i, place in enumerate(inputs)
        ]

    def _places(self, tensors: Tensors) -> tuple[list[Place], list[Place]]:
        ours = _slots(tensors.inputs, tensors.input_names), _slots(tensors.outputs, tensors.output_names)
        opened = self.opened
        if opened.inputs is None or opened.outputs is None:
            return _in_order(tensors.inputs, self.inputs), _in_order(tensors.outputs, self.outputs)
        return match(opened.inputs, ours[0], "input"), match(opened.outputs, ours[1], "output")

    def _input_orders(self, places: Sequence[Place]) -> Iterator[tuple[str, str]]:
        """The orders to try inputs in, each with how it is known."""
        orders = {place.orders[0] for place in places if not place.is_ambiguous}
        ambiguous = any(place.is_ambiguous for place in places)
        if self.inputs:
            yield self.inputs, "as wanted"
        elif not ambiguous or orders == {NHWC}:
            yield NHWC, "by shape"
        else:
            yield from ((NHWC, "tried"), (NCHW, "tried"))

    def _input_order(self, place: Place, order: str) -> str:
        """The order that was wished for; one that is only tried holds where the shape allows it."""
        if self.inputs:
            return self._order(place, self.inputs, "input")
        return order if order in place.orders else place.orders[0]

    def _order(self, place: Place, wanted: str, what: str) -> str:
        if wanted in place.orders:
            return wanted
        if self.strict and wanted and place.has_channels:
            raise SuiteError(
                f"{what} {place.index} of the file does not lie {wanted}: its shape says {place.orders[0]}"
            )
        return place.orders[0]

    def _dtype(self, index: int) -> Any:
        return self.opened.dtypes[index] if index < len(self.opened.dtypes) else None

    def _outputs(
        self, got: Sequence[Any], places: Sequence[Place], expected: Sequence[np.ndarray]
    ) -> list[tuple[float, Any, str]]:
        """For each of PyTorch's outputs how far it is off, the array, and how it lies."""
        if len(got) != len(places):
            raise SuiteError(f"it gives {len(got)} outputs, PyTorch {len(expected)}")
        nearest: dict[int, tuple[float, Any, str]] = {}
        for array, place in zip(got, places):
            orders = [self._order(place, self.outputs, "output")] if self.outputs else list(place.orders)
            theirs = expected[place.index]
            tried = [(order, from_order(array, order)) for order in orders]
            offs = [(_off(ours, theirs), ours, order) for order, ours in tried]
            off, ours, order = min(offs, key=lambda each: each[0])
            how = "tried" if len(orders) > 1 else "by shape" if order != self.outputs else "as wanted"
            nearest[place.index] = off, _cast_integers(ours, theirs), f"{order} ({how})" if theirs.ndim >= 3 else ""
        return [nearest[index] for index in sorted(nearest)]


def _slots(arrays: Sequence[np.ndarray], names: Sequence[str]) -> list[Slot]:
    named = names if len(names) == len(arrays) else [""] * len(arrays)
    return [Slot(name, array.shape) for name, array in zip(named, arrays)]


def to_order(array: np.ndarray, order: str) -> np.ndarray:
    """PyTorch's array as it lies in this order."""
    import numpy as np

    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if order == NHWC and array.ndim >= 3 else array


def from_order(array: np.ndarray, order: str) -> np.ndarray:
    """An array that lies in this order as PyTorch's."""
    import numpy as np

    return np.moveaxis(array, -1, 1) if order == NHWC and array.ndim >= 3 else array


def _in_order(arrays: Sequence[np.ndarray], order: str) -> list[Place]:
    return [Place(index, (order if array.ndim >= 3 and order else NCHW,)) for index, array in enumerate(arrays)]


def _cast(array: np.ndarray, dtype: Any) -> np.ndarray:
    """An input in the dtype that the artifact takes: other widths only, no other kind."""
    import numpy as np

    if dtype is None or np.dtype(dtype).kind != array.dtype.kind:
        return array
    return array.astype(dtype)


def _cast_integers(array: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Integers of another width, which are other converters' choice, in PyTorch's."""
    if array.dtype.kind in "iu" and theirs.dtype.kind in "iu":
        return array.astype(theirs.dtype)
    return array


def _off(ours: np.ndarray, theirs: np.ndarray) -> float:
    import numpy as np

    if ours.shape != theirs.shape:
        return math.inf
    if not ours.size:
        return 0.0
    with np.errstate(all="ignore"):
        off = np.abs(np.nan_to_num(ours.astype("f8")) - np.nan_to_num(theirs.astype("f8"))).max()
    return float(off)


def _words(places: Sequence[Place], orders: Sequence[str], how: str) -> str:
    return _joined([f"{order} ({how})" for place, order in zip(places, orders) if place.has_channels])


def _words_of_outputs(told: Sequence[str]) -> str:
    return _joined([words for words in told if words])


def _joined(words: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(words)) or "without channels"
