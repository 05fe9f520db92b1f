"""Conversions beside other threads: theirs run as if there were none, and conversions wait for each other."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco.errors import ConversionError, NobucoWarning
from nobuco.export.tflite_file import run_tflite, to_tflite

ROUNDS = 20


class Net(nn.Module):
    """Layers, a hook of its own, and an operation that is opened."""

    def __init__(self, width=8):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Linear(width, 4)
        self.norm.register_forward_pre_hook(lambda module, args: (args[0] * 1.0,))

    def forward(self, x):
        return torch.diff(self.head(F.relu(self.norm(self.conv(x))).mean((2, 3))))


class Writer(nn.Module):
    """Keeps state in a buffer and in an attribute."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6, batch_first=True)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls.add_(1)
        self.seen = self.lstm(x)[0]
        return self.seen * self.calls


def converted(model, x):
    keras_model = nobuco.pytorch_to_keras(
        model, [x], inputs_channel_order=nobuco.ChannelOrder.PYTORCH, verbose=False
    )  # fmt: skip
    return np.asarray(keras_model(x.numpy()))


@pytest.fixture
def eager_switching():
    """Let threads change often, so that what two do at once meets."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


class Runner:
    """Runs a model in a thread for as long as the block lasts, and counts results that are not the first one."""

    def __init__(self, model, x):
        self.model, self.x, self.runs, self.failures = model, x, 0, []
        self.stop, self.thread = threading.Event(), threading.Thread(target=self.loop)

    def loop(self):
        while not self.stop.is_set():
            try:
                with torch.no_grad():
                    got = self.model(self.x)
                if not torch.equal(got, self.wanted):
                    self.failures.append(float((got - self.wanted).abs().max()))
            except Exception as error:
                self.failures.append(error)
            self.runs += 1

    def __enter__(self):
        with torch.no_grad():
            self.wanted = self.model(self.x)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def test_four_threads(eager_switching):
    """Two convert, a model of the same class as a running one and another; two run, one of them a converted one."""
    torch.manual_seed(0)
    shared, other, writer = Net().eval(), Net(5).eval(), Writer().eval()
    image, steps = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4)
    want = {model: model(x).detach() for model, x in ((shared, image), (writer, steps))}
    writer.calls.zero_()

    def convert(model, x):
        return [np.abs(converted(model, x) - want[model].numpy()).max() for _ in range(ROUNDS // 2)]

    with Runner(shared, image) as same, Runner(other, image) as apart, ThreadPoolExecutor(2) as pool:
        errors = [
            future.result() for future in [pool.submit(convert, shared, image), pool.submit(convert, writer, steps)]
        ]
    assert same.failures == [] and apart.failures == []
    assert same.runs and apart.runs
    assert np.max(errors) < 1e-5
    assert writer.calls.item() == 0 and not hasattr(shared, "seen")


@pytest.mark.full
def test_a_compiled_and_a_scripted_model_run_meanwhile(eager_switching):
    torch.manual_seed(0)
    x = torch.randn(2, 4)
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    compiled, scripted = torch.compile(net, backend="eager"), torch.jit.script(net)
    with Runner(compiled, x) as first, Runner(scripted, x) as second:
        for _ in range(5):
            converted(lambda x: torch.trapezoid(torch.cov(x)[None].expand(3, 2, 2)), x)
            converted(scripted, x)
    assert first.failures == [] and second.failures == []


def test_everything_at_once(eager_switching, tmp_path):
    """Conversions, TFLite, saving and comparing, in a pool."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)

    def whole(number):
        model = Net(4 + number).eval()
        keras_model = nobuco.pytorch_to_keras(
            model, [x], inputs_channel_order=nobuco.ChannelOrder.PYTORCH, verbose=False
        )  # fmt: skip
        keras_model.save(tmp_path / f"{number}.keras")
        lite = run_tflite(to_tflite(keras_model), [x.numpy()])[0]
        want = model(x).detach().numpy()
        return nobuco.compare(model, keras_model, [x]).ok, np.abs(lite - want).max()

    with ThreadPoolExecutor(4) as pool:
        for ok, error in pool.map(whole, range(4)):
            assert ok and error < 1e-5


def test_asyncio():
    torch.manual_seed(0)
    nets, x = [nn.Linear(4, n) for n in (2, 3)], torch.randn(2, 4)

    async def both():
        return await asyncio.gather(*(asyncio.to_thread(converted, net, x) for net in nets))

    for net, got in zip(nets, asyncio.run(both())):
        np.testing.assert_allclose(got, net(x).detach().numpy(), atol=1e-6)


def test_a_converter_may_convert():
    @nobuco.traceable
    def outer(x):
        return x * 2 + 1

    @nobuco.converter(outer)
    def convert_outer(x):
        inner = nobuco.pytorch_to_keras(lambda x: x * 2 + 1, [x], verbose=False)
        return lambda x: inner(x)

    try:
        x = torch.randn(2, 3)
        np.testing.assert_allclose(converted(outer, x), (x * 2 + 1).numpy(), atol=1e-6)
    finally:
        nobuco.unregister_converter(outer)


class OnThreads(nn.Module):
    """Calls its modules on threads of its own."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    def forward(self, x):
        with ThreadPoolExecutor(2) as pool:
            return sum(pool.map(lambda part: part(x), self.parts))


def test_a_program_that_calls_modules_on_other_threads_is_refused():
    with pytest.raises(ConversionError, match="calls Linear on a thread of its own"):
        converted(OnThreads(), torch.randn(2, 4))


SPAWNED = """
import multiprocessing, torch, nobuco

def convert(n):
    torch.manual_seed(0)
    net, x = torch.nn.Linear(4, n), torch.randn(2, 4)
    model = nobuco.pytorch_to_keras(net, [x], verbose=False)
    return float(abs(model(x.numpy()).numpy() - net(x).detach().numpy()).max())

if __name__ == "__main__":
    print(convert(1))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(max(pool.map(convert, [2, 3])) < 1e-5)
"""


def test_processes_that_are_spawned(tmp_path):
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1:] == ["True"], done.stderr


def _converts_in_a_copy(threads):
    """What a forked process is warned of, and whether it converts."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(60)
        torch.set_num_threads(threads)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ran = converted(lambda x: x + 1, torch.zeros(2)).tolist()
        os.write(writing, repr((ran, [str(w.message)[:70] for w in caught if w.category is NobucoWarning])).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading) as answer:
        return answer.read()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is copied here")
def test_a_forked_process_is_warned():
    converted(lambda x: x + 1, torch.zeros(2))
    warned = "nobuco.pytorch_to_keras is called in a forked process, where PyTorch w"
    assert _converts_in_a_copy(1) == repr(([1.0, 1.0], []))
    assert _converts_in_a_copy(2) == repr(([1.0, 1.0], [warned]))
