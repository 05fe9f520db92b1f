"""A program in PyTorch, converted to Keras, and in a TFLite file: what each gives on a trial."""

from __future__ import annotations

import contextlib
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import nobuco
from conformance.fuzz.program import Program, Trial
from nobuco import ChannelOrder
from nobuco.bridge import flat_outputs
from nobuco.errors import NobucoWarning
from nobuco.export.running import litert, output_of
from nobuco.export.tflite_file import to_tflite
from nobuco.ir import Condition
from nobuco.layers.conditions import SizeCondition
from nobuco.layers.output import called

Outputs = list[list[torch.Tensor]]
"""The tensors that each call of a trial gave."""


class Hang(BaseException):
    """A program took longer than it may. No `except Exception` may take it for a failure of its own."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `Hang` in the body after this much time of the processor: other work on the machine does not count."""

    def stop(*_: Any) -> None:
        raise Hang(f"{seconds:g} s of the processor")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def in_pytorch(program: Program, trial: Trial, precision: torch.dtype = torch.float32) -> Outputs:
    """What PyTorch gives; in double precision from the same values, with all that is less precise widened."""
    function, outputs = program.made(), []
    widened = precision is torch.float64
    if widened and isinstance(function, torch.nn.Module):
        function = function.double()
    with torch.no_grad(), warnings.catch_warnings(), _default_dtype(precision):
        warnings.simplefilter("ignore")
        for feed in program.feeds(trial):
            given = [t.double() if widened and t.is_floating_point() else t for t in feed]
            outputs.append([t.detach().clone() for t in flat_outputs(function(*given))])
    return outputs


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@dataclass(frozen=True)
class Converted:
    """A converted program and what was said of it."""

    program: Program
    model: Any
    warned: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()

    @property
    def said(self) -> tuple[str, ...]:
        """All that was said; not where the program itself has nothing to give, of which nothing is warned."""
        return (*self.warned, *(str(condition) for condition in self.conditions if not condition.is_refused))

    def is_told_of(self, trial: Trial) -> bool:
        """Whether something was said of a trial: not if it is inside of all regions, and nothing else was said."""
        shapes = {given.name: given.shape(trial.sizes) for given in self.program.inputs}
        told = {c.message: SizeCondition(c.region, c.message).holds(shapes) is not True for c in self.conditions}
        return any(told.get(message, True) for message in self.warned) or any(told.values())

    @property
    def orders(self) -> tuple[ChannelOrder, ChannelOrder]:
        """How inputs and outputs lie."""
        options = self.program.options
        return options["inputs_channel_order"], options["outputs_channel_order"]

    def in_keras(self, trial: Trial) -> Outputs:
        """What the Keras model gives, its state as it was at first."""
        nobuco.reset_states(self.model)
        outputs = []
        for feed in self.program.feeds(trial):
            tensors = [nobuco.t_pytorch2keras(t, self.orders[0]) for t in feed]
            outputs.append(self._logical(called(self.model, tensors)))
        return outputs

    def in_tflite(self, data: bytes, trial: Trial) -> Outputs:
        """What a file gives, in an interpreter of its own."""
        interpreter, outputs = litert().Interpreter(model_content=data, num_threads=1), []
        details = interpreter.get_input_details()
        for feed in self.program.feeds(trial):
            given = [nobuco.t_pytorch2keras(t, self.orders[0]).numpy() for t in feed]
            if not outputs:
                for detail, array in zip(details, given):
                    interpreter.resize_tensor_input(detail["index"], array.shape)
                interpreter.allocate_tensors()
            for detail, array in zip(details, given):
                interpreter.set_tensor(detail["index"], array)
            interpreter.invoke()
            got = [output_of(interpreter, detail) for detail in interpreter.get_output_details()]
            outputs.append(self._logical(got))
        return outputs

    def file(self) -> bytes:
        """The model as a TFLite file, which starts from the state that the model has: as it was at first."""
        nobuco.reset_states(self.model)
        return to_tflite(self.model)

    def _logical(self, tensors: Sequence[Any]) -> list[torch.Tensor]:
        return [nobuco.t_keras2pytorch(t, self.orders[1]) for t in tensors]


def converted(program: Program) -> Converted:
    """Convert a program on its example, and keep what nobuco says meanwhile."""
    (feed, *_) = program.feeds(program.trials[0])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, report = nobuco.pytorch_to_keras(
            program.made(),
            feed,
            input_shapes={t: program.free(given) for t, given in zip(feed, program.inputs)},
            return_report=True,
            verbose=False,
            **program.options,
        )
    said = [str(w.message) for w in caught if issubclass(w.category, NobucoWarning)]
    return Converted(program, model, tuple(said), report.conditions)
