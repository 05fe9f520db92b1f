"""The registry with the built-in converters in it, and what people do with it.

The converters register themselves in `nobuco.registry` when they are imported; whoever asks for one, or adds one,
comes through here, so that they are.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from nobuco.errors import ConverterRegistrationError, UnknownConverterError
from nobuco.kinds import FLAG, FUNCTION, NOTHING, Kind, member_of, takes
from nobuco.layout.strategy import ChannelOrderingStrategy, Strategy
from nobuco.ops.names import Lacking
from nobuco.registry import Converter, Named, Operation, Registry, Samples, code_of, operation_name, registry

STRATEGY = member_of(ChannelOrderingStrategy, "nobuco.ChannelOrderingStrategy") | FUNCTION
OPERATION = Kind(
    "a function, a torch.Tensor method, an nn.Module class, or the name of an operator like 'torchvision::nms'",
    lambda value: "::" in value if isinstance(value, str) else callable(value) and not isinstance(value, nn.Module),
)


@takes(
    ConverterRegistrationError,
    channel_ordering_strategy=STRATEGY,
    autocast=FLAG,
    reusable=FLAG,
    validate_func=FUNCTION | NOTHING,
    override=FLAG,
    samples=FUNCTION | NOTHING,
)
def converter(
    *operations: Named,
    channel_ordering_strategy: Strategy = ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER,
    autocast: bool = True,
    reusable: bool = True,
    validate_func: Callable[..., Any] | None = None,
    override: bool = False,
    samples: Samples | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as the converter of one or more operations.

    Args:
        operations: functions, `torch.Tensor` methods, `nn.Module` classes, or what `nobuco.traceable` returned.
        channel_ordering_strategy: the channel orders that the returned callable accepts and gives.
        autocast: cast floating tensors of unequal dtype to the common one before the call, as PyTorch does.
        reusable: whether a module that is called twice shares one converted layer.
        validate_func: `(pytorch_output, tensorflow_output) -> bool | float | None` in place of the default
            comparison: False fails the node, a number is taken as its difference.
        override: replace a converter that somebody else registered.
        samples: a function without arguments that returns a list of `nobuco.Sample`, on which
            `pytest --nobuco-converters` compares the converter with PyTorch.

    Raises:
        ConverterRegistrationError: no operation given, not an operation, or one that already has a converter.
    """
    if not operations:
        raise ConverterRegistrationError(
            "@nobuco.converter needs the operation to convert, e.g. (torch.nn.functional.relu)"
        )

    @takes(ConverterRegistrationError, function=FUNCTION)
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        added = Converter(
            operations, function, function, channel_ordering_strategy, autocast, reusable, validate_func, None, samples
        )
        _loaded().add(added, override=override)
        return function

    return register


@takes(operation=OPERATION)
def unregister_converter(operation: Operation) -> None:
    """Forget the converter of an operation, built in or not.

    Raises:
        UnknownConverterError: it has none.
    """
    _loaded().remove(operation)


@takes(operation=OPERATION)
def locate_converter(operation: Operation) -> tuple[str, str]:
    """Where the converter of an operation is defined, and its source.

    Returns:
        `File "<path>", line <N>`, a link that editors understand, and the source code with its decorators.

    Raises:
        UnknownConverterError: the operation has no converter.
    """
    found = _loaded().find(operation)
    if found is None:
        name = operation_name(operation)
        raise UnknownConverterError(
            f"no converter is registered for {name}; a call of it is opened into the calls that it makes"
        )
    return found.location, _source_of(found)


def _source_of(found: Converter) -> str:
    code = code_of(found.function)
    try:
        return inspect.getsource(code) if code is not None else f"# {found.function!r} is not written in Python\n"
    except OSError:  # what `eval` and `exec` make
        return f"# the source of {found.function!r} is in no file\n"


def find_converter(operation: Operation) -> Converter | None:
    """The converter that a node of this operation gets, or None."""
    return _loaded().find(operation)


def registered_converters() -> list[Converter]:
    """All converters of what this PyTorch has, in order of registration, each once."""
    return [c for c in _loaded() if not all(isinstance(operation, Lacking) for operation in c.operations)]


def _loaded() -> Registry:
    importlib.import_module("nobuco.converters")  # registering is what it is for
    return registry
