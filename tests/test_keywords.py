"""Calls by keyword mean what they mean by position, whatever the converter calls its parameters."""

from __future__ import annotations

import inspect
import itertools
import warnings

import torch
from torch.utils import _pytree as pytree

from nobuco.binding import by_position
from nobuco.ir import Node, Site, Value, ValueKind, leaves
from nobuco.registry import find_converter, operation_name, registered_converters
from pytest_nobuco.samples import source_of

_HOMES = ("operator", "builtins", "math", "nobuco")


def parameter_names(operation):
    """The lists of names by which PyTorch may take the arguments of an operation, in order."""
    if isinstance(operation, torch._ops.OpOverload):
        return [[a.name for a in operation._schema.arguments]]
    try:
        parameters = inspect.signature(operation).parameters.values()
        return [[p.name for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]]
    except ValueError:  # a function in C: there is a schema for each of its overloads
        schemas = torch._C._jit_get_schemas_for_operator(f"aten::{operation.__name__}")
        return [["input" if a.name == "self" else a.name for a in schema.arguments] for schema in schemas]


def keyword_calls(operation, sample):
    """All by keyword, and of methods all but the tensor itself, as far as the names reach."""
    for names in parameter_names(operation):
        for first in (0, 1):
            if first < len(sample.args) <= len(names):
                named = dict(zip(names[first:], sample.args[first:]))
                if not set(named) & set(sample.kwargs):
                    yield sample.args[:first], {**named, **sample.kwargs}


def taken(operation, args, kwargs):
    """Whether PyTorch takes a call."""
    args, kwargs = pytree.tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, (args, dict(kwargs)))
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            operation(*args, **kwargs)
    except Exception:
        return False
    return True


def node_of(operation, args, kwargs, values):
    def value(leaf):
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return values.setdefault(id(leaf), Value(len(values), ValueKind.INPUT, tuple(leaf.shape), "float32"))

    args, kwargs = pytree.tree_map(value, (tuple(args), dict(kwargs)))
    return Node(0, operation, args, kwargs, None, Site("", 0))


def forms(source):
    """One sample of each count of arguments and set of keywords."""
    found = {}
    for sample in source.draw(source.dtypes[0] if source.dtypes else None):
        if sample.program is None and sample.args:
            found.setdefault((len(sample.args), *sorted(sample.kwargs)), sample)
    return list(found.values())


def served():
    """The built-in converters of functions, each with the operations that it serves."""
    for converter in registered_converters():
        operations = [op for op in converter.operations if not isinstance(op, (str, type))]
        operations = [
            op for op in operations if type(op).__name__ != "method-wrapper" and find_converter(op) is converter
        ]
        operations = [op for op in operations if not operation_name(op).startswith(_HOMES)]
        if converter.is_built_in and operations:
            yield converter, operations


def test_every_converter_is_called_alike_by_keyword_and_by_position():
    tried, wrong = 0, []
    for converter, operations in served():
        source = source_of(converter, operations)
        for sample, operation in itertools.product(forms(source) if source is not None else (), operations):
            calls = (call for call in keyword_calls(operation, sample) if taken(operation, *call))
            args, kwargs = next(calls, ((), {}))
            if not kwargs:
                continue
            values = {}
            plain = by_position(node_of(operation, sample.args, sample.kwargs, values), converter.function)
            named = by_position(node_of(operation, args, kwargs, values), converter.function)
            tried += 1
            if list(leaves(named.args)) != list(leaves(plain.args)) or set(named.kwargs) - set(plain.kwargs):
                wrong.append(f"{operation_name(operation)}: {named.args}, {dict(named.kwargs)} for {plain.args}")
    assert tried > 1000
    assert not wrong, "\n".join(wrong)
