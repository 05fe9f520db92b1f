"""Calls that hold other calls: modules, seen by PyTorch's own global hooks, and functions marked as traceable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    _global_forward_hooks_with_kwargs,
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from nobuco.ir import map_tensors, tensors, values
from nobuco.trace.calls import only_aten_is_meaningful
from nobuco.trace.explore import both_sides, entry_state
from nobuco.trace.held import modules_with_pre_hooks, own_tensors
from nobuco.trace.reach import is_compiled, modules_in_reach
from nobuco.trace.session import Session


class Scopes:
    """Opens and closes the calls of a session that have others inside."""

    def __init__(self, session: Session) -> None:
        root = session.record.root
        self._session = session
        self._paths = {id(module): path for path, module in reversed(modules_in_reach(root))}
        self._own = {id(module): own_tensors(module) for _, module in modules_in_reach(root)}
        self._in_script: list[tuple[nn.Module, ExitStack]] = []
        self._hooked = {id(module): module for module in modules_with_pre_hooks(root)}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """See every call of a module that this thread makes in this block."""
        enter, leave = self._on_this_thread(self._enter), self._on_this_thread(self._leave)
        enter_unhooked = self._on_this_thread(self._enter_unhooked)
        with ExitStack() as stack:
            stack.callback(register_module_forward_pre_hook(enter_unhooked).remove)
            for module in self._hooked.values():
                # A hook for all modules runs before a module's own; what those compute belongs to the caller.
                stack.callback(module.register_forward_pre_hook(enter).remove)
            hook = register_module_forward_hook(leave, with_kwargs=True, always_call=True)
            # PyTorch's own `remove` forgets this entry, and calls a process with one left a hooked one.
            stack.callback(_global_forward_hooks_with_kwargs.pop, hook.id, None)
            stack.callback(hook.remove)
            stack.callback(self._leave_scripts)
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

        try:
            result = both_sides(session, call, call())
        except Exception:
            session.record.give_up()
            raise
        session.record.close(tensors.read(result))
        return result

    def _on_this_thread(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """The hook for calls that this thread makes; PyTorch has it called for those of every thread."""
        thread, record = get_ident(), self._session.record

        def filtered(module: nn.Module, args: Any, *rest: Any) -> Any:
            if get_ident() == thread:
                return hook(module, args, *rest)
            met = [self._session.memory.find(tensor) for tensor in tensors(args)]
            if any(slot is not None and record.is_live(slot.value) for slot in met):
                record.note_elsewhere(type(module).__name__)
            return None

        return filtered

    def _enter_unhooked(self, module: nn.Module, args: Any) -> None:
        if id(module) not in self._hooked:
            self._enter(module, args)

    def _enter(self, module: nn.Module, args: Any) -> None:
        session = self._session
        if self._is_hidden(module):
            return
        with torch._C.DisableTorchFunctionSubclass(), torch._C.DisableTorchFunction():
            path = self._paths.get(id(module), type(module).__name__)
            values, entry = session.tensors.read(tuple(args)), entry_state(session, module)
            rebound = any(map(self._is_rebound, module.modules()))
            session.record.open(type(module), values, {}, module=module, path=path, entry=entry, rebound=rebound)
            if isinstance(module, torch.jit.ScriptModule):
                with_gradients = ExitStack()  # with which TorchScript leaves its fused kernels alone
                with_gradients.enter_context(torch.enable_grad())
                self._in_script.append((module, with_gradients))

    def _leave_scripts(self) -> None:
        """Leave what TorchScript was entered and, since it raised, not left."""
        while self._in_script:
            self._in_script.pop()[1].close()

    def _is_hidden(self, module: nn.Module) -> bool:
        """Whether a module's call is none of the program's: not recorded, or around the one that is compiled."""
        return self._session.is_muted or only_aten_is_meaningful(type(module)) or is_compiled(module)

    def _is_rebound(self, module: nn.Module) -> bool:
        """Whether other parameters stand in the place of a module's own."""
        before = self._own.get(id(module))
        return before is not None and any(before.get(name) is not t for name, t in own_tensors(module).items())

    def _leave(self, module: nn.Module, args: Any, *rest: Any) -> Any:
        """Close the call; after an error PyTorch gives no keyword arguments, though it was asked for them."""
        session = self._session
        if self._is_hidden(module):
            return None
        if self._in_script and self._in_script[-1][0] is module:
            self._in_script.pop()[1].close()
        if len(rest) < 2:
            if session.record.frame.module is module:  # and it was not a hook of its own that raised before `_enter`
                session.record.give_up()
            return None
        kwargs, result = rest
        joined = both_sides(session, lambda: module.forward(*args, **kwargs), result)
        with torch._C.DisableTorchFunction():
            session.record.frame.kwargs = session.tensors.read(dict(kwargs))
            session.record.close(session.tensors.read(joined))
        return None if joined is result else joined
