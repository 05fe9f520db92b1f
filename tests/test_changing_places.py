"""Buffers that change places, are replaced, or become one: ten calls in a row are PyTorch's, in Keras and in TFLite."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

import nobuco
from nobuco import NobucoWarning
from nobuco.export.tflite_file import run_tflite, to_tflite

STEPS = 10


class Three(nn.Module):
    """Three buffers, and a list of two tensors; `forward` is given."""

    def __init__(self, forward):
        super().__init__()
        for number, name in enumerate("abc"):
            self.register_buffer(name, torch.arange(3.0) / 2 + number)
        self.row = torch.ones(1, 3)
        self.kept = [torch.zeros(3), torch.ones(3)]
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


def doubled(x):
    if x.sum() > 0:
        x = x * 2
    return x


def swapped(self, x):
    self.a, self.b = self.b + x, self.a
    return x + self.a


def swapped_behind_a_branch(self, x):
    if x.sum() > 0:
        x = x * 2
    self.a, self.b = self.b + x, self.a
    return x + self.a


def swapped_and_nothing_else(self, x):
    if x.sum() > 0:
        x = x * 2
    self.a, self.b = self.b, self.a
    return x + self.a


def swapped_behind_a_branch_of_a_function(self, x):
    x = doubled(x)
    self.a, self.b = self.b, self.a
    return x + self.a


def swapped_in_a_branch(self, x):
    if x.sum() > 0:
        self.a, self.b = self.b, self.a
    return x + self.a


def swapped_on_one_side_only(self, x):
    if x.sum() > 0:
        self.a, self.b = self.b + x, self.a
    else:
        self.b = x
    return x + self.a


def rotated(self, x):
    self.a, self.b, self.c = self.b, self.c, self.a + x
    return x + self.a


def rotated_behind_a_branch(self, x):
    if x.sum() > 0:
        x = x * 2
    self.a, self.b, self.c = self.b, self.c, self.a + x
    return x + self.a


def rotated_in_a_branch(self, x):
    if x.sum() > 0:
        self.a, self.b, self.c = self.b, self.c, self.a + x
    else:
        self.c.mul_(0.5)
    return x + self.a * self.b


def handed_on_through_two_branches(self, x):
    if x.sum() > 0:
        x = x * 2
    self.a, self.b = self.b + x, self.a
    if x.max() > 1:
        x = x - 1
    self.b, self.c = self.c, self.b * x
    return x + self.a


def copied_behind_a_branch(self, x):
    if x.sum() > 0:
        x = x * 2
    before = self.a.clone()
    self.a.copy_(self.b + x)
    self.b.copy_(before)
    return x + self.a


def of_another_shape(self, x):
    self.row, self.a = self.a[None] + x, self.row[0]
    return x + self.row


def rotated_in_a_list(self, x):
    self.kept.append(self.kept.pop(0) + x)
    return x + self.kept[0]


def swapped_in_a_list(self, x):
    self.kept[0], self.kept[1] = self.kept[1], self.kept[0] + x
    return x + self.kept[0]


def rotated_in_a_list_behind_a_branch(self, x):
    if x.sum() > 0:
        x = x * 2
    self.kept.append(self.kept.pop(0) + x)
    return x + self.kept[0]


def rotated_in_a_list_in_a_branch(self, x):
    if x.sum() > 0:
        self.kept.append(self.kept.pop(0) + x)
    return x + self.kept[0]


def one_tensor_of_both(self, x):
    out = x + self.b
    self.a = self.a + x
    self.b = self.a
    return out


def one_memory_written_behind(self, x):
    out = x + self.b
    self.b = self.a
    self.a.add_(x)
    return out


PROGRAMS = [
    swapped, swapped_behind_a_branch, swapped_and_nothing_else, swapped_behind_a_branch_of_a_function,
    swapped_in_a_branch, swapped_on_one_side_only, rotated, rotated_behind_a_branch, rotated_in_a_branch,
    handed_on_through_two_branches, copied_behind_a_branch, of_another_shape, rotated_in_a_list, swapped_in_a_list,
    rotated_in_a_list_behind_a_branch, rotated_in_a_list_in_a_branch,
    one_tensor_of_both, one_memory_written_behind,
]  # fmt: skip


def pytorchs(program):
    model = Three(program)
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(3, generator=generator) for _ in range(STEPS)]
    kept = copy.deepcopy(model)
    with torch.no_grad():
        return model, inputs, [kept(x.clone()).clone() for x in inputs]


def in_tflite(keras_model, inputs):
    interpreter = Interpreter(model_content=to_tflite(keras_model))
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    for x in inputs:
        interpreter.set_tensor(given["index"], x.numpy())
        interpreter.invoke()
        yield interpreter.get_tensor(made["index"]).copy()


@pytest.mark.parametrize("program", PROGRAMS)
def test_ten_calls_in_a_row(program):
    model, inputs, expected = pytorchs(program)
    keras_model, report = nobuco.pytorch_to_keras(
        model, [inputs[0].abs()], explore_branches=True, return_report=True, verbose=False
    )
    assert report.ok
    for x, step in zip(inputs, expected):
        np.testing.assert_allclose(keras_model(x.numpy()), step, rtol=1e-5, atol=1e-5)
    nobuco.reset_states(keras_model)
    for got, step in zip(in_tflite(keras_model, inputs), expected):
        np.testing.assert_allclose(got, step, rtol=1e-5, atol=1e-5)


def one_memory_from_the_second_call_on(self, x):
    self.a.add_(x)
    out = x + self.b
    self.b = self.a
    return out


def test_two_buffers_that_become_one_memory_are_told():
    model, inputs, _ = pytorchs(one_memory_from_the_second_call_on)
    with pytest.warns(NobucoWarning, match="does not match PyTorch with other values, 3 calls in a row"):
        _, report = nobuco.pytorch_to_keras(model, inputs[:1], return_report=True, verbose=False)
    assert not report.ok


@pytest.mark.xfail(
    strict=True,
    reason="the write to `a` reaches `b` from the second call on, when both are one memory: other calls than the first "
    "one's, which is what is converted",
)
def test_two_buffers_that_become_one_memory():
    model, inputs, expected = pytorchs(one_memory_from_the_second_call_on)
    with pytest.warns(NobucoWarning):
        keras_model = nobuco.pytorch_to_keras(model, inputs[:1], verbose=False)
    for x, step in zip(inputs, expected):
        np.testing.assert_allclose(keras_model(x.numpy()), step, rtol=1e-5, atol=1e-5)


TWICE = {
    "the same": lambda y: (y, y, y),
    "of two calls": lambda y: (y + 1, 1 + y),
    "without axes": lambda y: (y.sum(), y.sum() * 1, y),
    "of integers": lambda y: (y.int() + 1, 1 + y.int()),
    "of truth values": lambda y: (y > 1, y > 1),
}


@pytest.mark.parametrize("returned", TWICE.values(), ids=TWICE)
def test_a_branch_that_gives_one_tensor_twice_in_tflite(returned):
    def program(x):
        if x.sum() > 0:
            x = x * 2
        return returned(x * 3)

    x = torch.tensor([1.0, 2.0, -0.5])
    keras_model = nobuco.pytorch_to_keras(program, [x], explore_branches=True, verbose=False)
    for given in (x, -x):
        got = run_tflite(to_tflite(keras_model), [given.numpy()])
        for ours, theirs in zip(got, program(given)):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_a_loop_that_gives_one_tensor_twice_in_tflite():
    def program(x, y):
        return torch.while_loop(lambda x, y: y.sum() < 9, lambda x, y: (x + 1, 1 + x), (x, y))

    x = torch.tensor([1.0, 2.0, -0.5])
    keras_model = nobuco.pytorch_to_keras(program, [x, x * 0], verbose=False)
    got = run_tflite(to_tflite(keras_model), [x.numpy(), x.numpy() * 0])
    for ours, theirs in zip(got, program(x, x * 0), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
