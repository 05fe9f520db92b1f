"""The files in real clients, against PyTorch: LiteRT from Python, LiteRT.js in Chromium, TFLite Micro.

    npm install --prefix DIR @litertjs/core        # for --modules
    VENV/bin/pip install tflite-micro              # for --micro-python
    python -m conformance.clients --modules DIR/node_modules --micro-python VENV/bin/python

writes `conformance/CLIENTS.md`. What a machine lacks is left out, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

import nobuco
from conformance.models import UNet
from conformance.torchvision_models import network, randomized
from nobuco.export import to_tflite

PAGE = Path(__file__).with_suffix(".html")
TABLE = Path(__file__).with_name("CLIENTS.md")
SECONDS = 300


class KeywordSpotter(nn.Module):
    """What listens for a word on a microcontroller: convolutions over time and frequency, a GRU, a verdict."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(nn.Conv2d(1, 8, 3, (2, 2), 1), nn.ReLU(), nn.Conv2d(8, 8, 3, (2, 2), 1))
        self.gru = nn.GRU(8 * 10, 24, batch_first=True)
        self.head = nn.Linear(24, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.convolutions(x)).permute(0, 2, 1, 3).flatten(2)
        return self.head(self.gru(x)[0][:, -1]).softmax(-1)


class Encoder(nn.Module):
    """Two layers of attention over the patches of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, 8)
        layer = nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.patches(x).flatten(2).mT).mean(1))


@dataclass(frozen=True)
class Net:
    """A network with the shape of its input."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]


NETS = (
    Net("convolutional", partial(network, "mobilenet_v3_small"), (1, 3, 96, 96)),
    Net("recurrent", KeywordSpotter, (1, 1, 40, 40)),
    Net("u-net", UNet, (1, 3, 64, 64)),
    Net("transformer", Encoder, (1, 3, 64, 64)),
)


@dataclass(frozen=True)
class Converted:
    """A file with its input, channels last, and what PyTorch gives, as the file lays it out."""

    name: str
    data: bytes
    given: np.ndarray
    expected: np.ndarray

    def off(self, got: np.ndarray) -> str:
        """How far it is from PyTorch, as a fraction of the largest element."""
        return f"{np.abs(got.reshape(self.expected.shape) - self.expected).max() / np.abs(self.expected).max():.1e}"


def converted(net: Net, precision: str = "float32") -> Converted:
    torch.manual_seed(0)
    model = randomized(net.make()).eval()
    inputs = [torch.randn(net.shape, generator=torch.Generator().manual_seed(seed)) for seed in range(16)]
    keras_model = nobuco.pytorch_to_keras(
        model, [inputs[0]], outputs_channel_order=nobuco.ChannelOrder.TENSORFLOW, verbose=False
    )
    feeds = [nobuco.t_pytorch2keras(x, nobuco.ChannelOrder.TENSORFLOW).numpy() for x in inputs]
    samples: Any = {} if precision == "float32" else {"precision": precision, "representative": feeds}
    with torch.no_grad():
        expected = nobuco.t_pytorch2keras(model(inputs[0]), nobuco.ChannelOrder.TENSORFLOW).numpy()
    return Converted(net.name, to_tflite(keras_model, **samples), feeds[0], expected)


def in_python(net: Converted) -> str:
    """The plain interpreter, as docs/running.md has it."""
    interpreter = Interpreter(model_content=net.data)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], net.given)
    interpreter.invoke()
    return net.off(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


_MICRO = """
import sys, numpy as np
from tflite_micro.python.tflite_micro import runtime
interpreter = runtime.Interpreter.from_file(sys.argv[1], arena_size=16 << 20)
interpreter.set_input(np.load(sys.argv[2]), 0)
interpreter.invoke()
np.save(sys.argv[3], interpreter.get_output(0))
"""


def in_micro(net: Converted, python: str) -> str:
    """TFLite Micro, in the interpreter that it is installed for."""
    with tempfile.TemporaryDirectory() as folder:
        file, given, got = (str(Path(folder, name)) for name in ("net.tflite", "given.npy", "got.npy"))
        Path(file).write_bytes(net.data)
        np.save(given, net.given)
        done = subprocess.run([python, "-c", _MICRO, file, given, got], capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "rror" in line or "idn't find op" in line]
            return f"fails: {(lines or ['it ends'])[0].strip()[:90]}"
        return net.off(np.load(got))


@dataclass
class Browser:
    """A page in headless Chromium that runs files in LiteRT.js, and what it has sent back."""

    modules: Path
    results: dict[str, Any] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self, nets: Sequence[Converted]) -> dict[str, str]:
        with tempfile.TemporaryDirectory() as folder:
            self._lay_out(nets, Path(folder))
            server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self, directory=folder))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            chromium = shutil.which("chromium") or shutil.which("google-chrome") or "chromium-browser"
            flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
            page = f"http://127.0.0.1:{server.server_port}/index.html"
            quiet = subprocess.DEVNULL
            with subprocess.Popen(
                [chromium, *flags, f"--user-data-dir={folder}/profile", page], stdout=quiet, stderr=quiet
            ) as browser:
                self.ended.wait(SECONDS)
                browser.kill()
            server.shutdown()
        return {net.name: self._verdict(net) for net in nets}

    def _lay_out(self, nets: Sequence[Converted], folder: Path) -> None:
        shutil.copy(PAGE, folder / "index.html")
        (folder / "modules").symlink_to(self.modules.resolve())
        for net in nets:
            (folder / f"{net.name}.tflite").write_bytes(net.data)
            (folder / f"{net.name}.bin").write_bytes(net.given.astype("<f4").tobytes())
        listed = [
            {"name": n.name, "file": f"{n.name}.tflite", "input": f"{n.name}.bin", "shape": n.given.shape} for n in nets
        ]
        (folder / "nets.json").write_text(json.dumps(listed))

    def _verdict(self, net: Converted) -> str:
        result = self.results.get(net.name, {"error": self.results.get("", {}).get("error", "no answer")})
        return f"fails: {result['error'][:90]}" if "error" in result else net.off(np.array(result["values"][0]))


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, browser: Browser, *args: Any, **kwargs: Any) -> None:
        self.browser = browser
        super().__init__(*args, **kwargs)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self.browser.results[self.path.removeprefix("/result/") if self.path != "/end" else ""] = body
        if self.path == "/end":
            self.browser.ended.set()

    def log_message(self, *_: Any) -> None:
        """The server says nothing."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", type=Path, help="the node_modules that @litertjs/core is in")
    parser.add_argument("--micro-python", help="an interpreter with tflite-micro")
    options = parser.parse_args(argv)
    files = [converted(net) for net in NETS]
    small = converted(NETS[1], "int8")
    columns: dict[str, Mapping[str, str]] = {"Python": {net.name: in_python(net) for net in files}}
    columns["Python"] = {**columns["Python"], "recurrent-int8": in_python(small)}
    if options.modules:
        columns["LiteRT.js"] = Browser(options.modules).run([*files, _named(small, "recurrent-int8")])
    if options.micro_python:
        micro = {net.name: in_micro(net, options.micro_python) for net in files}
        columns["TFLite Micro"] = {**micro, "recurrent-int8": in_micro(small, options.micro_python)}
    TABLE.write_text(_page(columns))
    print(TABLE.read_text())


def _named(net: Converted, name: str) -> Converted:
    return Converted(name, net.data, net.given, net.expected)


def _page(columns: Mapping[str, Mapping[str, str]]) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True, cwd=PAGE.parent
    ).stdout.strip()
    rows = [
        f"| {name} | {' | '.join(column.get(name, 'not run') for column in columns.values())} |"
        for name in next(iter(columns.values()))
    ]
    return "\n".join(
        [
            "# Clients",
            "",
            f"`python -m conformance.clients`; {date.today()}, commit {commit}, ai-edge-litert "
            f"{version('ai-edge-litert')}. The same files in each client: the largest difference from PyTorch, as a "
            "fraction of the output's largest element. How to run a file: [running](../docs/running.md).",
            "",
            f"| network | {' | '.join(columns)} |",
            f"|---|{'---|' * len(columns)}",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
