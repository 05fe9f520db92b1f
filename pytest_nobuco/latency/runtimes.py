"""What runs a model while it is timed.

One run goes from inputs in the host's memory to outputs in the host's memory, on every runtime: what the caller
of a model waits for. So nothing is left out, wherever a driver chooses to do the work.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.latency import adb, spec
from pytest_nobuco.latency.delegated import FileFacts, file_facts
from pytest_nobuco.latency.deployed import Deployed, run_interpreter
from pytest_nobuco.latency.gpu import Adapter, Budget, find_adapter, run_on_gpu
from pytest_nobuco.latency.spec import LatencyCase, LatencyOptions


@dataclass(frozen=True)
class Prepared:
    """A model ready to be timed, or timed already.

    run: one run in this process; None where the runs were elsewhere.
    seconds: of each run that was elsewhere.
    outputs: laid out as PyTorch's; None where they cannot be had (a phone).
    """

    device: str
    threads: int | None
    run: Callable[[], Any] | None = None
    seconds: tuple[float, ...] = ()
    outputs: Sequence[Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class Runtimes(Protocol):
    """What can be timed; the plugin's own tests have one without frameworks."""

    def prepare(
        self, deployed: Deployed, case: LatencyCase, budget: Budget
    ) -> contextlib.AbstractContextManager[Prepared]:
        """The model on this runtime; `UnavailableError` if it is missing here, `SuiteError` if it fails."""


@dataclass
class RealRuntimes:
    """PyTorch, Keras, LiteRT on CPU and GPU, and a phone."""

    options: LatencyOptions
    _adapter: Adapter | UnavailableError | None = None

    @contextlib.contextmanager
    def prepare(self, deployed: Deployed, case: LatencyCase, budget: Budget) -> Iterator[Prepared]:
        """See `Runtimes`."""
        if case.runtime == spec.TORCH:
            with _torch(deployed, case.threads or 1) as prepared:
                yield prepared
        elif case.runtime == spec.KERAS:
            yield _keras(deployed)
        elif case.runtime == spec.XNNPACK:
            yield _xnnpack(deployed, case.threads or 1)
        elif case.runtime == spec.GPU:
            yield self._gpu(deployed, budget)
        else:
            yield self._phone(deployed, case, budget)

    def _gpu(self, deployed: Deployed, budget: Budget) -> Prepared:
        self._require_adapter()
        facts = _facts(deployed)
        ran = run_on_gpu(deployed.tflite, deployed.feeds, budget, self.options.gpu_fp16)
        extra = {
            "delegate": "ML Drift",
            "operations_outside_delegate": ran.outside,
            "refused_by_delegate": list(ran.refusals),
            "precision": "float16 allowed" if self.options.gpu_fp16 else "float32 enforced",
            "adapter": ran.adapter.name,
            "adapter_type": ran.adapter.kind,
            "compile_seconds": ran.compile_seconds,
        }
        outputs = deployed.as_pytorch(ran.outputs)
        return Prepared(str(ran.adapter), None, None, ran.seconds, outputs, {**_of_file(facts), **extra})

    def _require_adapter(self) -> None:
        """Ask for the GPU once per session."""
        if self._adapter is None:
            try:
                self._adapter = find_adapter()
            except UnavailableError as error:
                self._adapter = error
        if isinstance(self._adapter, UnavailableError):
            if self.options.require_gpu:
                raise SuiteError(f"--nobuco-require-gpu: {self._adapter}")
            raise UnavailableError(str(self._adapter))

    def _phone(self, deployed: Deployed, case: LatencyCase, budget: Budget) -> Prepared:
        phone = adb.find_phone(self.options.adb, self.options.benchmark_model)
        ran = adb.run_on_phone(phone, deployed.tflite, case.threads, case.runtime == spec.PHONE_GPU, budget)
        facts = _facts(deployed)
        extra = {"delegate": "GPU" if case.runtime == spec.PHONE_GPU else "XNNPACK", **ran.details}
        if case.runtime == spec.PHONE_GPU:  # it demands all or nothing
            extra["operations_outside_delegate"] = 0
        return Prepared(phone.name, case.threads, None, ran.seconds, None, {**_of_file(facts), **extra})


@contextlib.contextmanager
def _torch(deployed: Deployed, threads: int) -> Iterator[Prepared]:
    import torch

    call, before = deployed.pytorch_call(), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield Prepared(processor(), threads, call)
    finally:
        torch.set_num_threads(before)


def _keras(deployed: Deployed) -> Prepared:
    import tensorflow as tf

    from nobuco.layers.output import called

    model, feeds = deployed.keras_model, [tf.constant(feed) for feed in deployed.feeds]
    compiled = tf.function(lambda *inputs: called(model, inputs))

    def run() -> Any:
        with tf.device("CPU:0"):
            return compiled(*feeds)

    threads = tf.config.threading.get_intra_op_parallelism_threads() or spec.cores()
    return Prepared(processor(), threads, run, outputs=deployed.as_pytorch(run()))


def _xnnpack(deployed: Deployed, threads: int) -> Prepared:
    facts = _facts(deployed)
    from ai_edge_litert.interpreter import Interpreter

    run = run_interpreter(Interpreter(model_content=deployed.tflite, num_threads=threads), deployed.feeds)
    extra = {"delegate": "XNNPACK", "operations_outside_delegate": facts.outside_xnnpack}
    return Prepared(processor(), threads, run, (), deployed.as_pytorch(run()), {**_of_file(facts), **extra})


def _facts(deployed: Deployed) -> FileFacts:
    try:
        return file_facts(deployed.tflite)
    except ImportError:
        raise UnavailableError("TFLite needs ai-edge-litert: pip install 'nobuco[pytest]'") from None


def _of_file(facts: FileFacts) -> dict[str, Any]:
    return {
        "file_size": facts.file_size,
        "operations": facts.operations,
        "transpositions": facts.transpositions,
    }


def processor() -> str:
    """The processor of this machine, as it calls itself."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
