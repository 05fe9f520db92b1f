"""A backend without frameworks, for tests of the plugin's logic: a model is a number and an error.

Copied into the projects that the tests make, so it imports nothing of ours but the plugin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.matrix import LATER
from pytest_nobuco.models.backend import Form, Subject

IMAGE = (1, 3, 8, 8)


class Net:
    """Returns the sum of its inputs; what it is converted to is off by `error`."""

    error_elsewhere = 0.0
    error_otherwise = 0.0

    def __init__(self, error: float = 0.0) -> None:
        self.error = error

    def forward(self) -> None: ...


class Broken(Net):
    def __init__(self) -> None:
        super().__init__(error=0.5)


class Nan(Net):
    def __init__(self) -> None:
        super().__init__(error=math.nan)


class Imprecise(Net):
    pass


class NoKeras(Net):
    pass


class OneSize(Net):
    pass


class WrongElsewhere(Net):
    error_elsewhere = 0.25


class WrongOtherwise(Net):
    error_otherwise = 0.25


@dataclass(frozen=True)
class FakeDifference:
    max_abs: float
    allowed: float
    source: str

    @property
    def is_broken(self) -> bool:
        return math.isnan(self.max_abs)

    @property
    def matches(self) -> bool:
        return self.max_abs <= self.allowed

    @property
    def relative_to_peak(self) -> float:
        return self.max_abs

    def describe(self) -> str:
        if math.isnan(self.max_abs):
            return "NaN in the wrong place."
        return f"off by {self.max_abs:g}; allowed {self.allowed:g} ({self.source})."


class FakeBackend:
    def is_model(self, candidate: Any) -> bool:
        return isinstance(candidate, Net)

    def build(self, make: Any, seed: int) -> Any:
        model = make()
        if not isinstance(model, Net):
            raise SuiteError(f"expected a model, got {model!r}")
        return model

    def subject(self, model: Any, inputs: Any, kwargs: Any, seed: int) -> Subject:
        shapes = tuple(spec.shape for spec in inputs or ()) or (IMAGE,)
        return Subject(model, tuple(inputs or ()), kwargs, (1.0,), shapes, (IMAGE,))

    def resized(self, subject: Subject, shapes: Any) -> Subject:
        if isinstance(subject.model, OneSize):
            raise SuiteError(f"the model fails in PyTorch itself on inputs {shapes[0]}")
        return replace(subject, shapes=tuple(shapes))

    def varied(self, subject: Subject) -> Subject | None:
        return replace(subject, kwargs={"varied": True}, is_example=False)

    def convert(self, subject: Subject, form: Form, arguments: Any) -> Any:
        told = f" {arguments}" if arguments else ""
        inputs = [str(spec) for spec in subject.args]
        print(f"CONVERTED {type(subject.model).__name__} {form.inputs}-{form.outputs} {form.free} {inputs}{told}")
        if isinstance(subject.model, NoKeras):
            raise SuiteError("the model cannot be converted: no converter for torch.foo")
        return subject

    def run(self, converted: Any, subject: Subject, runtime: str) -> list[float]:
        if runtime == "tflite" and subject.model.error < 0:
            raise UnavailableError("TFLite needs something")
        if runtime in LATER:
            raise UnavailableError(f"{runtime} is planned")
        tried_elsewhere = bool(subject.args) and subject.shapes[0] != subject.args[0].shape
        error = subject.model.error + subject.model.error_elsewhere * tried_elsewhere
        return [1.0 + error + subject.model.error_otherwise * ("varied" in subject.kwargs)]

    def compare(self, got: float, expected: float, bound: Any) -> FakeDifference:
        allowed = 1e-4 if bound.max_abs is None else bound.max_abs
        return FakeDifference(abs(got - expected), allowed, bound.source)

    def computed_in(self, converted: Any) -> tuple[str, ...]:
        return ()

    def graph(self, converted: Any) -> Any:
        return {"model": type(converted.model).__name__, "nodes": [], "ok": not converted.model.error}

    def culprit(self, converted: Any, subject: Subject, bound: Any, runtime: str) -> str | None:
        return "layer.conv (Conv2d): off by a lot"

    def imprecise(self, converted: Any) -> dict[str, str]:
        return {"torch.exp": "layer.exp (torch.exp), off by a little"} if isinstance(converted.model, Imprecise) else {}
