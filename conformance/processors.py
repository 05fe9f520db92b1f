"""The tests as other processors would run them: oneDNN held to older instructions, left out, one and two threads.

    python -m conformance.processors tests/test_saving.py tests/converters -k "half or bfloat16"

What stands behind the module's name is given to pytest, once for each combination; each failure is listed with it.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

# "DEFAULT" is all that the processor has. On TensorFlow's side oneDNN can be left out as a whole.
_INSTRUCTIONS = ("AVX2", "AVX512_CORE", "DEFAULT")
_IN_TENSORFLOW = ("0", "1")
_THREADS = ("1", "2")


def settings() -> Iterator[Mapping[str, str]]:
    """The environment of each run."""
    for instructions, used, threads in itertools.product(_INSTRUCTIONS, _IN_TENSORFLOW, _THREADS):
        yield {
            "ONEDNN_MAX_CPU_ISA": instructions,
            "TF_ENABLE_ONEDNN_OPTS": used,
            "OMP_NUM_THREADS": threads,
            "TF_NUM_INTRAOP_THREADS": threads,
        }


def main(arguments: Sequence[str]) -> int:
    """Run pytest under every setting; gives how many of them fail."""
    failed = 0
    for setting in settings():
        command = [sys.executable, "-m", "pytest", "-q", *arguments]
        done = subprocess.run(command, env={**os.environ, **setting}, capture_output=True, text=True)
        print(" ".join(f"{name}={value}" for name, value in setting.items()), end=": ")
        print(*[line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))][:20], sep="\n  ")
        print(f"  {(done.stdout.splitlines() or [done.stderr[-500:]])[-1]}", flush=True)
        failed += done.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
