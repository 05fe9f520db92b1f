"""The names of PyTorch's operations: those that this PyTorch lacks keep no converter from being registered."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import nobuco.converters
from nobuco.builtin import registry
from nobuco.ops.names import F, Lacking, Names, aten, nn
from nobuco.ops.names import torch as names
from nobuco.registry import operation_name

# By the name of the operation, the first PyTorch that does not have it any more. A wrong name stands in no list.
DROPPED = {"torch.ops.aten.cholesky.default": (2, 14)}
# The first that has it.
ADDED = {"torch.nn.functional.grouped_mm": (2, 10)}
VERSION = tuple(int(part) for part in torch.__version__.split(".")[:2])

POOR = """
import types
import torch
from nobuco.builtin import registry
from nobuco.registry import operation_name
import nobuco.convert  # what the core of nobuco asks PyTorch for is there

import nobuco.converters
wanted = [operation_name(op) for found in registry for op in found.callables]
for module in [name for name in sys.modules if name.startswith("nobuco.converters")]:
    del sys.modules[module]
nobuco.registry.registry._converters.clear()
nobuco.ops.schema.overloads.cache_clear()

overloads = {name.split(".")[3] for name in wanted if name.startswith("torch.ops.aten.")}
aten, find = torch.ops.aten, type(torch.ops.aten).__getattr__
def poor(namespace, name):
    if namespace is aten and name in overloads:
        raise AttributeError(name)
    return find(namespace, name)
type(aten).__getattr__ = poor
for name in overloads & set(vars(aten)):
    delattr(aten, name)
gone = 0
for name in wanted:
    *path, last = name.split(".")
    space = torch
    for part in path[1:]:
        space = getattr(space, part, None)
    if isinstance(space, types.ModuleType) and path[:2] != ["torch", "ops"] and hasattr(space, last):
        delattr(space, last)
        gone += 1
assert gone > 300 and len(overloads) > 300, (gone, len(overloads))

import nobuco.converters
left = [op for found in registry for op in found.callables]
assert 0 < len(left) < len(wanted) / 2, (len(left), len(wanted))  # methods of tensors cannot be taken away
"""


def test_every_name_in_a_converter_is_one_of_pytorch():
    registered = {operation_name(op) for found in registry for op in found.operations if is_lacking(op)}
    written = {name for file in Path(nobuco.converters.__file__).parent.rglob("*.py") for name in names_written(file)}
    dropped = {name for name, version in DROPPED.items() if version <= VERSION}
    assert registered | written == dropped | {name for name, version in ADDED.items() if version > VERSION}


def names_written(file):
    """Names of PyTorch's in a file, `torch.ops.aten.add.Tensor`, that PyTorch does not know."""
    spaces = {"torch": names, "F": F, "Tensor": names.Tensor, "nn": nn, "special": names.special, "aten": aten}
    nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)]
    inner = {id(node.value) for node in nodes}
    for node in (node for node in nodes if id(node) not in inner):
        chain = []
        while isinstance(node, ast.Attribute):
            chain, node = [node.attr, *chain], node.value
        if chain and isinstance(node, ast.Name) and node.id in spaces:
            found = spaces[node.id]
            for name in chain:
                found = getattr(found, name, None)
            if is_lacking(found):
                yield found.name


def test_what_pytorch_lacks_keeps_no_other_from_being_registered():
    """In a Python of its own: PyTorch without the functions, modules and ATen operations that have converters."""
    done = subprocess.run([sys.executable, "-c", "import sys\n" + POOR], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_names_are_those_of_pytorch():
    assert names.conv2d is torch.conv2d and nn.Conv2d is torch.nn.Conv2d and names.float32 is torch.float32
    assert aten.add.Tensor is torch.ops.aten.add.Tensor
    assert names.Tensor.T.__get__ == torch.Tensor.T.__get__ and names.Tensor.__eq__ is torch.Tensor.__eq__
    assert isinstance(names.Tensor, Names) and isinstance(aten.add, Names)
    assert isinstance(torch.ones(2), (int, names.Tensor)) and not isinstance(2, names.Tensor)


@pytest.mark.parametrize(
    ("lacking", "name"),
    [
        (names.conv9d, "torch.conv9d"),
        (names.Tensor.conv9d_, "torch.Tensor.conv9d_"),
        (aten.conv9d.default, "torch.ops.aten.conv9d.default"),
        (aten.add.Conv9d, "torch.ops.aten.add.Conv9d"),
        (names._C._nn.conv9d, "torch._C._nn.conv9d"),
        (names.Tensor.conv9d.__get__, "torch.Tensor.conv9d.__get__"),
    ],
)
def test_what_pytorch_lacks_goes_by_its_name(lacking, name, restored_registry):
    assert is_lacking(lacking) and operation_name(lacking) == name
    nobuco.converter(lacking, torch.hypot, override=True)(lambda *args: None)
    (found,) = (found for found in registry if lacking in found.operations)
    assert found.callables == [torch.hypot]


def is_lacking(operation):
    return isinstance(operation, Lacking)
