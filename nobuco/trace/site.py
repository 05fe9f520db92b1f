"""Finding the user's line: the innermost frame that is neither PyTorch's nor ours."""

from __future__ import annotations

import ast
import inspect
import linecache
import os
import re
import sys
from itertools import islice
from types import FrameType
from typing import Any

import torch

from nobuco.ir import Site

_LIBRARIES = tuple(
    os.path.join(os.path.dirname(os.path.abspath(path)), "") for path in (torch.__file__, os.path.dirname(__file__))
)


def call_site() -> Site:
    """The line of user code that is running; where there is none, the outermost frame."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARIES) and frame.f_back is not None:
        frame = frame.f_back
    assert frame is not None
    return _before_export(frame) or Site(frame.f_code.co_filename, frame.f_lineno)


def _before_export(frame: FrameType) -> Site | None:
    """For a line that `torch.fx` has written: the user's line that it was traced from, which exported graphs keep."""
    if not frame.f_code.co_filename.startswith("<eval_with_key>"):
        return None
    module = frame.f_locals.get("self")
    number = (getattr(module, "_lineno_map", None) or {}).get(frame.f_lineno - frame.f_code.co_firstlineno)
    node = next(islice(module.graph.nodes, number, None), None) if module is not None and number is not None else None
    places = re.findall(r'File "(.+?)", line (\d+)', (node.stack_trace or "") if node is not None else "")
    return next((Site(file, int(line)) for file, line in reversed(places) if not is_library(file)), None)


def is_library(file: str) -> bool:
    """Whether a file is PyTorch's or belongs to the tracer, and so is no line to report."""
    return file.startswith(_LIBRARIES)


def definition_site(operation: Any) -> Site | None:
    """Where a function, or the `forward` of a module class, is defined; None for what is not written in Python."""
    code = getattr(inspect.unwrap(getattr(operation, "forward", operation)), "__code__", None)
    return Site(code.co_filename, code.co_firstlineno) if code is not None else None


def decides_alone(site: Site) -> bool:
    """Whether a line decides by one question: in its statement none are joined by `and` or `or`."""
    try:
        tree = ast.parse("".join(linecache.getlines(site.file)))
    except SyntaxError:
        return False
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= site.line <= (node.end_lineno or node.lineno)
    ]
    if not around:
        return False
    innermost = max(around, key=lambda node: node.lineno)
    asked = innermost.test if isinstance(innermost, (ast.If, ast.While)) else innermost
    return not any(isinstance(node, ast.BoolOp) for node in ast.walk(asked))


def in_check_of_arguments() -> bool:
    """Whether a module of PyTorch's is looking at what it was given, as recurrent ones do, only to refuse it."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "check_forward_args":
        frame = frame.f_back
    return frame is not None and is_library(frame.f_code.co_filename)
