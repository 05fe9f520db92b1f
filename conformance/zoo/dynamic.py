"""One network of a zoo, converted with its axes dynamic and run at sizes and with padding that it has not seen."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import nobuco
from conformance.zoo.measure import compared
from conformance.zoo.network import Inputs, Network
from conformance.zoo.sizes import Resizable, resizable
from nobuco.errors import InputError

_LONGEST = 400
# What may become of a network; of its sizes the worst counts.
RIGHT, WARNED, TOLD, STATIC, RAISED, WRONG = "right", "right but warned of", "told", "static", "error", "wrong"
_RANKS = (RIGHT, TOLD, RAISED, WRONG)


@dataclass(frozen=True)
class Dynamic:
    """What became of a network at other sizes: a word, which axes were dynamic, and what there is to say of it.

    `told` is that the model refuses a size with the region in which it is right; `static` that PyTorch itself takes no
    other sizes. `commit` is that of the code. `sizes` are those that were tried.
    """

    name: str
    zoo: str = ""
    word: str = ""
    axes: tuple[str, ...] = ()
    about: str = ""
    warned: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    seconds: float = 0
    error: str = ""
    commit: str = ""

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong, nor warned of."""
        return self.word in (RIGHT, STATIC)

    def line(self, verbose: bool) -> str:
        """The row in words."""
        said = f"{self.name}: {self.word or 'nothing'} ({', '.join(self.axes)}; {self.seconds:.0f} s) {self.error}"
        return f"{said}{self.about[:200]}" + ("".join(f"\n  {text}" for text in self.warned) if verbose else "")


def measure(
    zoo: str,
    name: str,
    make: Callable[[], Network],
    tell: Callable[[Dynamic], None] = lambda row: None,
    commit: str = "",
) -> Dynamic:
    """Convert with dynamic axes and compare at one smaller, one larger and one odd size; `tell` hears of it."""
    row = Dynamic(name, zoo, commit=commit)
    tell(row)
    started = time.process_time()
    try:
        row = _measured(row, make())
    except Exception as error:
        row = replace(row, error=_short(error))
    row = replace(row, seconds=round(time.process_time() - started, 1))
    tell(row)
    return row


def _measured(row: Dynamic, network: Network) -> Dynamic:
    resized = resizable(network)
    if resized is None:
        return replace(row, word=STATIC)
    sizes = tuple(f"{way} {_described(inputs)}" for way, inputs in resized.tried.items())
    row = replace(row, axes=resized.dynamic, sizes=sizes)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", nobuco.NobucoWarning)
            keras_model = _converted(resized)
    except Exception as error:
        return replace(row, word=RAISED, about=f"converting: {_short(error)}")
    told = tuple(_said(str(w.message)) for w in caught if issubclass(w.category, nobuco.NobucoWarning))
    found = [(*_fared(network, inputs, keras_model), way) for way, inputs in resized.tried.items()]
    worst = max((word for word, _, _ in found), key=_RANKS.index)
    about = "; ".join(f"{way}: {said}" for word, said, way in found if word == worst and said)
    return replace(row, word=WARNED if worst == RIGHT and told else worst, about=about, warned=told)


def _converted(resized: Resizable) -> Any:
    order = resized.network.order
    return nobuco.pytorch_to_keras(
        resized.network.model,
        kwargs=dict(resized.example),
        input_shapes=resized.shapes(),
        inputs_channel_order=order,
        outputs_channel_order=order,
        verbose=False,
    )


def _fared(network: Network, inputs: Inputs, keras_model: Any) -> tuple[str, str]:
    """A word for one size, and what is wrong."""
    try:
        said, _ = compared(network, inputs, keras_model)
    except InputError as error:  # outside of a condition that the model has
        return TOLD, _short(error)
    except Exception as error:
        return RAISED, _short(error)
    return (RIGHT, "") if said == "ok" else (WRONG, said)


def _described(inputs: Inputs) -> str:
    return ", ".join(f"{name} {'×'.join(map(str, tensor.shape))}" for name, tensor in inputs.items())


def _short(error: Exception) -> str:
    return _said(f"{type(error).__name__}: {' '.join(str(error).split())}")


def _said(text: str) -> str:
    """What was said, with files by their package."""
    return re.sub(r'[^" ]*(site-packages/|(?=(nobuco|conformance)/))', "", text)[:_LONGEST]
