"""One network of a zoo, converted with its axes dynamic and run at sizes and with padding that it has not seen."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import nobuco
from conformance.zoo.measure import compared
from conformance.zoo.network import Inputs, Network
from conformance.zoo.sizes import Resizable, resizable
from nobuco.errors import InputError

_LONGEST = 400
# From the best to the worst that may become of a size.
RIGHT, WARNED, TOLD, STATIC, RAISED, WRONG = "right", "right, warned", "told", "static", "error", "wrong"


@dataclass(frozen=True)
class Dynamic:
    """What became of a network at other sizes, in a word; which axes were dynamic, and what there is to say."""

    word: str
    axes: tuple[str, ...] = ()
    about: str = ""
    warned: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()


def at_other_sizes(network: Network) -> Dynamic:
    """Convert with dynamic axes and compare at one smaller, one larger and one odd size."""
    resized = resizable(network)
    if resized is None:
        return Dynamic(STATIC)
    sizes = tuple(f"{way} {_described(inputs)}" for way, inputs in resized.tried.items())
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", nobuco.NobucoWarning)
            keras_model = _converted(resized)
    except Exception as error:
        return Dynamic(RAISED, resized.dynamic, f"converting: {_short(error)}", (), sizes)
    told = tuple(str(w.message)[:_LONGEST] for w in caught if issubclass(w.category, nobuco.NobucoWarning))
    found = [(*_fared(network, inputs, keras_model), way) for way, inputs in resized.tried.items()]
    word, about = _judged(found, bool(told))
    return Dynamic(word, resized.dynamic, about, told, sizes)


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


def _judged(found: list[tuple[str, str, str]], warned: bool) -> tuple[str, str]:
    """The worst of what became of the sizes, and what was wrong there."""
    ranks = (RIGHT, TOLD, RAISED, WRONG)
    word = max((word for word, _, _ in found), key=ranks.index)
    about = "; ".join(f"{way}: {said}" for each, said, way in found if each == word and said)
    return (WARNED if word == RIGHT and warned else word), about


def _described(inputs: Inputs) -> str:
    return ", ".join(f"{name} {'×'.join(map(str, tensor.shape))}" for name, tensor in inputs.items())


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:_LONGEST]
