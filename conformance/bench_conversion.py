"""Time and memory of whole conversions, stage by stage, each network in a process of its own.

    python -m conformance.bench_conversion                      # the networks that peers were measured on
    python -m conformance.bench_conversion resnet18 vit_b_16    # some
    python -m conformance.bench_conversion --growth             # cost against the number of layers

Seconds are wall-clock from the call of `pytorch_to_keras` to the bytes of the TFLite file; `import` is what
importing PyTorch and TensorFlow alone takes, and its memory is the floor under every other figure. The peak is that of
the same span: what runs the file afterwards is not in it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

PEERS = ("mobilenet_v3_large", "efficientnet_b0", "resnet18", "shufflenet_v2_x1_0", "convnext_tiny")
PEERS += ("deeplabv3_resnet50", "vit_b_16", "swin_t", "UNet", "BidirectionalLSTM", "GruConv", "SliceReLU")
LAYERS = (100, 200, 400, 800, 1600)
COLUMNS = ("trace", "plan", "build", "validate", "tflite", "all")


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks of conformance.models (default: the peers' list)")
    parser.add_argument("--growth", action="store_true", help="chains of 100 to 1600 layers instead")
    parser.add_argument("--no-validation", action="store_true", help="check the outputs only, not every node")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_measured_here(options.child, not options.no_validation)))
        return
    names = [str(n) for n in LAYERS] if options.growth else list(options.names or PEERS)
    print(
        "| network | " + " | ".join(f"{c} s" for c in COLUMNS) + " | import s | peak MB (imports) | TRANSPOSE | ops |"
    )
    print("|---|" + "---|" * (len(COLUMNS) + 4))
    for name in names:
        flags = ["--no-validation"] if options.no_validation else []
        row = _in_child(name, flags)
        cells = " | ".join(f"{row['seconds'][c]:.2f}" for c in COLUMNS)
        print(
            f"| {name} | {cells} | {row['import_seconds']:.1f} | {row['peak']} ({row['floor']}) "
            f"| {row['transposes']} | {row['operations']} |",
            flush=True,
        )


def _in_child(name: str, flags: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "conformance.bench_conversion", "--child", name, *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} is not measured:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _measured_here(name: str, full_validation: bool) -> dict[str, Any]:
    import resource
    import time

    started = time.perf_counter()
    from nobuco import pytorch_to_keras  # noqa: F401  loads PyTorch, TensorFlow and the converters
    from nobuco.export.tflite_file import to_tflite  # noqa: F401

    import_seconds = time.perf_counter() - started
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    from conformance.measure import measure
    from conformance.models import Case, case, chain, image

    chosen = Case(name, lambda: chain(int(name)), image(1, 8, 16, 16)) if name.isdigit() else case(name)
    measured = measure(chosen, full_validation)
    return {
        "seconds": dict(measured.seconds),
        "import_seconds": import_seconds,
        "floor": floor,
        "peak": measured.peak,
        "transposes": measured.transposes,
        "operations": sum(measured.operations.values()),
    }


if __name__ == "__main__":
    main()
