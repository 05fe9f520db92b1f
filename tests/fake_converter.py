"""Converters without dependencies, for tests of backends: a model that scales its channels becomes an `.npz` file.

Copied into the projects that the tests make, and loaded by its path in the interpreter that converts.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping
from pathlib import Path

from pytest_nobuco.backends import Backend, Job

ORDERS = ("nchw-nchw", "nhwc-nhwc")


def convert(job: Job) -> None:
    import numpy as np

    if job.model.mode == "refused":
        raise ValueError("no rule\nfor aten.scale")
    with job.artifact.open("wb") as file:
        np.savez(file, scale=job.model.scale.detach().numpy(), channels=-1 if job.inputs == "nhwc" else 1)


def load(artifact: Path):
    import numpy as np

    with np.load(artifact) as file:
        scale, channels = file["scale"], int(file["channels"])

    def run(arrays):
        shape = [1] * arrays[0].ndim
        shape[channels] = -1
        return [arrays[0] * scale.reshape(shape)]

    return run


def describe(artifact: Path) -> Mapping[str, int]:
    return {"operations": 1, "transpositions": 0}


def load_off(artifact: Path):
    run = load(artifact)
    return lambda arrays: [run(arrays)[0] + 0.5]


GOOD = Backend("good", convert, artifact="net.npz", load=load, modules=("torch",), orders=ORDERS, describe=describe)
PLAIN = Backend("plain", convert, load=load)
OFF = Backend("off", convert, artifact="net.npz", load=load_off, modules=("torch",))


def load_dying(artifact: Path):
    print("about to touch what is not there", flush=True)
    return lambda arrays: ctypes.string_at(0)


def load_hanging(artifact: Path):
    time.sleep(1000)


def load_growing(artifact: Path):
    kept = b"x" * 600_000_000
    time.sleep(1000)
    return kept


def load_refusing(artifact: Path):
    raise SystemError("not\nthis one")


def load_leaving(artifact: Path):
    raise SystemExit(3)


LACKING = Backend("lacking", convert, install="no-such-package", modules=("no_such_module",), load=load)
DYING = Backend("dying", convert, load=load_dying)
HANGING = Backend("hanging", convert, load=load_hanging)
GROWING = Backend("growing", convert, load=load_growing)
REFUSING = Backend("refusing", convert, load=load_refusing)
LEAVING = Backend("leaving", convert, load=load_leaving)
