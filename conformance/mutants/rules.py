"""How a wrong converter is made of a built-in one.

Each function gives the change of one kind. An argument is found by its name, whether it is given by position, by
keyword, or as an attribute of a module.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import tensorflow as tf
import torch
from torch import nn

from conformance.mutants.asking import Condition
from nobuco.converters.support import axis
from nobuco.ir import leaves
from nobuco.registry import Converter, Operation, operation_name

# How often a unit is run until the finished model runs for the first time.
_FIRST_CALLS = 2
Make = Callable[..., Any]


@dataclass(frozen=True)
class Mutant:
    """A wrong converter in the place of the built-in one of an operation.

    kind: what all mutants have in common that are wrong in this way.
    change: gives what makes the wrong callable, from what makes the right one.
    order, shape, runtime, dtype: the form in which it is tried, and shows; no dtype is the main one.
    """

    operation: Operation
    kind: str
    change: Callable[[Converter], Converter]
    order: str = "nhwc"
    shape: str = "static"
    runtime: str = "keras"
    dtype: str | None = None

    @property
    def name(self) -> str:
        """Operation and fault, in words."""
        return f"{operation_name(self.operation)}: {self.kind}"


def halved(operation: Operation, *parameters: str, given: Mapping[str, Any] | None = None) -> list[Mutant]:
    """For each parameter: half of every value whenever it is not its default."""

    def change(parameter: str, converter: Converter) -> Converter:
        def make(*args: Any, **kwargs: Any) -> Any:
            made = _made(converter, args, kwargs)
            value = _value(converter, parameter, args, kwargs)
            is_default = _is(value, (given or {}).get(parameter, _default(converter, parameter, args)))
            return made if is_default else _after(made, lambda results: tf.nest.map_structure(_half, results))

        return _remade(converter, make)

    return [
        Mutant(operation, f"half of every value where {p} is not its default", _with(change, p)) for p in parameters
    ]


def ignored(operation: Operation, **defaults: Any) -> list[Mutant]:
    """For each parameter: the value given here in place of any other."""

    def change(parameter: str, converter: Converter) -> Converter:
        value = defaults[parameter]

        def make(*args: Any, **kwargs: Any) -> Any:
            made = _made(converter, *_instead(converter, parameter, value, args, kwargs))

            def run(*args: Any, **kwargs: Any) -> Any:
                args, kwargs = _instead(converter, parameter, value, args, kwargs)
                return made(*args, **kwargs)

            return run if _is_function(args) else made

        return _remade(converter, make)

    return [Mutant(operation, f"{p} is {defaults[p]!r} whatever it is", _with(change, p)) for p in defaults]


def defaulted(operation: Operation, **values: Any) -> list[Mutant]:
    """For each parameter: this value where none is given."""

    def change(parameter: str, converter: Converter) -> Converter:
        value = values[parameter]

        def make(*args: Any, **kwargs: Any) -> Any:
            if not _is(_value(converter, parameter, args, kwargs), _default(converter, parameter, args)):
                return _made(converter, args, kwargs)
            made = _made(converter, *_set(converter, parameter, value, args, kwargs))

            def run(*args: Any, **kwargs: Any) -> Any:
                args, kwargs = _set(converter, parameter, value, args, kwargs)
                return made(*args, **kwargs)

            return run

        return _remade(converter, make)

    return [Mutant(operation, f"{p} is {values[p]!r} where it is its default", _with(change, p)) for p in values]


def where(operation: Operation, kind: str, condition: Condition) -> Mutant:
    """Wrong throughout, but only for arguments of which the condition holds; it has PyTorch's own signature."""

    def change(converter: Converter) -> Converter:
        def make(*args: Any, **kwargs: Any) -> Any:
            made = _made(converter, args, kwargs)
            is_wrong = holds(condition, args, kwargs)
            return _after(made, lambda results: tf.nest.map_structure(wrong, results)) if is_wrong else made

        return _remade(converter, make)

    return Mutant(operation, f"wrong for {kind}", change)


def of_rows(rows: Iterable[tuple[Operation, Mapping[str, Condition]]]) -> Iterator[Mutant]:
    """Of each operation a mutant for each condition, which has PyTorch's own signature."""
    for operation, conditions in rows:
        yield from (where(operation, kind, condition) for kind, condition in conditions.items())


def named(operation: Operation, kind: str, condition: Callable[[Any], Any]) -> Mutant:
    """As `where`, of the arguments by name: `lambda a: a.stride > 1`; a module is `a.module`."""

    def change(converter: Converter) -> Converter:
        signature = inspect.signature(converter.function)

        def by_name(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            return condition(SimpleNamespace(**given.arguments))

        return where(operation, kind, by_name).change(converter)

    return Mutant(operation, f"wrong for {kind}", change)


def at_places(operation: Operation, kind: str, test: Callable[[Any], Any]) -> Mutant:
    """Wrong in the places of the first tensor for which a test holds."""
    return rewritten(operation, kind, lambda y, x: tf.where(tf.broadcast_to(test(x), tf.shape(y)), wrong(y), y))


def rewritten(operation: Operation, kind: str, change_result: Callable[[Any, Any], Any]) -> Mutant:
    """Each result changed while the model runs; told of the first tensor that it is made of."""

    def change(converter: Converter) -> Converter:
        def make(*args: Any, **kwargs: Any) -> Any:
            made = _made(converter, args, kwargs)

            def run(*args: Any, **kwargs: Any) -> Any:
                first = next(leaf for leaf in tf.nest.flatten([args, kwargs]) if tf.is_tensor(leaf))
                return tf.nest.map_structure(lambda result: change_result(result, first), made(*args, **kwargs))

            return run

        return _remade(converter, make)

    return Mutant(operation, f"wrong for {kind}", change)


def at_other_sizes(operation: Operation, kind: str = "", test: Callable[[Any, Any], Any] | None = None) -> Mutant:
    """Wrong for other sizes of the first tensor than the example's; so only in dynamic forms.

    A test of both, the sizes now and those then, says for which of them; without one it is all.
    """
    is_wrong = test or (lambda now, then: tf.reduce_any(now != then))

    def change(converter: Converter) -> Converter:
        def make(*args: Any, **kwargs: Any) -> Any:
            made = _made(converter, args, kwargs)
            then = list(next(x.shape for x in leaves((args, kwargs)) if isinstance(x, torch.Tensor)))

            def run(*args: Any, **kwargs: Any) -> Any:
                first = next(x for x in tf.nest.flatten([args, kwargs]) if tf.is_tensor(x))
                now = tf.gather(tf.shape(first), [axis(first, dim) for dim in range(len(then))])
                amiss = is_wrong(now, then) if then else False
                return tf.nest.map_structure(lambda y: tf.where(amiss, wrong(y), y), made(*args, **kwargs))

            return run

        return _remade(converter, make)

    return Mutant(operation, f"wrong for {kind or 'other sizes'} than the example's", change, shape="dynamic")


def on_later_calls(operation: Operation) -> Mutant:
    """Wrong once the converted model has been run: it remembers."""

    def change(converter: Converter) -> Converter:
        def make(*args: Any, **kwargs: Any) -> Any:
            made = _made(converter, args, kwargs)
            count = tf.Variable(0)

            def run(*args: Any, **kwargs: Any) -> Any:
                results = made(*args, **kwargs)
                later = count.assign_add(1) > _FIRST_CALLS
                return tf.nest.map_structure(lambda y: tf.where(later, wrong(y), y), results)

            return run

        return _remade(converter, make)

    return Mutant(operation, "wrong for a later call", change)


def holds(condition: Condition, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a condition holds of arguments; it does not where they lack what it asks for."""
    try:
        return bool(condition(*args, **kwargs))
    except (TypeError, AttributeError, IndexError, RuntimeError, ValueError):
        return False


def replaced(operation: Operation, kind: str, function: Callable[..., Any]) -> Mutant:
    """Another TensorFlow function altogether."""
    return Mutant(operation, kind, lambda converter: _remade(converter, lambda *args, **kwargs: function))


def spoiled(operation: Operation, kind: str, after: Callable[[Any], Any]) -> Mutant:
    """The results are changed afterwards."""

    def change(converter: Converter) -> Converter:
        return _remade(converter, lambda *args, **kwargs: _after(_made(converter, args, kwargs), after))

    return Mutant(operation, kind, change)


def misled(operation: Operation, kind: str, before: Callable[..., tuple[Any, ...]]) -> Mutant:
    """The positional arguments are changed before: those that PyTorch had, and those of the running model."""

    def change(converter: Converter) -> Converter:
        def make(*args: Any, **kwargs: Any) -> Any:
            made = _made(converter, before(*args), kwargs)
            if _is_function(args):
                return lambda *args, **kwargs: made(*before(*args), **kwargs)
            module = args[0]
            return lambda *args, **kwargs: made(*before(module, *args)[1:], **kwargs)

        return _remade(converter, make)

    return Mutant(operation, kind, change)


def moved(operation: Operation, kind: str, steps: Callable[..., Any]) -> Mutant:
    """Other steps of a pure movement of data."""
    return Mutant(operation, kind, lambda converter: replace(converter, steps=steps))


def altered(module: nn.Module, **attributes: Any) -> nn.Module:
    """A copy of a module, on its own tensors, with other attributes."""
    changed = copy.copy(module)
    changed._parameters = dict(module._parameters)
    if isinstance(module, nn.RNNBase):  # its list of weights is written to, too
        changed.__dict__["_flat_weights"] = list(module._flat_weights)
    for name, value in attributes.items():
        setattr(changed, name, value)
    return changed


def _with(change: Callable[[str, Converter], Converter], parameter: str) -> Callable[[Converter], Converter]:
    return lambda converter: change(parameter, converter)


def _remade(converter: Converter, make: Make) -> Converter:
    """As it is but for what it makes; it flattens nothing by the way, since that is a converter of its own."""
    return replace(converter, make=make, steps=None, after_flattening=None)


def _made(converter: Converter, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    if converter.make is None:
        raise TypeError(f"{converter.location} only moves data: use `moved`")
    return converter.make(*args, **kwargs)


def _after(made: Any, change: Callable[[Any], Any]) -> Any:
    return lambda *args, **kwargs: change(made(*args, **kwargs))


def _half(x: Any) -> Any:
    """Of an integer the quotient, of a boolean the opposite."""
    if x.dtype == tf.bool:
        return ~x
    return x // 2 if x.dtype.is_integer else x * tf.cast(0.5, x.dtype)


def wrong(x: Any) -> Any:
    """Half of a number; of zero, and of what is no number, one, so that it differs in any case."""
    if not (x.dtype.is_floating or x.dtype.is_complex):
        return x + 1 if x.dtype.is_integer else _half(x)
    if x.dtype.is_complex:
        return _half(x)
    return tf.where(tf.math.is_finite(x) & (x != 0), _half(x), tf.ones_like(x))


def _is_function(args: Sequence[Any]) -> bool:
    return not isinstance(args[0], nn.Module)


# -- where a parameter's value is


def _signature(converter: Converter) -> list[inspect.Parameter]:
    """The parameters of a converter, which are its operation's."""
    return list(inspect.signature(converter.function).parameters.values())


def _value(converter: Converter, parameter: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    if not _is_function(args):
        return _of_module(args[0], parameter)
    if parameter in kwargs:
        return kwargs[parameter]
    place = _place(converter, parameter)
    return args[place] if place is not None and place < len(args) else _default(converter, parameter, args)


def _instead(
    converter: Converter, parameter: str, value: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with another value in this place, if any stood there."""
    if not _is_function(args):
        old = getattr(args[0], parameter)
        value = (value,) * len(old) if isinstance(old, tuple) else value
        return (altered(args[0], **{parameter: value}), *args[1:]), dict(kwargs)
    place = _place(converter, parameter)
    if place is not None and place < len(args):
        return (*args[:place], value, *args[place + 1 :]), dict(kwargs)
    return tuple(args), {**kwargs, parameter: value} if parameter in kwargs else dict(kwargs)


def _set(
    converter: Converter, parameter: str, value: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with a value in this place, whether any stood there or not."""
    place = _place(converter, parameter)
    by_place = place is not None and place < len(args)
    return _instead(converter, parameter, value, args, kwargs if by_place else {**kwargs, parameter: value})


def _place(converter: Converter, parameter: str) -> int | None:
    names = [p.name for p in _signature(converter) if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    return names.index(parameter) if parameter in names else None


def _default(converter: Converter, parameter: str, args: Sequence[Any]) -> Any:
    if not _is_function(args):
        classes = [c for c in type(args[0]).__mro__ if parameter in inspect.signature(c.__init__).parameters]
        return inspect.signature(classes[0].__init__).parameters[parameter].default
    found = [p.default for p in _signature(converter) if p.name == parameter]
    return found[0] if found else None


def _of_module(module: nn.Module, parameter: str) -> Any:
    value = getattr(module, parameter)
    return value is not None if parameter == "bias" and not isinstance(value, bool) else value


def _is(value: Any, default: Any) -> bool:
    if isinstance(value, (tuple, list)) and not isinstance(default, (tuple, list)):
        return all(_is(one, default) for one in value)
    return value is default or (value.__class__ in (int, float, str, bool, tuple) and value == default)
