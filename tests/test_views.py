"""Views and in-place writes mean what they mean in PyTorch: a write reaches the base and all its other views.

Every program computes with small whole numbers, so that results are equal, not close; and it is compared on an
input that the trace has not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nobuco
from conformance.models import CASES
from nobuco import ChannelOrder
from nobuco.export.tflite_file import run_tflite, tflite_operations, to_tflite
from tests.views import assert_same, whole

VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "slice": lambda y: y[:, 1:2, 1:5:2],
    "slice with step": lambda y: y[..., 1::2],
    "integer index": lambda y: y[1],
    "negative index": lambda y: y[:, -1],
    "ellipsis and new axis": lambda y: y[..., None, 2],
    "select": lambda y: y.select(2, 3),
    "narrow": lambda y: y.narrow(3, 1, 2),
    "split": lambda y: y.split([1, 2], dim=1)[1],
    "chunk": lambda y: torch.chunk(y, 2, dim=2)[1],
    "unbind": lambda y: torch.unbind(y, 1)[2],
    "iteration": lambda y: list(y)[1],
    "unfold": lambda y: y.unfold(2, 2, 2),
    "permute": lambda y: y.permute(0, 2, 3, 1),
    "transpose": lambda y: y.transpose(1, 3),
    "T": lambda y: y[0, 0].T,
    "mT": lambda y: y.mT,
    "movedim": lambda y: y.movedim(1, -1),
    "view": lambda y: y.view(6, -1),
    "reshape": lambda y: y.reshape(2, 3, 20),
    "unsqueeze": lambda y: y.unsqueeze(2),
    "squeeze": lambda y: y[:, :1].squeeze(1),
    "flatten": lambda y: y.flatten(1),
    "unflatten": lambda y: y.unflatten(2, (2, 2)),
    "view_as": lambda y: y.view_as(torch.empty(3, 2, 20)),
    "diagonal": lambda y: y.diagonal(dim1=2, dim2=3),
    "as_strided": lambda y: y.as_strided((3, 4), (7, 5), 2),
    "as_strided of a view": lambda y: y[1].as_strided((3, 4), (7, 5)),
    "data": lambda y: y.data,
    "detach": lambda y: y.detach(),
    "view of a view": lambda y: y[:, 1:].permute(0, 2, 3, 1)[..., 0],
    "view of a view of a view": lambda y: y.transpose(0, 2)[1:].flatten(2)[:, 1:, 3::4],
    "row of an expanded view": lambda y: y[:, :1].expand(2, 3, 4, 5)[:, 2],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_a_write_through_a_view(view):
    def program(x):
        y = x + 0
        before, early = view(y) * 1, y[0]
        written = view(y)
        written.mul_(3).add_(1)
        late = view(y)
        return y, before, written, late, early

    assert_same(program, 2, 3, 4, 5)


WRITES: dict[str, Callable[[torch.Tensor], Any]] = {
    "augmented assignment": lambda v: v.__imul__(2),
    "item": lambda v: v.__setitem__((slice(None), 1), 7.0),
    "item of an item": lambda v: v[0].__setitem__(slice(1, None), v[1, 1:]),
    "boolean mask": lambda v: v.__setitem__(v > 0, -5.0),
    "boolean mask with a tensor": lambda v: v.__setitem__(v > 2, v.min()),
    "index": lambda v: v.__setitem__(torch.tensor([1, 0]), v.clone()),
    "two indices": lambda v: v.__setitem__((torch.tensor([1, 0]), torch.tensor([0, 2])), 8.0),
    "copy_": lambda v: v.copy_(v.flip(0)),
    "copy_ of one row": lambda v: v.copy_(v[:, :1].clone()),
    "fill_": lambda v: v.fill_(2.0),
    "fill_ with a tensor": lambda v: v.fill_(v.max()),
    "zero_": lambda v: v.zero_(),
    "index_add_": lambda v: v.index_add_(1, torch.tensor([2, 0]), v[:, :2].clone()),
    "index_copy_": lambda v: v.index_copy_(1, torch.tensor([2, 0]), v[:, :2].clone()),
    "index_fill_": lambda v: v.index_fill_(1, torch.tensor([1]), 6.0),
    "scatter_": lambda v: v.scatter_(1, torch.tensor([[0], [2]]).view(2, 1, *[1] * (v.dim() - 2)), 9.0),
    "scatter_add_": lambda v: v.scatter_add_(1, torch.zeros(v.shape, dtype=torch.int64), v.clone()),
    "masked_fill_": lambda v: v.masked_fill_(v < 0, 0.0),
    "relu_": torch.relu_,
    "functional, inplace": lambda v: nn.functional.relu6(v, inplace=True),
    "clamp_": lambda v: v.clamp_(-3, 3),
    "out=": lambda v: torch.add(v, 1, out=v),
    "foreign out=": lambda v: torch.mul(v.flip(0), 2, out=v),
    "neg_": lambda v: v.neg_(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_of_each_kind(write):
    def program(x):
        y = x + 0
        view, other = y[:, :, 1:3], y.permute(0, 2, 3, 1)
        write(view)
        return y, view, other

    assert_same(program, 2, 3, 4, 5)


def test_augmented_assignment_to_a_strided_slice():
    def program(x):
        x[:, 1:2, 16:25, 8::2] *= 2
        return x

    assert_same(program, 1, 3, 32, 32)


def test_what_is_written_onto_itself_is_written_once():
    """Python writes `x[i] *= 2` twice: the part, and then the part to its place."""

    def program(x):
        x = x + 1
        x[:, :2] *= 2
        return x

    _, report = nobuco.pytorch_to_keras(program, [whole(1, 3, 4, 4)], verbose=False, return_report=True)
    assert [node.name for node in report.walk()].count("torch.Tensor.__setitem__") == 1


def test_what_is_written_onto_itself_conjugated_is_written():
    def program(x):
        z = torch.complex(x, x + 1)
        z[0] = z[0].conj()
        return torch.view_as_real(z)

    assert_same(program, 2, 3, 4, orders=((ChannelOrder.PYTORCH, ChannelOrder.PYTORCH),))


def test_relu_of_a_slice_in_place():
    def program(x):
        torch.relu_(x[:, 1:2, 16:25, 8::2])
        return x

    assert_same(program, 1, 3, 32, 32)


def test_a_module_that_writes_into_its_argument():
    class Inner(nn.Module):
        def forward(self, x):
            torch.relu_(x[:, 1:2, 1:3, ::2])

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def forward(self, x):
            self.inner(x)
            return x

    assert_same(Outer(), 2, 3, 4, 5)


def test_a_module_with_a_converter_of_its_own_that_writes_into_its_argument():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU(inplace=True)

        def forward(self, x):
            self.act(x[:, 0])
            return x, x.sum(1)

    assert_same(Outer(), 2, 3, 4, 5)


def test_an_input_that_the_model_writes():
    def program(x):
        view = x[0]
        x.add_(1)
        x[1] = view
        return view * 2, x

    x = whole(2, 3, 4, 5)
    nobuco.pytorch_to_keras(program, [x], verbose=False)
    assert torch.equal(x, whole(2, 3, 4, 5)), "the caller's tensor is not written"
    assert_same(program, 2, 3, 4, 5)


def test_a_view_taken_before_a_write_and_read_after():
    def program(x):
        y = x * 2
        row, flat, turned = y[1], y.view(-1), y.transpose(1, 2)
        first = row.sum()
        flat[5:30] = 0.0
        turned[0] += first
        return row, flat, turned, first

    assert_same(program, 2, 3, 4, 5)


def test_real_and_imaginary_parts():
    def program(x):
        z = torch.complex(x, x + 1)
        z.real.mul_(2)
        z.imag[0] = 5.0
        torch.view_as_real(z)[1, ..., 0] += 1
        return z.real, z.imag

    assert_same(program, 2, 3, 4)


def test_out_of_a_slice():
    def program(x):
        y = torch.zeros(2, 6, 4)
        torch.add(x, 1, out=y[:, 1:4])
        torch.cat([x[:, :1], x[:, 2:]], dim=1, out=y[:, 4:])
        return y

    assert_same(program, 2, 3, 4)


def test_writing_to_an_expanded_view_is_an_error_as_in_pytorch():
    def program(x):
        return (x + 0).expand(4, 3).add_(1)

    with pytest.raises(RuntimeError) as expected:
        program(whole(1, 3))
    with pytest.raises(RuntimeError) as raised:
        nobuco.pytorch_to_keras(program, [whole(1, 3)], verbose=False)
    assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize("name", ["SliceReLU", "InplaceSliceView"])
def test_slice_writes_are_cheap_in_tflite(name):
    case = next(case for case in CASES if case.name == name)
    module, inputs = case.built()
    expected = module(*(x.clone() for x in inputs))
    model = nobuco.pytorch_to_keras(module, list(inputs), verbose=False)
    data = to_tflite(model)
    operations = tflite_operations(data)
    # The slice is cut out, written and joined again, so that nothing but copies goes over the whole tensor.
    assert operations.total() - operations["DELEGATE"] <= 8, operations
    assert not {"SCATTER_ND", "TRANSPOSE"} & set(operations), operations
    (got,) = run_tflite(data, [nobuco.t_pytorch2keras(x, case.order) for x in inputs])
    np.testing.assert_allclose(nobuco.t_keras2pytorch(got, case.order), expected.detach(), atol=1e-6)


def test_a_tensor_without_dimensions_is_a_size(check):
    """As Longformer computes one."""
    check(lambda x: x.view(2, torch.div(x.size(1), 2, rounding_mode="trunc"), 2), torch.randn(2, 6))
    check(lambda x, y: x.view_as(y), torch.randn(1, 1), torch.tensor(3.0))
