"""The registry of converters: what is registered, where it was defined, and how a node finds its own.

A converter is a callable with the signature of the operation that it converts (for a module: the module, then
the arguments of its `forward`). It receives the traced PyTorch arguments and returns a callable or a Keras
layer that takes the same arguments as TensorFlow tensors.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from types import CodeType, FunctionType
from typing import Any, TypeGuard

import torch
from torch import nn

from nobuco.errors import ConverterRegistrationError, InputError, UnknownConverterError
from nobuco.inheritance import other_in_class
from nobuco.ir import Node
from nobuco.kinds import FUNCTION, NOTHING, instance, mapping, refusal
from nobuco.layout.movement import Freed, Step
from nobuco.layout.strategy import ChannelOrderingStrategy, Strategy
from nobuco.ops.forms import plain_forms, turned_forms
from nobuco.ops.names import Lacking

Operation = Callable[..., Any]
# An operator of PyTorch's dispatcher can also be named, `"torchvision::nms"`, where the library that defines it need
# not be there. What this PyTorch lacks is registered like any other, and no call is it.
Named = Operation | str | Lacking
BUILT_IN = "nobuco.converters."


@dataclass(frozen=True)
class Sample:
    """Arguments that an operation can be tried on; for a module class its instance comes first.

    `program(operation, *args, **kwargs)` is what to convert where the bare call will not do, e.g. for arithmetic
    that is seen only on sizes. It must reach the operation that it is given.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    program: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        for name, kind in _OF_SAMPLES.items():
            if not kind.fits(getattr(self, name)):
                raise InputError(refusal(name, getattr(self, name), kind))


_OF_SAMPLES = {
    "args": instance("a tuple of the operation's positional arguments", tuple, list),
    "kwargs": mapping("a dict of its keyword arguments"),
    "program": FUNCTION | NOTHING,
}
Samples = Callable[[], Sequence[Sample]]


@dataclass(frozen=True)
class Folding:
    """How a layer's weights take in moves of channels ahead of it and behind it.

    fits: whether they can, given the call and what is left of each move (None: there is none).
    make: as a converter's, told of both as `taken` and `given`; what it returns does what is left, too.
    """

    fits: Callable[[Node, Freed | None, Freed | None], bool]
    make: Callable[..., Any]


class ChannelUse(Enum):
    """What a call does with the channels of its tensors, which are dimension 1.

    EACH: takes each by itself, so that the result has them in the order that they have.
    WEIGHED: makes new ones of all of them by the weights of its module, in any order of both.
    PARTS: gives some of them, as its function in PyTorch does with any tensor.
    JOINED: puts those of several tensors together.
    """

    EACH = "each"
    WEIGHED = "weighed"
    PARTS = "parts"
    JOINED = "joined"


ChannelRule = ChannelUse | Callable[[Node], ChannelUse | None] | None


@dataclass(frozen=True, eq=False)
class Converter:
    """One registered converter.

    function: what somebody wrote, the thing to show.
    make: called with the traced PyTorch arguments, gives the callable or layer that runs in TensorFlow; None
        for pure data movement, which `steps` describes.
    strategy: what channel orders its nodes accept.
    autocast: cast floating tensors of unequal dtype to the common one before the call.
    reusable: a module called twice shares one converted layer; False converts each call anew.
    validate_func: `(pytorch_output, tensorflow_output) -> bool | float | None`, asked in place of the
        default comparison.
    steps: `(shape, *args, **kwargs) -> steps`, for pure data movement.
    samples: gives what `pytest --nobuco-converters` tries it on; asked only there.
    after_flattening: converts a call together with the flattening of its only tensor before it. Its `make` is told,
        as `order`, how the tensor lies that is flattened.
    folding: how moves of channels around it become part of its weights.
    in_double: gets floats that sizes gave with all their digits, as what it makes of them may be a size.
    channels: what a call does with channels, if these may lie in an order of their own (it may depend on the call);
        weights for channels are brought into the order by `folding`.
    """

    operations: tuple[Named, ...]
    function: Callable[..., Any]
    make: Callable[..., Any] | None
    strategy: Strategy
    autocast: bool = True
    reusable: bool = True
    validate_func: Callable[..., Any] | None = None
    steps: Callable[..., Sequence[Step]] | None = None
    samples: Samples | None = None
    after_flattening: Converter | None = None
    folding: Folding | None = None
    in_double: bool = False
    channels: ChannelRule = None

    def use_of_channels(self, node: Node) -> ChannelUse | None:
        """What a call does with channels; None where they have to lie as in PyTorch."""
        return self.channels(node) if callable(self.channels) else self.channels

    @property
    def callables(self) -> list[Operation]:
        """Its operations that are there to be called."""
        return [operation for operation in self.operations if callable(operation)]

    @property
    def is_built_in(self) -> bool:
        """Whether it ships with nobuco."""
        return (getattr(self.function, "__module__", None) or "").startswith(BUILT_IN)

    @property
    def location(self) -> str:
        """Where it is defined, as a link that editors understand; what is not written in Python, as it shows itself."""
        code = code_of(self.function)
        return repr(self.function) if code is None else f'File "{code.co_filename}", line {code.co_firstlineno}'


@dataclass
class Registry:
    """Converters by operation."""

    _converters: dict[Any, Converter] = field(default_factory=dict)

    def add(self, converter: Converter, override: bool = False) -> None:
        """Register; an operation that somebody else's converter already serves is an error.

        A built-in converter gives way without a word, and so does an earlier definition of the very same
        function (a notebook cell run again).
        """
        for operation in converter.operations:
            _check_operation(operation)
            old = self._converters.get(_key(operation))
            if old and not override and not old.is_built_in and not _same_function(old, converter):
                raise ConverterRegistrationError(
                    f"{operation_name(operation)} already has a converter, at {old.location}; "
                    f"the new one is at {converter.location}. "
                    "Pass override=True to replace it, or call nobuco.unregister_converter first."
                )
            if old and converter.is_built_in and old.is_built_in:
                raise ConverterRegistrationError(
                    f"{operation_name(operation)} is registered twice: {old.location} and {converter.location}."
                )
        for operation in converter.operations:
            self._converters[_key(operation)] = converter

    def extend(self, converter: Converter, operations: Sequence[Named]) -> None:
        """Have a registered converter serve further operations; those that others serve are an error, as in `add`."""
        self.add(replace(converter, operations=tuple(operations)))
        served = [operation for operation in converter.operations if self._converters.get(_key(operation)) is converter]
        grown = replace(converter, operations=(*served, *operations))
        self._converters.update({_key(operation): grown for operation in grown.operations})

    def complete(self) -> None:
        """Have each built-in converter serve the other forms of its operations, where nothing else does."""
        for forms in (plain_forms, turned_forms):
            for converter in [converter for converter in self if converter.is_built_in]:
                others = {_key(form): form for form in forms(converter.operations, converter.function)}
                self.extend(converter, [form for key, form in others.items() if key not in self._converters])

    def remove(self, operation: Operation) -> Converter:
        """Unregister and return the converter of an operation."""
        try:
            return self._converters.pop(_key(operation))
        except KeyError:
            raise UnknownConverterError(f"no converter is registered for {operation_name(operation)}") from None

    def find(self, operation: Named) -> Converter | None:
        """The converter of an operation; a module class also uses that of a base from which it differs in nothing."""
        found = self._converters.get(_key(operation))
        if found or not _is_module_class(operation):
            return found
        base = next((base for base in operation.__mro__ if base in self._converters), None)
        return None if base is None or other_in_class(operation, base) else self._converters[base]

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Undo, when the block ends, what was registered and unregistered in it: for tests of converters."""
        before = dict(self._converters)
        try:
            yield
        finally:
            self._converters.clear()
            self._converters.update(before)

    def __iter__(self) -> Iterator[Converter]:
        return iter(dict.fromkeys(self._converters.values()))


def operation_name(operation: Any) -> str:
    """The name that users write: `torch.nn.Conv2d`, `torch.Tensor.add_`, `torch.ops.aten.mm.default`."""
    if type(operation).__name__ == "method-wrapper":
        return f"torch.Tensor.{getattr(operation.__self__, '__name__', operation.__self__)}"
    operation = getattr(operation, "_opoverload", operation)
    if isinstance(operation, Lacking):
        return operation.name
    if isinstance(operation, str):
        return f"torch.ops.{operation.replace('::', '.')}"
    if isinstance(operation, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return f"torch.ops.{operation}"
    name = getattr(operation, "__name__", type(operation).__name__)
    for space in (torch, torch.Tensor, nn, nn.functional):
        found = getattr(space, name, None)
        if found is operation or (found is not None and found == operation):
            return f"{'torch.Tensor' if space is torch.Tensor else space.__name__}.{name}"
    for space in (torch.linalg, torch.fft, torch.special):
        spoken = name.removeprefix(f"{space.__name__.rpartition('.')[2]}_")
        if getattr(space, spoken, None) is operation:
            return f"{space.__name__}.{spoken}"
    for alias, member in vars(torch.Tensor).items():  # `torch.Tensor.__pow__` calls itself `TensorBase.pow`
        if member is operation:
            return f"torch.Tensor.{alias}"
    owner = getattr(operation, "__objclass__", operation)  # a method of a built-in class does not know its module
    home = getattr(owner, "__module__", None) or "torch"
    return f"{'operator' if home == '_operator' else home}.{getattr(operation, '__qualname__', name)}"


def operator_named(name: str) -> Operation | None:
    """The operator of PyTorch's dispatcher that a name like `"torchvision::nms"` means; None if there is none."""
    namespace, _, operator = name.partition("::")
    return getattr(getattr(torch.ops, namespace), operator, None)


def _key(operation: Any) -> Any:
    """What an operation is found by.

    A getter is a new object each time it is asked for: what it gets is its identity. An operator of the dispatcher
    goes by its name, which an operator, its default overload and what `torch.library.custom_op` gives share.
    """
    operation = getattr(operation, "_opoverload", operation)
    if type(operation).__name__ == "method-wrapper":
        return ("getter", operation.__self__)
    if isinstance(operation, torch._ops.OpOverload):
        return operation.name()
    return operation._qualified_op_name if isinstance(operation, torch._ops.OpOverloadPacket) else operation


def _is_module_class(operation: Any) -> TypeGuard[type[nn.Module]]:
    return isinstance(operation, type) and issubclass(operation, nn.Module)


def _check_operation(operation: Any) -> None:
    if isinstance(operation, nn.Module):
        raise ConverterRegistrationError(
            f"@nobuco.converter got an instance of {type(operation).__name__}; "
            f"register the class itself: @nobuco.converter({type(operation).__name__}, ...)"
        )
    if isinstance(operation, Lacking) or (isinstance(operation, str) and "::" in operation):
        return
    if not callable(operation):
        raise ConverterRegistrationError(
            f"@nobuco.converter got {operation!r}, which cannot be called; "
            "give the function, the torch.Tensor method or the nn.Module class to convert"
        )
    function = getattr(operation, "__self__", operation)  # of `Function.apply`, the class
    if isinstance(function, type) and issubclass(function, torch.autograd.Function):
        raise ConverterRegistrationError(
            f"@nobuco.converter got the autograd.Function {function.__name__}, whose calls PyTorch does not show; mark "
            f"the Python function that calls {function.__name__}.apply with @nobuco.traceable, and register that one"
        )
    if isinstance(operation, type) and not issubclass(operation, nn.Module):
        raise ConverterRegistrationError(f"@nobuco.converter got the class {operation.__name__}, which is no nn.Module")


def _same_function(old: Converter, new: Converter) -> bool:
    """Whether two converters are the same lines of code, run again; many functions are called `<lambda>`."""

    def identity(function: Any) -> tuple[Any, ...] | None:
        code = code_of(function)
        if code is None or not isinstance(function, FunctionType):
            return None
        own = code if function.__name__ == "<lambda>" else code.co_filename
        return (function.__module__, function.__qualname__, own)

    mine = identity(old.function)
    return old.function is new.function or (mine is not None and mine == identity(new.function))


def code_of(function: Any) -> CodeType | None:
    """The code of whatever can be called; None where it is not written in Python."""
    while isinstance(function, functools.partial) or hasattr(function, "__wrapped__"):
        function = function.func if isinstance(function, functools.partial) else function.__wrapped__
    written = inspect.getattr_static(function, "__init__" if isinstance(function, type) else "__call__", None)
    return getattr(function, "__code__", None) or getattr(written, "__code__", None)


registry = Registry()


def converter(
    *operations: Named,
    channel_ordering_strategy: Strategy = ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER,
    autocast: bool = True,
    in_double: bool = False,
    folding: Folding | None = None,
    channels: ChannelRule = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a built-in converter; `nobuco.converter`, for everyone else, tells what the arguments mean."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        rule = channel_ordering_strategy
        registry.add(
            Converter(
                operations,
                function,
                function,
                rule,
                autocast,
                folding=folding,
                in_double=in_double,
                channels=channels,
            )
        )
        return function

    return register


def expression(
    *operations: Named,
    strategy: Strategy = ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS,
    autocast: bool = True,
    in_double: bool = False,
    channels: ChannelRule = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function that *is* the TensorFlow equivalent: same signature, TensorFlow tensors in and out.

    The short form of `converter` for operations that need nothing of the traced PyTorch values.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        make = lambda *args, **kwargs: function  # noqa: E731
        make = lambda *args, **kwargs: function  # noqa: E731
        registry.add(Converter(operations, function, make, strategy, autocast, in_double=in_double, channels=channels))
        return function

    return register


def movement(*operations: Named) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register an operation that only moves data, by its steps.

    The decorated function has the operation's signature, with the tensor's shape (a tuple of ints) in place of
    the tensor, and returns a list of `Reshape` and `Permute` steps on logical dimensions. The planner merges chains
    of them and lets what cancels against a change of channel order vanish.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        strategy = ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS
        registry.add(Converter(operations, function, None, strategy, steps=function))
        return function

    return register
