"""The backends of a session: in which forms each is tried, and what serves them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_nobuco.backends.artifact import runtime_of
from pytest_nobuco.backends.held import Held
from pytest_nobuco.backends.options import BackendOptions
from pytest_nobuco.backends.process import Interpreter
from pytest_nobuco.backends.registry import NOBUCO, backend_named
from pytest_nobuco.backends.spec import Backend as Converter
from pytest_nobuco.isolation.limits import Limits
from pytest_nobuco.matrix import LATER, QUANTISED, RUNTIMES, SIDE_BY_SIDE, STATIC, Case, cases, quick

if TYPE_CHECKING:
    from pytest_nobuco.backends.foreign import Foreign
    from pytest_nobuco.gate import Bound
    from pytest_nobuco.models.backend import Backend, Form, Subject

Asked = tuple[Sequence[str] | None, Sequence[str], Sequence[str] | None]
"""Orders, shapes and runtimes; None for all."""


def cases_of(wanted: str | Sequence[str] | None, options: BackendOptions, asked: Asked, is_quick: bool) -> list[Case]:
    """The matrix of all backends that a marker or the options name, and of other people's files.

    Raises:
        ValueError: an unknown name, or nothing that was asked for can be had.
        SuiteError: an unknown backend.
    """
    names = options.names if wanted is None else (wanted,) if isinstance(wanted, str) else tuple(wanted)
    matrix: list[Case] = []
    for name in names:
        its = _own_cases(asked, len(names)) if name == NOBUCO else _cases(backend_named(name), asked)
        matrix += quick(its) if is_quick and its else its
    if names and not matrix:
        raise ValueError("; ".join(_refusal(backend_named(name)) for name in names))
    if len(names) > 1:
        inputs, outputs = _pairs(asked[0])[-1]
        matrix.append(Case(inputs, outputs, STATIC, SIDE_BY_SIDE))
    for label, path in options.artifacts:
        orders = _pairs(asked[0]) if asked[0] else [("", "")]
        matrix += [Case(*pair, STATIC, str(runtime_of(path)), label) for pair in orders]
    return list(dict.fromkeys(matrix))


def _pairs(orders: Sequence[str] | None) -> list[tuple[str, str]]:
    return sorted({(case.inputs, case.outputs) for case in cases(orders)})


def _own_cases(asked: Asked, backends: int) -> list[Case]:
    orders, shapes, runtimes = asked
    if backends > 1 and runtimes:  # those of other backends say nothing of nobuco
        runtimes = [runtime for runtime in runtimes if runtime in (*RUNTIMES, *QUANTISED, *LATER)]
        if not runtimes:
            return []
    return cases(orders, shapes, runtimes)


def _cases(backend: Converter, asked: Asked) -> list[Case]:
    orders, shapes, runtimes = asked
    can = [tuple(pair.split("-")) for pair in backend.orders]
    return [
        Case(*pair, shape, backend.runtime, backend.name)
        for pair in _pairs(orders)
        for shape in shapes
        if pair in can and (shape == STATIC or backend.dynamic) and backend.runtime in (runtimes or [backend.runtime])
    ]


def _refusal(backend: Converter) -> str:
    axes = "static or dynamic" if backend.dynamic else "static"
    return (
        f"backend {backend.name} has no form of what was asked for; it has {' or '.join(backend.orders)}, {axes}, "
        f"runtime {backend.runtime}"
    )


@dataclass
class All:
    """The suite's own backend and the others as one: what a conversion is of says which of them serves it."""

    frameworks: Backend
    options: BackendOptions
    seed: int
    limits: Limits
    _others: dict[str, Foreign] = field(default_factory=dict)

    def serving(self, name: str) -> Foreign:
        """What converts and runs under a backend's name, or holds the file of this label."""
        if name not in self._others:
            self._others[name] = self._made(name)
        return self._others[name]

    def _made(self, name: str) -> Foreign:
        from pytest_nobuco.backends.delivered.onnxruntime import RUNNER
        from pytest_nobuco.backends.foreign import Foreign, Given

        path = dict(self.options.artifacts).get(name)
        if path is not None:
            return Given(interpreter_of(RUNNER, self.options, self.limits), self.seed, Path(path))
        return Foreign(interpreter_of(backend_named(name), self.options, self.limits), self.seed)

    def convert(self, subject: Subject, form: Form, arguments: Mapping[str, Any]) -> Any:
        """See `Backend`."""
        if form.backend:
            return self.serving(form.backend).convert(subject, form)
        return self.frameworks.convert(subject, form, arguments)

    def run(self, converted: Any, subject: Subject, runtime: str) -> Sequence[Any]:
        """See `Backend`."""
        if isinstance(converted, Held):
            from pytest_nobuco.backends.foreign import run_held

            return run_held(converted, subject)
        return self.frameworks.run(converted, subject, runtime)

    def culprit(self, converted: Any, subject: Subject, bound: Bound, runtime: str) -> str | None:
        """See `Backend`; other converters do not tell."""
        return None if isinstance(converted, Held) else self.frameworks.culprit(converted, subject, bound, runtime)

    def imprecise(self, converted: Any) -> Mapping[str, str]:
        """See `Backend`; other converters do not tell."""
        return {} if isinstance(converted, Held) else self.frameworks.imprecise(converted)

    def computed_in(self, converted: Any) -> Sequence[str]:
        """See `Backend`; other converters do not tell."""
        return () if isinstance(converted, Held) else self.frameworks.computed_in(converted)

    def graph(self, converted: Any) -> Mapping[str, Any] | None:
        """See `Backend`; other converters do not tell."""
        return None if isinstance(converted, Held) else self.frameworks.graph(converted)

    def __getattr__(self, name: str) -> Any:
        """What has to do with PyTorch and with numbers is the frameworks', whatever converts."""
        return getattr(self.frameworks, name)


def interpreter_of(backend: Converter, options: BackendOptions, limits: Limits) -> Interpreter:
    """The Python that a backend runs in: the one that was given, or this."""
    python = dict(options.pythons).get(backend.name)
    return Interpreter(backend, python or sys.executable, python is not None, limits)
