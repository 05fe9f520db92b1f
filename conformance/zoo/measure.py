"""One network of a zoo through Keras and TFLite against PyTorch, as a row of the table."""

from __future__ import annotations

import resource
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

import nobuco
from conformance.zoo.network import Inputs, Network, NoNetworkError, parameters_of
from nobuco.bridge import flat_outputs, t_keras2pytorch, t_pytorch2keras, to_numpy
from nobuco.export.tflite_file import run_tflite, tflite_operations, to_tflite
from nobuco.layers.output import called
from nobuco.parity import Tolerance, compare, worst

BOUND = Tolerance(0.0, 1e-4, "the suite's bound, relative to the largest output")
_LONGEST_MESSAGE = 1500


@dataclass(frozen=True)
class Row:
    """What one network came to. `keras` and `tflite` are ok, the difference relative to the peak, or what went wrong.

    `elsewhere` and `tflite_elsewhere` say so of inputs that the conversion did not see. `stage` is where it ended.
    """

    name: str
    zoo: str = ""
    described: str = ""
    inputs: tuple[str, ...] = ()
    parameters: int = 0
    stage: str = "network"
    error: str = ""
    where: str = ""
    keras: str = ""
    tflite: str = ""
    elsewhere: str = ""
    tflite_elsewhere: str = ""
    off: float | None = None
    tflite_off: float | None = None
    transposes: int = 0
    operations: int = 0
    megabytes: float = 0
    seconds: dict[str, float] = field(default_factory=dict)
    gigabytes: float = 0
    warned: tuple[str, ...] = ()

    @property
    def is_network(self) -> bool:
        """Whether there was anything to convert."""
        return self.stage != "network"

    @property
    def keras_ok(self) -> bool:
        return self.keras == "ok" and self.elsewhere == "ok"

    @property
    def tflite_ok(self) -> bool:
        return self.tflite == "ok" and self.tflite_elsewhere == "ok"

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong."""
        return self.keras_ok and self.tflite_ok

    def line(self, verbose: bool) -> str:
        """The row in words."""
        spent = sum(self.seconds.values())
        if self.error:
            said = f"{self.stage}: {self.error.splitlines()[0][:150]}"
            return f"{self.name}: {said} ({spent:.0f} s)" + (f"\n  {self.error}\n  {self.where}" if verbose else "")
        found = {"Keras": self.keras, "elsewhere": self.elsewhere, "TFLite": self.tflite, "": self.tflite_elsewhere}
        return f"{self.name}: {', '.join(f'{what} {said}' for what, said in found.items())} ({spent:.0f} s)"


class _Rows:
    """A row as far as it is known: what a process that is cut off has had to say."""

    def __init__(self, row: Row, tell: Callable[[Row], None]) -> None:
        self.row, self._tell = row, tell

    def know(self, **known: Any) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        self.row = replace(self.row, gigabytes=round(peak, 2), **known)
        self._tell(self.row)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.know(stage=name)
        started = time.process_time()
        yield
        self.know(seconds={**self.row.seconds, name: round(time.process_time() - started, 1)})


def measure(zoo: str, name: str, make: Callable[[], Network], tell: Callable[[Row], None] = lambda row: None) -> Row:
    """Convert, export, run and compare; `tell` hears of the row after each stage."""
    rows = _Rows(Row(name, zoo), tell)
    try:
        _measured(make, rows)
    except Exception as error:
        where = [f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)][-4:]
        rows.know(error=f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE], where=" ".join(where))
    return rows.row


def _measured(make: Callable[[], Network], rows: _Rows) -> None:
    with rows.stage("network"):
        network = make()
        _assert_sees_its_inputs(network)
    given = tuple(f"{key} {'×'.join(map(str, value.shape))}" for key, value in network.inputs.items())
    rows.know(described=network.described, inputs=given, parameters=parameters_of(network.model))
    with rows.stage("convert"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", nobuco.NobucoWarning)
            keras_model = _converted(network)
        rows.know(warned=tuple(str(w.message)[:300] for w in caught if issubclass(w.category, nobuco.NobucoWarning)))
    with rows.stage("run"):
        said, off = compared(network, network.inputs, keras_model)
        rows.know(keras=said, off=off, elsewhere=compared(network, network.other_inputs, keras_model)[0])
    with rows.stage("tflite"):
        data = to_tflite(keras_model)
    operations = tflite_operations(data)
    counts = {"transposes": operations.get("TRANSPOSE", 0), "operations": sum(operations.values())}
    rows.know(megabytes=round(len(data) / 2**20, 2), **counts)
    with rows.stage("run tflite"):
        said, off = compared(network, network.inputs, data)
        rows.know(tflite=said, tflite_off=off, tflite_elsewhere=compared(network, network.other_inputs, data)[0])
    rows.know(stage="done")


def _converted(network: Network) -> Any:
    return nobuco.pytorch_to_keras(
        network.model,
        kwargs=dict(network.inputs),
        inputs_channel_order=network.order,
        outputs_channel_order=network.order,
        verbose=False,
    )


def _expected(network: Network, inputs: Inputs) -> list[np.ndarray]:
    with torch.no_grad():
        return [to_numpy(t) for t in flat_outputs(network.model(**{k: v.clone() for k, v in inputs.items()}))]


def _assert_sees_its_inputs(network: Network) -> None:
    """A network that gives the same for all inputs, zero or NaN would prove nothing."""
    here, there = _expected(network, network.inputs), _expected(network, network.other_inputs)
    if not any(a.shape != b.shape or not np.array_equal(a, b) for a, b in zip(here, there)):
        raise NoNetworkError("its outputs do not depend on its inputs")
    if any(np.issubdtype(a.dtype, np.floating) and np.isnan(a).all() for a in here if a.size):
        raise NoNetworkError("an output is NaN throughout")


def compared(network: Network, inputs: Inputs, converted: Any) -> tuple[str, float]:
    """`ok` or what differs, and how far relative to the peak."""
    expected = _expected(network, inputs)
    feeds = [t_pytorch2keras(value, network.order) for value in inputs.values()]
    got = run_tflite(converted, feeds) if isinstance(converted, bytes) else called(converted, feeds)
    logical = [to_numpy(t_keras2pytorch(tensor, network.order)) for tensor in got]
    differences = [compare(g, e, BOUND) for g, e in zip(logical, expected, strict=True)]
    gravest = worst(differences)
    if gravest is None:
        return "no outputs", 0.0
    return "ok" if all(d.matches for d in differences) else gravest.describe(), gravest.relative_to_peak
