"""The backends of a session: in which forms each is tried, and what serves them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_nobuco.backends.artifact import runtime_of
from pytest_nobuco.backends.options import BackendOptions
from pytest_nobuco.backends.process import Interpreter
from pytest_nobuco.backends.registry import NOBUCO, backend_named
from pytest_nobuco.backends.spec import Backend
from pytest_nobuco.isolation.limits import Limits
from pytest_nobuco.matrix import LATER, QUANTISED, RUNTIMES, SIDE_BY_SIDE, STATIC, Case, cases

Asked = tuple[Sequence[str] | None, Sequence[str], Sequence[str] | None]
"""Orders, shapes and runtimes; None for all."""


def cases_of(wanted: str | Sequence[str] | None, options: BackendOptions, asked: Asked) -> list[Case]:
    """The matrix of all backends that a marker or the options name, and of other people's files.

    Raises:
        ValueError: an unknown name, or nothing that was asked for can be had.
        SuiteError: an unknown backend.
    """
    names = options.names if wanted is None else (wanted,) if isinstance(wanted, str) else tuple(wanted)
    found: list[Case] = []
    for name in names:
        found += _own_cases(asked, len(names)) if name == NOBUCO else _cases(backend_named(name), asked)
    if names and not found:
        raise ValueError("; ".join(_refusal(backend_named(name)) for name in names))
    if len(names) > 1:
        inputs, outputs = _pairs(asked[0])[-1]
        found.append(Case(inputs, outputs, STATIC, SIDE_BY_SIDE))
    for label, path in options.artifacts:
        orders = _pairs(asked[0]) if asked[0] else [("", "")]
        found += [Case(*pair, STATIC, str(runtime_of(path)), label) for pair in orders]
    return list(dict.fromkeys(found))


def _pairs(orders: Sequence[str] | None) -> list[tuple[str, str]]:
    return sorted({(case.inputs, case.outputs) for case in cases(orders)})


def _own_cases(asked: Asked, backends: int) -> list[Case]:
    orders, shapes, runtimes = asked
    if backends > 1 and runtimes:  # those of other backends say nothing of nobuco
        runtimes = [runtime for runtime in runtimes if runtime in (*RUNTIMES, *QUANTISED, *LATER)]
        if not runtimes:
            return []
    return cases(orders, shapes, runtimes)


def _cases(backend: Backend, asked: Asked) -> list[Case]:
    orders, shapes, runtimes = asked
    can = [tuple(pair.split("-")) for pair in backend.orders]
    return [
        Case(*pair, shape, backend.runtime, backend.name)
        for pair in _pairs(orders)
        for shape in shapes
        if pair in can and (shape == STATIC or backend.dynamic) and backend.runtime in (runtimes or [backend.runtime])
    ]


def _refusal(backend: Backend) -> str:
    axes = "static or dynamic" if backend.dynamic else "static"
    return (
        f"backend {backend.name} has no form of what was asked for; it has {' or '.join(backend.orders)}, {axes}, "
        f"runtime {backend.runtime}"
    )


def serving(name: str, frameworks: Any, options: Any, limits: Limits) -> Any:
    """What converts and runs under a backend's name, or holds the file of this label."""
    from pytest_nobuco.backends.delivered.onnxruntime import RUNNER
    from pytest_nobuco.backends.foreign import Foreign, Given

    path = dict(options.others.artifacts).get(name)
    if path is not None:
        runner = interpreter_of(RUNNER, options.others, limits)
        return Given(frameworks, runner, options.seed, Path(path))
    return Foreign(frameworks, interpreter_of(backend_named(name), options.others, limits), options.seed)


def interpreter_of(backend: Backend, options: BackendOptions, limits: Limits) -> Interpreter:
    """The Python that a backend runs in: the one that was given, or this."""
    given = dict(options.pythons).get(backend.name)
    return Interpreter(backend, given or sys.executable, given is not None, limits)
