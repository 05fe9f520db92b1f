"""The state of several models in one file: one module's is one variable, whichever signature writes it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import keras
import tensorflow as tf

from nobuco.errors import ExportError
from nobuco.layers import StateLayer
from nobuco.layers.model import ConvertedModel
from nobuco.layers.origin import Origin, Origins
from nobuco.layers.state import state_layers


def refuse_lost_writes(models: Mapping[str, keras.Model]) -> None:
    """Refuse models of one module where a write in one would not be seen in another.

    Raises:
        ExportError: naming the two signatures, the tensor, and what to do.
    """
    for (writer, model), (reader, other) in itertools.permutations(models.items(), 2):
        _refuse_unknown(writer, model, reader, other)
        states, theirs = _states(model), _states(other)
        for read in _known(other).read:
            _refuse_read(writer, states, reader, read)
        for left in _known(model).left:
            _refuse_left(writer, left, reader, [*theirs, *_known(other).read])
        for state, its in itertools.product(states, theirs):
            _refuse_parts(writer, states, state, reader, theirs, its)


def _converted(model: keras.Model) -> list[ConvertedModel]:
    layers = [model, *model._flatten_layers(include_self=False)]
    return [layer for layer in layers if isinstance(layer, ConvertedModel)]


def _states(model: keras.Model) -> list[Origin]:
    return [layer.origin for layer in state_layers(model) if layer.origin is not None]


def _known(model: keras.Model) -> Origins:
    """What converted models have to do with, this one and those inside it."""
    found = [part.origins for part in _converted(model) if part.origins is not None]
    return Origins(
        tuple(origin for origins in found for origin in origins.read),
        tuple(origin for origins in found for origin in origins.left),
    )


def _refuse_unknown(writer: str, model: keras.Model, reader: str, other: keras.Model) -> None:
    """Refuse what comes from a file beside another converted model, where one of them has state."""
    if not list(state_layers(model)) or not _converted(other):
        return
    for key, one in ((writer, model), (reader, other)):
        if any(part.origins is None for part in _converted(one)):
            raise ExportError(
                f"{writer!r} has state, and whether {reader!r} has to do with it is not known, as {key!r} comes from a "
                "file: give the models that pytorch_to_keras returned, or export each into a file of its own"
            )


def _refuse_read(writer: str, states: list[Origin], reader: str, read: Origin) -> None:
    for state in states:
        if state.meets(read):
            raise ExportError(
                f"{writer!r} writes {state.name!r}; {reader!r} reads {read.name!r}, which is the same memory, but does "
                "not write it, so it was converted with what was there then: let its program write it, too, if "
                f"only by {read.name}.copy_({read.name}), and convert {reader!r} again"
            )


def _refuse_left(writer: str, left: Origin, reader: str, theirs: list[Origin]) -> None:
    for origin in theirs:
        if left.tensor is origin.tensor:  # its memory stays as it is
            raise ExportError(
                f"{writer!r} puts another tensor in the place of {left.name!r}, which its own calls never read, so its "
                f"model does not keep it; but {reader!r} has {origin.name!r}, which is the same tensor: write in "
                f"place, by {left.name}.copy_(...), and convert {writer!r} again"
            )


def _refuse_parts(
    writer: str, states: list[Origin], state: Origin, reader: str, theirs: list[Origin], its: Origin
) -> None:
    """Refuse two states that share memory without being the same, unless each model keeps both."""
    if state.is_(its) or not state.meets(its):
        return
    if not (any(map(state.is_, theirs)) and any(map(its.is_, states))):
        raise ExportError(
            f"{state.name!r}, a state of {writer!r}, and {its.name!r}, a state of {reader!r}, lie in the same memory "
            "without being the same: let both programs write the tensor that all of it belongs to"
        )


def variables_of(models: Mapping[str, keras.Model]) -> dict[int, tf.Variable]:
    """A variable for each layer that holds state, by its id; for what is one tensor of a module, one.

    Raises:
        ExportError: two models hold it at two values, or in two shapes.
    """
    known: list[tuple[str, StateLayer, tf.Variable]] = []
    by_layer: dict[int, tf.Variable] = {}
    for key, model in models.items():
        for layer in state_layers(model):
            twins = [(other, twin, variable) for other, twin, variable in known if _is_same(twin, layer)]
            for other, twin, _ in twins[:1]:
                _refuse_other_values(other, twin, key, layer)
            variable = twins[0][2] if twins else tf.Variable(layer.state.numpy(), name=layer.name)
            known.append((key, layer, variable))
            by_layer[id(layer)] = variable
    return by_layer


def _is_same(a: StateLayer, b: StateLayer) -> bool:
    return a is b or (a.origin is not None and b.origin is not None and a.origin.is_(b.origin))


def _refuse_other_values(first: str, a: StateLayer, second: str, b: StateLayer) -> None:
    if (a.shape, a.state_dtype) != (b.shape, b.state_dtype):
        raise ExportError(
            f"the state {a.name!r} is {a.state_dtype}{list(a.shape)} in {first!r} and {b.state_dtype}{list(b.shape)} "
            f"in {second!r}: the module was changed between the conversions; convert both again"
        )
    if a.state.numpy().tobytes() != b.state.numpy().tobytes():
        same = a.initial.tobytes() == b.initial.tobytes()
        way = (
            "nobuco.reset_states(model) puts back in each what it was at conversion"
            if same
            else "convert both again, with no call of the module that changes it in between"
        )
        raise ExportError(
            f"{first!r} and {second!r} share the state {a.name!r}, which a file begins with one value of, but they "
            f"hold it at two: {way}"
        )
