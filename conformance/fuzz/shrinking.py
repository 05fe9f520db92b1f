"""Smaller programs that fail alike: by leaving out lines, outputs and trials, and by Hypothesis."""

from __future__ import annotations

import ast
import contextlib
import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from conformance.fuzz.campaign import Result, drawn
from conformance.fuzz.judging import judge
from conformance.fuzz.program import Program

Fails = Callable[[Program], bool]


def shrunk(result: Result, seconds: float) -> Program:
    """The smallest program found that fails as this one does.

    Lines are left out first, which takes few tries; then Hypothesis draws smaller ones, for this much time of the
    processor, and lines are left out of what it finds.
    """
    fails = _failing_like(result)
    best = _with_less(result.program, fails)
    if seconds:
        smaller = _drawn_smaller(result, fails, seconds)
        best = min(best, _with_less(smaller, fails), key=_size)
    return best


def _failing_like(result: Result) -> Fails:
    known = {result.program.key: True}
    wanted = (result.verdict.outcome, result.verdict.signature)

    def fails(program: Program) -> bool:
        if program.key not in known:
            verdict = judge(program, seconds=20)
            known[program.key] = (verdict.outcome, verdict.signature) == wanted
        return known[program.key]

    return fails


def _size(program: Program) -> tuple[int, int]:
    return program.source.count("\n"), len(program.text)


# -- leaving out ------------------------------------------------------------------------------------------


def _with_less(program: Program, fails: Fails) -> Program:
    """Leave out whatever can be, one by one, until nothing more can be."""
    changed = True
    while changed:
        changed = False
        for smaller in _smaller(program):
            if fails(smaller):
                program, changed = smaller, True
                break
    return program


def _smaller(program: Program) -> Iterator[Program]:
    for i in range(len(program.trials) - 1, 0, -1):
        yield replace(program, trials=(*program.trials[:i], *program.trials[i + 1 :]))
    if program.tflite:
        yield replace(program, tflite=False)
    for source in _smaller_sources(program.source):
        yield replace(program, source=source)


def _smaller_sources(source: str) -> Iterator[str]:
    """The source with a statement or an element of what is returned left out, the last first."""
    tree = ast.parse(source)
    for place, (body, i) in reversed(list(enumerate(_places(tree)))):
        if isinstance(body[i], ast.Return):
            value = body[i].value
            for k in range(len(value.elts) if isinstance(value, ast.Tuple) else 0):
                changed = copy.deepcopy(tree)
                other, j = list(_places(changed))[place]
                del other[j].value.elts[k]
                if len(other[j].value.elts) == 1:
                    other[j].value = other[j].value.elts[0]
                yield ast.unparse(changed) + "\n"
        elif len(body) > 1:
            changed = copy.deepcopy(tree)
            other, j = list(_places(changed))[place]
            del other[j]
            yield ast.unparse(changed) + "\n"


def _places(tree: ast.Module) -> Iterator[tuple[list[ast.stmt], int]]:
    """Where statements stand: in functions, and in the blocks inside these."""
    for node in ast.walk(tree):
        for blocks in ("body", "orelse"):
            body = getattr(node, blocks, None)
            if isinstance(body, list) and not isinstance(node, (ast.Module, ast.ClassDef)):
                yield from ((body, i) for i in range(len(body)))


# -- by Hypothesis ----------------------------------------------------------------------------------------


class _FailsError(Exception):
    """A program fails as the one that is being shrunk does."""


def _drawn_smaller(result: Result, fails: Fails, seconds: float) -> Program:
    end, found = time.process_time() + seconds, {result.program.key: result.program}

    def visit(program: Program) -> None:
        if program.key in found or (time.process_time() < end and fails(program)):
            found[program.key] = program
            raise _FailsError

    with contextlib.suppress(Exception):  # what it found last, and, where the time has run out, that this is flaky
        drawn(result.run, result.index, visit)
    return min(found.values(), key=_size)
