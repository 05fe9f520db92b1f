"""Calls that hold other calls: modules, seen by PyTorch's own global hooks, and functions marked as traceable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from nobuco.ir import map_tensors, values
from nobuco.trace.explore import both_sides, entry_state
from nobuco.trace.held import modules_with_pre_hooks
from nobuco.trace.session import Session


class Scopes:
    """Opens and closes the calls of a session that have others inside."""

    def __init__(self, session: Session) -> None:
        root = session.record.root
        self._session = session
        self._paths = {id(m): path for path, m in root.named_modules()} if isinstance(root, nn.Module) else {}
        self._hooked = {id(module): module for module in modules_with_pre_hooks(root)}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """See every call of a module in this block."""
        with ExitStack() as stack:
            stack.callback(register_module_forward_pre_hook(self._enter_unhooked).remove)
            for module in self._hooked.values():
                # A hook for all modules runs before a module's own; what those compute belongs to the caller.
                stack.callback(module.register_forward_pre_hook(self._enter).remove)
            stack.callback(register_module_forward_hook(self._leave, with_kwargs=True).remove)
            yield

    def run_function(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run a traceable function of the user's."""
        session, tensors = self._session, self._session.tensors
        given, given_kwargs = tensors.read((tuple(args), kwargs))
        owner = args[0] if args and isinstance(args[0], nn.Module) else None
        session.record.open(func, given, given_kwargs, owner=owner, entry=entry_state(session, owner))
        came = {value.id for value in values((given, given_kwargs))}

        def apart(tensor: torch.Tensor, _: int) -> torch.Tensor:
            return tensor.view_as(tensor) if tensors.value_of(tensor).id in came else tensor

        def call() -> Any:
            with session.mode:
                # What is returned as it came becomes a value of its own: whoever marks a tensor this way (as
                # `force_pytorch_order` does) wants a step of the model.
                return map_tensors(apart, func.__wrapped__(*args, **kwargs))

        result = both_sides(session, call, call())
        session.record.close(tensors.read(result))
        return result

    def _enter_unhooked(self, module: nn.Module, args: Any) -> None:
        if id(module) not in self._hooked:
            self._enter(module, args)

    def _enter(self, module: nn.Module, args: Any) -> None:
        session = self._session
        if session.is_muted:
            return
        with torch._C.DisableTorchFunctionSubclass(), torch._C.DisableTorchFunction():
            path = self._paths.get(id(module), type(module).__name__)
            given, entry = session.tensors.read(tuple(args)), entry_state(session, module)
            session.record.open(type(module), given, {}, module=module, path=path, entry=entry)

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        session = self._session
        if session.is_muted:
            return None
        joined = both_sides(session, lambda: module.forward(*args, **kwargs), result)
        with torch._C.DisableTorchFunction():
            session.record.frame.kwargs = session.tensors.read(dict(kwargs))
            session.record.close(session.tensors.read(joined))
        return None if joined is result else joined
