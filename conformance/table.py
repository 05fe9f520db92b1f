"""The table of networks: parity, transpositions beside the peers', operations and file size.

python -m conformance.table              # all of them, as Markdown
python -m conformance.table resnet18     # some
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from conformance.measure import measure
from conformance.models import CASES, case
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks of conformance.models (default: all)")
    names: Sequence[str] = parser.parse_args().names or [c.name for c in CASES]
    print("| network | Keras | TFLite | TRANSPOSE | peers (nobuco 0.17 / litert-torch / onnx2tf) | operations | MB |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        measured = measure(case(name))
        print(
            f"| {name} | {_relative(measured.keras)} | {_relative(measured.tflite)} | {measured.transposes} "
            f"| {PEERS.get(name, '-')} | {sum(measured.operations.values())} | {measured.size / 2**20:.1f} |",
            flush=True,
        )


def _relative(differences: Sequence[Difference]) -> str:
    gravest = worst(differences)
    return f"{gravest.relative_to_peak:.1e}" if gravest else "-"


if __name__ == "__main__":
    main()
