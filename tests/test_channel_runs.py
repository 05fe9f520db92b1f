"""Channels that pieces of a dimension are: which ones, read off movements and random programs."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import nobuco
from nobuco.layout.channels import Joint, chosen, runs
from nobuco.layout.movement import Permute, Reshape, turned_channels
from tests.sizes import check_dynamic


@pytest.mark.parametrize("seed", range(50))
def test_runs_give_what_joints_are(seed):
    """In NumPy, on random networks: whatever the orders, what lies in them is put together of these runs."""
    rng = random.Random(seed)
    counts = {wire: rng.choice([2, 4, 6]) for wire in range(4)}
    wires = {wire: wire for wire in counts}
    contents = {wire: [(wire, n) for n in range(count)] for wire, count in counts.items()}
    joints = []
    for value in range(4, 8):
        pool = [one for source in rng.sample(range(4), 2) for one in contents[source]]
        joints.append(Joint(value, tuple(rng.sample(pool, rng.randint(1, len(pool))))))
        counts[value], wires[value] = len(joints[-1].channels), value
    fixed = set(rng.sample(range(8), 3))
    orders = chosen(wires, counts, joints, fixed)
    assert not fixed & orders.keys()
    assert all(sorted(order) == list(range(counts[wire])) for wire, order in orders.items())
    lie = {v: np.array([100 * v + n for n in orders.get(v, range(counts[v]))]) for v in range(4)}
    for joint in joints:
        found = np.concatenate([lie[run.source][run.start : run.stop] for run in runs(joint, orders)])
        logical = np.array([100 * source + n for source, n in joint.channels])
        assert (found == logical[list(orders.get(joint.value, range(len(logical))))]).all()


@pytest.mark.parametrize("groups", [(2, 3), (3, 2, 2)])
def test_an_order_of_channels_is_read_off_a_movement(groups):
    """In NumPy; None where something else moves into the channels."""
    count = int(np.prod(groups))
    for perm in itertools.permutations(range(len(groups) + 1)):
        shape = (2, *groups, 5)
        x = np.arange(2 * count * 5).reshape(2, count, 5)
        steps = [Reshape(shape), Permute((0, *(1 + i for i in perm)))]
        sizes = [shape[i] for i in steps[1].perm]
        steps.append(Reshape((2, int(np.prod(sizes[1:-1])), sizes[-1])))
        there, found = (
            x.reshape(shape).transpose(steps[1].perm).reshape(steps[2].shape),
            turned_channels(x.shape, steps),
        )
        assert (found is not None) == (perm[-1] == len(groups))
        if found is not None:
            assert found[1] and (x[:, found[0]] == there).all()


@pytest.mark.parametrize("dim", [0, 2])
def test_pieces_of_another_dimension_are_no_channels(dim):
    """Their sizes are those of that dimension, and of no other."""
    model = lambda x: sum(piece.sum() for piece in x.split([1, 3], dim))  # noqa: E731
    keras_model, report = nobuco.pytorch_to_keras(model, [torch.randn(4, 6, 4)], verbose=False, return_report=True)
    assert report.ok
    assert keras_model.output_shape == ()


@pytest.mark.parametrize(
    "cut",
    [
        lambda x: x[:, ::2, :200],
        lambda x: x[:, ::2, -200:],
        lambda x: x[:9, 1::2],
        lambda x: x[:, ::2].narrow(2, 0, 4)[:, :, :200],
        lambda x: x.flip(1)[:, ::2, :, :130],
    ],
)  # fmt: skip
def test_what_cuts_nothing_at_the_example_cuts_where_there_is_more(cut):
    conv, after = nn.Conv2d(3, 64, 1), nn.Conv2d(32, 4, 1)
    images = [torch.randn(shape) for shape in ((2, 3, 40, 40), (12, 3, 300, 7), (1, 3, 5, 210))]
    check_dynamic(lambda x: after(cut(conv(x))), *images, free=(0, 2, 3))


class MostPieces(TorchDispatchMode):
    """Remembers into how many pieces a call cut its tensor at most."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.most = max(self.most, len(result) if isinstance(result, list | tuple) else 1)
        return result


@pytest.mark.parametrize("dim", [0, 2, 3])
def test_a_cut_of_another_dimension_is_not_tried_at_a_great_length(dim):
    """It took a minute, for as many pieces as the dimension was long at the trial."""
    with MostPieces() as pieces:
        _, report = nobuco.pytorch_to_keras(
            lambda x: torch.cat(x.split(1, dim), dim)[:, ::2] * 2,
            args=[torch.randn(2, 4, 3, 5)],
            return_report=True,
            verbose=False,
        )
    assert report.ok
    assert 2 <= pieces.most < 100
