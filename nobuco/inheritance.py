"""Whether a module is what a class says: what its own class, or the instance, has in place of the class's code.

PyTorch's own classes are few and their calls are known, so `replay` asks what a module of theirs has done. Of a class
of the user's only the code can be asked: what it calls may differ from run to run.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

# What `forward` never depends on.
_HARMLESS = {"extra_repr", "reset_parameters", "dump_patches", "_version"}
_HARMLESS |= {"_load_from_state_dict", "_save_to_state_dict", "_register_load_state_dict_pre_hook"}
_GETTERS = {"__getattr__", "__getattribute__"}


def other_code(module: nn.Module, base: type) -> str | None:
    """What a module, of a class derived from `base`, has in place of an attribute of `base` that may matter."""
    kind = type(module)
    if parametrize.is_parametrized(module):  # its class has the weights that are computed, and nothing else
        kind = kind.__bases__[0]
    return other_in_class(kind, base) or other_in_instance(module, base)


def other_in_class(module_class: type, base: type) -> str | None:
    """An attribute of `base` that a class derived from it has otherwise, which may make its `forward` another.

    Other attributes than functions count, too, since `forward` may read them, and so do those that `base` only names:
    a method that it leaves to others.
    """
    missing = object()

    def differs(name: str) -> bool:
        own, inherited = (inspect.getattr_static(kind, name, missing) for kind in (module_class, base))
        return own is not inherited

    return next(filter(differs, _names(base)), None)


def other_in_instance(module: nn.Module, base: type) -> str | None:
    """A method of `base` in whose place a module has a function that is no method of `base`."""
    methods = {name: value for kind in reversed(base.__mro__) for name, value in vars(kind).items()}
    own = {id(value) for kind in base.__mro__ for value in vars(kind).values()}

    def is_foreign(value: Any) -> bool:
        return not (isinstance(value, MethodType) and value.__self__ is module and id(value.__func__) in own)

    return next((n for n, v in vars(module).items() if callable(methods.get(n)) and is_foreign(v)), None)


def _names(base: type) -> list[str]:
    """What makes up `forward`, as far as it is not every module's: itself first."""
    names = {name for kind in _chain(base) for name in (*vars(kind), *_named_in(kind))}
    spoken = (name for name in sorted(names) if not name.startswith("__") and name not in _HARMLESS)
    return ["forward", *spoken, *_GETTERS]


def _chain(base: type) -> Iterator[type]:
    return (kind for kind in base.__mro__ if kind not in nn.Module.__mro__)


def _named_in(kind: type) -> Iterator[str]:
    for function in vars(kind).values():
        code = getattr(inspect.unwrap(function), "__code__", None) if isinstance(function, FunctionType) else None
        yield from code.co_names if code is not None else ()
