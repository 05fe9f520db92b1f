"""The schema that a converter's docstring opens with is PyTorch's."""

import ast
import inspect
import re

import pytest
import torch

from nobuco.builtin import registered_converters
from nobuco.converters import sizes

SCHEMA = re.compile(r"(\w+)(?:\.(\w+))?\((.*?)\)(?: -> (.*))?", re.S)


def serves_pytorch(found):
    """Whether a converter ships with nobuco, for operations other than Python's own, of sizes."""
    return found.is_built_in and found.function.__module__ != sizes.__name__


def with_schema(found):
    """The overload that a docstring speaks of, if it is one of ATen's."""
    text = " ".join((inspect.getdoc(found.function) or "").split("\n\n")[0].split())
    named = SCHEMA.match(text)
    packet = named and getattr(torch.ops.aten, named[1], None)
    if isinstance(packet, torch._ops.OpOverloadPacket):
        yield pytest.param(text, packet, named[2] or "default", id=f"{found.function.__module__}.{named[1]}")


CASES = [case for found in registered_converters() if serves_pytorch(found) for case in with_schema(found)]


@pytest.mark.skipif(torch.__version__ < "2.13", reason="the docstrings are those of PyTorch 2.13")
@pytest.mark.parametrize(("text", "packet", "overload"), {case.id: case for case in CASES}.values())
def test_a_docstring_opens_with_pytorchs_schema(text, packet, overload):
    assert overload in packet.overloads()
    written, own = arguments(text), arguments(str(getattr(packet, overload)._schema))
    if written[-1:] == ["..."]:
        written, own = written[:-1], own[: len(written) - 1]
    assert written == own


def arguments(schema):
    """The arguments of a schema, each as its type, its name and its default."""
    inside = re.sub(r"\([a-z!| \->*]+\)", "", schema)  # which arguments are one memory
    inside = inside[inside.index("(") + 1 : inside.index(")")]
    return [argument(part) for part in re.split(r", (?![^\[]*\])", inside) if part]


def argument(part):
    spoken, _, default = part.partition("=")
    try:
        value = ast.literal_eval(default.replace("inf", "1e999"))
    except (ValueError, SyntaxError):
        value = {"None": None, "True": True, "False": False}.get(default, default)
    same = isinstance(value, list) and len(set(value)) == 1 and "[" in spoken
    return part if part in ("...", "*") else (spoken, value[0] if same else value)
