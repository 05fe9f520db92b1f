"""Slices and numbers as keys: NumPy's values in every form, and nothing outside XNNPACK in the file."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

from nobuco import ChannelOrder
from nobuco.converters import slicing
from nobuco.converters.slicing import sliced
from nobuco.export.tflite_file import tflite_operations, to_tflite
from pytest_nobuco.latency.delegated import file_facts
from tests.parity import check_parity

# A slice, with or without a step, from either end; a number; and, to a new axis, None.
_MOST = 9


def _entry(rng: random.Random, size: int) -> Any:
    kind = rng.choice(("full", "number", "slice", "step", "step"))
    if kind == "full":
        return slice(None)
    if kind == "number":
        return rng.randrange(-size, size)
    bounds = [rng.choice((None, rng.randrange(-size - 1, size + 2))) for _ in range(2)]
    return slice(*bounds, rng.choice((2, 3, 4, 5, 7)) if kind == "step" else rng.choice((None, 1)))


def _drawn(seed: int) -> tuple[np.ndarray, list[Any]]:
    rng = random.Random(seed)
    shape = [rng.randrange(1, _MOST) for _ in range(rng.randrange(1, 6))]
    spec = [_entry(rng, n) for n in shape]
    for _ in range(rng.choice((0, 0, 1, 2))):
        spec.insert(rng.randrange(len(spec) + 1), None)
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape), spec


def _function(spec: list[Any], shape: Sequence[int | None]) -> Any:
    return tf.function(lambda x: sliced(x, spec), [tf.TensorSpec(shape, tf.float32)], autograph=False)


@pytest.mark.parametrize("dynamic", ["static", "batch", "all"])
def test_slices_are_those_of_numpy(dynamic: str) -> None:
    for seed in range(120):
        x, spec = _drawn(seed)
        shape = {"static": x.shape, "batch": (None, *x.shape[1:]), "all": (None,) * x.ndim}[dynamic]
        np.testing.assert_array_equal(_function(spec, shape)(x), x[tuple(spec)], err_msg=f"{x.shape} {spec}")


def test_a_number_beyond_a_dynamic_axis_fails() -> None:
    for spec in ([5], [5, slice(None)], [slice(None), 5]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            _function(spec, (None, None))(np.zeros((3, 4), np.float32))


def test_small_and_large_tensors_of_all_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slicing, "_FEWEST_OF_BLOCKS", 1)
    for seed in range(200):
        x, spec = _drawn(seed)
        np.testing.assert_array_equal(sliced(tf.constant(x), spec), x[tuple(spec)], err_msg=f"{x.shape} {spec}")


@pytest.mark.parametrize("shape", [(3, 4), (40, 30, 4), (2, 40, 30, 5), (2, 700, 9)])
@pytest.mark.parametrize("dynamic", [False, True])
def test_parts_of_the_innermost_axis_and_back(shape: tuple[int, ...], dynamic: bool) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for axis in range(len(shape)):
        spec = tf.TensorSpec([None if dynamic and i == (axis == 0) else n for i, n in enumerate(shape)], tf.float32)
        apart = tf.function(lambda t, along=axis: slicing.unstacked(t, along), [spec], autograph=False)
        parts = apart(x)
        for got, expected in zip(parts, np.moveaxis(x, axis, 0), strict=True):
            np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(slicing.stacked(parts, axis), x)


KEYS = {
    "numbers": lambda x: (x[0], x[:, 1], x[:, :, -1], x[..., 2]),
    "outer steps": lambda x: (x[:, ::2], x[:, 1::2, :, ::4], x[:, :, 1::2, 2:34]),
    "inner steps": lambda x: (x[..., ::2] * x[..., 1::2], x[:, 0, ..., ::4]),
    "parts": lambda x: torch.stack(x.reshape(-1, 4).unbind(-1)[1:3], -1),
    "odd": lambda x: (x[:, 1::2, 3:], x[:, :, -4::2] + 1),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("order", ["pytorch", "tensorflow"])
def test_xnnpack_takes_every_slice(kind: str, order: str) -> None:
    model = check_parity(KEYS[kind], torch.randn(4, 12, 48, 64), orders=[ChannelOrder(order)], tflite=True)
    facts = file_facts(to_tflite(model))
    assert facts.outside_xnnpack == 0, tflite_operations(to_tflite(model))
