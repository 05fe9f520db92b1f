"""The tracer: what it records, and that it leaves nothing behind."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco.ir import Value, ValueKind, values
from nobuco.trace import trace


def names(graph):
    return [getattr(node.op, "__name__", "") for node in graph.walk()]


def leaf_named(graph, name):
    return next(node for node in graph.walk() if getattr(node.op, "__name__", "") == name and not node.children)


def test_modules_form_a_tree_and_calls_keep_their_public_names():
    graph = trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU()).eval(), (torch.rand(2, 3),), {})
    assert names(graph) == ["Sequential", "Linear", "linear", "ReLU", "relu"]
    assert [node.path for node in graph.walk() if node.module is not None] == ["", "0", "1"]


def test_values_name_their_parameters():
    graph = trace(nn.Linear(3, 4), (torch.rand(2, 3),), {})
    weight = leaf_named(graph, "linear").inputs[1]
    assert (weight.kind, weight.name) == (ValueKind.PARAMETER, "weight")


def test_inputs_keep_their_order_over_nested_arguments():
    def program(a, pair, *, last):
        return last - pair["y"] + pair["x"] * a

    tensors = [torch.full((i + 1,), float(i)) for i in range(4)]
    a, x, y, last = (t[:1] for t in tensors)
    graph = trace(program, (a, {"x": x, "y": y}), {"last": last})
    assert [float(graph.samples[v.id]) for v in graph.inputs] == [0.0, 1.0, 2.0, 3.0]


def test_a_tensor_given_twice_is_two_inputs():
    x = torch.rand(2)
    graph = trace(lambda a, b: a - b, (x, x), {})
    assert len(graph.inputs) == 2
    assert leaf_named(graph, "sub").inputs == graph.inputs


def test_an_in_place_call_makes_a_new_value_and_keeps_the_old_sample():
    def program(x):
        y = x * 2
        z = y + 1
        y.add_(10)
        return y, z

    x = torch.tensor([1.0, 2.0])
    graph = trace(program, (x,), {})
    product, after = leaf_named(graph, "mul").results[0], leaf_named(graph, "add_").results[0]
    assert graph.samples[product.id].tolist() == [2.0, 4.0]
    assert graph.samples[after.id].tolist() == [12.0, 14.0]
    assert values(graph.outputs)[0] is after
    assert x.tolist() == [1.0, 2.0], "the caller's tensor is not written"


def test_item_assignment_makes_a_new_value():
    def program(x):
        x[0] = 5.0
        return x

    graph = trace(program, (torch.zeros(2),), {})
    (written,) = leaf_named(graph, "__setitem__").results
    assert values(graph.outputs) == (written,)
    assert graph.samples[written.id].tolist() == [5.0, 0.0]
    assert graph.samples[graph.inputs[0].id].tolist() == [0.0, 0.0]


def test_outputs_may_be_dataclasses():
    @dataclass
    class Output:
        logits: torch.Tensor
        note: str = "kept"

    graph = trace(lambda x: Output(x + 1), (torch.zeros(2),), {})
    assert isinstance(graph.outputs, Output) and isinstance(graph.outputs.logits, Value)


def test_a_module_called_twice_is_the_same_instance_twice():
    layer = nn.Linear(3, 3)
    graph = trace(nn.Sequential(layer, layer), (torch.rand(1, 3),), {})
    assert [n.module for n in graph.walk() if n.op is nn.Linear] == [layer, layer]


def test_a_branch_on_a_tensor_is_reported_with_its_line():
    def program(x):
        if x.mean() > 0:  # the line to report
            return x + 1
        return x - 1

    graph = trace(program, (torch.ones(2),), {})
    line = program.__code__.co_firstlineno + 1
    assert len(graph.warnings) == 1
    assert f'"{__file__}", line {line}' in graph.warnings[0]


def test_a_branch_on_a_constant_is_not_reported():
    flag = torch.tensor(True)
    graph = trace(lambda x: x + 1 if flag else x, (torch.ones(2),), {})
    assert graph.warnings == ()


def test_buffers_that_a_forward_writes_are_put_back():
    layer = nn.BatchNorm1d(3)
    before = copy.deepcopy(layer.state_dict())
    trace(layer, (torch.rand(4, 3),), {})
    assert all(torch.equal(before[name], tensor) for name, tensor in layer.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool, torch.float16, torch.bfloat16])
def test_dtypes(dtype):
    graph = trace(lambda x: x.clone(), (torch.ones(2, dtype=dtype),), {})
    assert graph.inputs[0].dtype == str(dtype).removeprefix("torch.")


def test_a_deep_copied_module_traces():
    layer = copy.deepcopy(nn.Sequential(nn.Linear(2, 2)))
    graph = trace(layer, (torch.rand(1, 2),), {})
    assert leaf_named(graph, "linear").inputs[1].name == "0.weight"


def test_a_write_through_a_view_reaches_base_and_other_views():
    def program(x):
        y = x + 0
        row, column = y[0], y[:, 1]
        row.mul_(10)
        column.add_(100)
        return y, row

    x = torch.arange(6.0).reshape(2, 3)
    graph = trace(program, (x,), {})
    expected = program(x.clone())
    for value, want in zip(values(graph.outputs), expected):
        assert torch.equal(graph.samples[value.id], want)


def hooks():
    from torch.nn.modules import module

    return dict(module._global_forward_hooks), dict(module._global_forward_pre_hooks)


def test_nothing_stays_behind_after_an_exception():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("boom")

    before = hooks()
    with pytest.raises(RuntimeError, match="boom"):
        trace(nn.Sequential(nn.Linear(2, 2), Broken()), (torch.rand(1, 2),), {})
    assert hooks() == before
    assert not torch.overrides.has_torch_function(())
    assert torch._C._len_torch_function_stack() == 0 and torch._C._len_torch_dispatch_stack() == 0
    assert torch.is_grad_enabled()


_UNPATCHED = """
import torch, torch.nn.functional as F
def members():
    spaces = (torch, torch.Tensor, torch.nn, F, torch.nn.Module, torch._C._TensorBase)
    return {(s.__name__, k): v for s in spaces for k, v in vars(s).items()}
before = members()
import nobuco
nobuco.pytorch_to_keras
after = members()
assert before.items() <= after.items() and not any(before[k] is not after[k] for k in before), "patched by import"
added = {k for k in after if k not in before and k[0] == "Tensor"}
assert not added, added
class Odd(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.eig(x)
try:
    nobuco.pytorch_to_keras(lambda x: 1 / 0, [torch.rand(1, 3)], verbose=False)
except ZeroDivisionError:
    pass
again = members()
assert all(again[k] is before[k] for k in before), "patched by a failed conversion"
"""


def test_torch_is_the_same_before_and_after():
    subprocess.run([sys.executable, "-c", _UNPATCHED], check=True, timeout=240)


def test_traceable_functions_are_nodes_with_children():
    @nobuco.traceable
    def double(x):
        return F.relu(x) * 2

    assert double(torch.ones(1)).item() == 2.0
    graph = trace(lambda x: double(x) + 1, (torch.ones(1),), {})
    node = graph.nodes[0]
    assert node.op is double and [getattr(c.op, "__name__", "") for c in node.children] == ["relu", "mul"]
