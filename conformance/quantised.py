"""What quantisation costs: signal-to-noise ratio, size, and how much of each file XNNPACK runs.

python -m conformance.quantised              # the networks of the table in RESULTS.md, as Markdown
python -m conformance.quantised resnet18     # some
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import torch

import nobuco
from conformance.models import Case, case
from nobuco.bridge import flat_outputs, to_numpy
from nobuco.export.quantisation import INTEGER
from nobuco.export.tflite_file import run_tflite, to_tflite
from nobuco.parity import fidelity
from pytest_nobuco.latency.delegated import file_facts

NETWORKS = ("mobilenet_v3_large", "resnet18", "TransformerEncoderLayer")
PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8")
# The least ratio in dB that each file of these networks has to reach, on inputs that it was not calibrated on. The
# weights are random, so there is no slack in them that training would have left.
AT_LEAST = {
    "mobilenet_v3_large": {"float16": 60, "dynamic": 40, "int8": 35, "int16x8": 40},
    "resnet18": {"float16": 60, "dynamic": 30, "int8": 30, "int16x8": 30},
    "TransformerEncoderLayer": {"float16": 60, "dynamic": 35, "int8": 25},
}
SAMPLES = 16


def drawn(inputs: Sequence[torch.Tensor], seed: int) -> list[torch.Tensor]:
    """Inputs like these."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(x.shape, generator=generator) for x in inputs]


def lines(of: Case) -> Iterator[str]:
    """The rows of one network, a precision each."""
    model, inputs = of.built()
    keras_model = nobuco.pytorch_to_keras(
        model, list(inputs), inputs_channel_order=of.order, outputs_channel_order=of.outputs_order, verbose=False
    )
    samples = [_feeds(of, drawn(inputs, seed)) for seed in range(100, 100 + SAMPLES)]
    for precision in PRECISIONS:
        yield _line(of, precision, model, keras_model, drawn(inputs, 1), samples)


def _feeds(of: Case, inputs: Sequence[torch.Tensor]) -> list[np.ndarray]:
    return [nobuco.t_pytorch2keras(x, of.order).numpy() for x in inputs]


def _line(
    of: Case,
    precision: str,
    model: torch.nn.Module,
    keras_model: keras.Model,
    inputs: Sequence[torch.Tensor],
    samples: list[list[np.ndarray]],
) -> str:
    try:
        data = to_tflite(keras_model, precision=precision, representative=samples if precision in INTEGER else None)
    except nobuco.ExportError as error:
        return f"| {of.name} | {precision} | none: {str(error).partition(': ')[2]} | | | | | |"
    with torch.no_grad():
        expected = flat_outputs(model(*inputs))
    got = [nobuco.t_keras2pytorch(t, of.outputs_order) for t in run_tflite(data, _feeds(of, inputs))]
    stated = {"float32": 100, **AT_LEAST.get(of.name, {})}
    least = stated.get(precision, -math.inf)
    found = [fidelity(to_numpy(g), to_numpy(e), least, "the table") for g, e in zip(got, expected, strict=True)]
    worst = min(found, key=lambda f: f.snr)
    facts = file_facts(data)
    mark = "✓" if worst.matches else "✗"
    return (
        f"| {of.name} | {precision} | {mark} {worst.snr:.1f} | {stated.get(precision, '–')} "
        f"| {worst.cosine:.6f} | {worst.max_abs:.1e} "
        f"| {facts.operations - facts.outside_xnnpack} of {facts.operations} | {len(data) / 2**20:.2f} |"
    )


def main() -> None:
    """Print the table; the exit code is 1 if a ratio is too low."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks of conformance.models")
    names: Sequence[str] = parser.parse_args().names or NETWORKS
    print("| network | precision | SNR in dB | at least | cosine | max abs | XNNPACK runs | MB |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    found = []
    for name in names:
        for line in lines(case(name)):
            print(line, flush=True)
            found.append(line)
    raise SystemExit(any("✗" in line for line in found))


if __name__ == "__main__":
    main()
