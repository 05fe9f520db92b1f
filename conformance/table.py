"""The table of networks: parity, transpositions beside the peers', operations, file size, seconds and memory.

python -m conformance.table                # those of conformance.models, as Markdown
python -m conformance.table resnet18       # some
python -m conformance.table --torchvision  # one or two of each of torchvision's families
python -m conformance.table --all          # every network that torchvision registers

Each network is converted in a process of its own: so its memory is known, and one that crashes costs a row.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from conformance.measure import measure
from conformance.models import CASES, case
from conformance.torchvision_zoo import ZOO, every_name, zoo_case
from nobuco.parity import Difference, worst

# TRANSPOSE operations in the files of nobuco 0.17.0 (TensorFlow 2.15), litert-torch 0.10.0 (channels-last I/O) and
# onnx2tf 1.29.24, for the same networks.
PEERS = {
    "mobilenet_v3_large": "0 / 0 / 0",
    "efficientnet_b0": "0 / 0 / 0",
    "resnet18": "0 / 0 / 1",
    "regnet_y_400mf": "0 / 0 / 1",
    "shufflenet_v2_x1_0": "62 / 49 / 61",
    "convnext_tiny": "36 / 1 / 1",
    "deeplabv3_resnet50": "0 / 0 / 1",
    "vit_b_16": "62 / 74 / 62",
    "swin_t": "44 / 60 / 45",
    "UNet": "0 / 0 / 0",
    "GruConv": "2 / 3 / 2",
    "PixelShuffleNet": "2 / 8 / 2",
    "HardsigmoidNet": "0 / 0 / 0",
    "SliceReLU": "0 / 2 / fails",
    "InplaceSliceView": "wrong / 2 / fails",
}
_MOST_SECONDS = 1800


@dataclass(frozen=True)
class Row:
    """What is said of one network; `warned` counts what its conversion warned of."""

    keras: str
    tflite: str
    transposes: int
    operations: int
    megabytes: float
    seconds: float
    gigabytes: float
    warned: int


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks of conformance.models or of torchvision")
    parser.add_argument("--torchvision", action="store_true", help="one or two of each of torchvision's families")
    parser.add_argument("--all", action="store_true", help="every network that torchvision registers")
    parser.add_argument("--row", action="store_true", help="one row, as JSON, in this process")
    given = parser.parse_args()
    zoo = every_name() if given.all else ZOO if given.torchvision else ()
    names: Sequence[str] = given.names or zoo or [c.name for c in CASES]
    if given.row:
        print(json.dumps(asdict(_row(names[0], from_zoo=given.torchvision))))
        return
    print(
        "| network | Keras | TFLite | TRANSPOSE | peers (nobuco 0.17 / litert-torch / onnx2tf) | operations | MB "
        "| seconds | GB | warnings |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in names:
        print(f"| {name} | {_cells(name, bool(zoo))} |", flush=True)


def _cells(name: str, from_zoo: bool) -> str:
    """A row of the table but for the name, made in another process; what it died of where it did."""
    command = [sys.executable, "-m", "conformance.table", "--row", name, *(["--torchvision"] if from_zoo else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MOST_SECONDS)
    except subprocess.TimeoutExpired:
        return f"not done after {_MOST_SECONDS} s"
    if done.returncode:
        raised = [line for line in done.stderr.splitlines() if "Error: " in line]
        return f"exit status {done.returncode}: {raised[-1][:200] if raised else 'no word of why'}"
    row = Row(**json.loads(done.stdout.splitlines()[-1]))
    return (
        f"{row.keras} | {row.tflite} | {row.transposes} | {PEERS.get(name, '-')} | {row.operations} "
        f"| {row.megabytes:.1f} | {row.seconds:.0f} | {row.gigabytes:.1f} | {row.warned or '-'}"
    )


def _row(name: str, from_zoo: bool) -> Row:
    known = any(c.name == name for c in CASES) and not from_zoo
    measured = measure(case(name) if known else zoo_case(name))
    return Row(
        _relative(measured.keras),
        _relative(measured.tflite),
        measured.transposes,
        sum(measured.operations.values()),
        measured.size / 2**20,
        measured.seconds["all"],
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        len(measured.report.warnings),
    )


def _relative(differences: Sequence[Difference]) -> str:
    gravest = worst(differences)
    return f"{gravest.relative_to_peak:.1e}" if gravest else "-"


if __name__ == "__main__":
    main()
