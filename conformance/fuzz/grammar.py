"""Programs drawn line by line: each line is run at once, on the example and at the other sizes, and kept if it can be.

A rule is a line with holes, as `"{t}.roll({i}, {d})"`; what fills a hole (`{t}` a tensor, `{d}` one of its dimensions)
is drawn when the line is. A digit behind a hole's name tells two holes of one kind apart.
"""

from __future__ import annotations

import contextlib
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import strategies as st

from conformance.fuzz.program import Input, Trial, namespace
from conformance.fuzz.values import filled

Draw = Callable[[st.SearchStrategy[Any]], Any]
Filler = Callable[[Draw, "Sketch", Mapping[str, str]], str]

_MOST_ELEMENTS = 4096
_MOST_ELEMENTS_ELSEWHERE = 2_000_000
_LARGEST_NUMBER = 500
_FEWEST_SIZES = 2
"""How many sizes other than the example's a program can be run at, at least."""
_RESIZED = "_resized"
"""What says in a space whether it has other sizes than the example's."""


@dataclass(frozen=True)
class Rule:
    """A line that a program may have. What it makes gets a name that begins with `makes`, unless that is empty."""

    text: str
    makes: str = "v"
    is_module: bool = False
    """Whether the text is `TENSOR | MODULE`: the module is made in `__init__`, and the line calls it on the tensor."""


def modules(*texts: str) -> list[Rule]:
    """Rules of modules, called on a tensor."""
    return [Rule(text, is_module=True) for text in texts]


def rules(*texts: str, makes: str = "v") -> list[Rule]:
    """Rules that all make the same."""
    return [Rule(text, makes) for text in texts]


class RejectedError(Exception):
    """A line that the program cannot have."""


@dataclass
class Sketch:
    """A program in the making: its lines, and what its names hold at each of the sizes tried.

    A size at which a line fails is given up; a line that leaves hardly any other size than the example's is not taken.
    """

    spaces: list[dict[str, Any]]
    lines: list[str] = field(default_factory=list)
    made: int = 0
    parts: list[str] = field(default_factory=list)
    """What `__init__` does, if the program is a module."""
    empty: bool = False
    """Whether tensors may be empty."""

    @classmethod
    def begun(cls, inputs: Sequence[Input], trials: Sequence[Trial], **names: Any) -> Sketch:
        """A program that has no line yet."""
        spaces = []
        for trial in trials:
            space = {**namespace(), **names, _RESIZED: dict(trial.sizes) != dict(trials[0].sizes)}
            for place, given in enumerate(inputs):
                shape = given.shape(trial.sizes)
                space[given.name] = filled(given.values, shape, given.dtype, trial.variants[0], seed=place)
            spaces.append(space)
        return cls(spaces)

    def of(self, kind: type) -> list[str]:
        """The names of what is of a kind in the example, the last first."""
        return [n for n, value in reversed(self.spaces[0].items()) if type(value) is kind and n[0] != "_"]

    @property
    def tensors(self) -> list[str]:
        """The names of tensors, the last first."""
        return self.of(torch.Tensor)

    def value(self, expression: str) -> Any:
        """What an expression gives in the example."""
        return eval(expression, self.spaces[0])

    def take(self, text: str, makes: str) -> bool:
        """Add a line if the program can run it."""
        name = f"{makes}{self.made}" if makes else ""
        line = f"{name} = {text}" if name else text
        live = self._live(line, name)
        if live is None:
            for space in self.spaces:
                space.pop(name, None)
            return False
        self.spaces = live
        self.made += 1
        self.lines += line.splitlines()
        return True

    def _live(self, line: str, name: str) -> list[dict[str, Any]] | None:
        """Where a line can be run; None where those are too few."""
        live = []
        for place, space in enumerate(self.spaces):
            try:
                self._run(line, space, name, _MOST_ELEMENTS if place == 0 else _MOST_ELEMENTS_ELSEWHERE)
                live.append(space)
            except Exception:
                if place == 0:
                    return None
        resized = sum(space[_RESIZED] for space in self.spaces)
        return live if sum(space[_RESIZED] for space in live) >= min(_FEWEST_SIZES, resized) else None

    def take_module(self, text: str) -> bool:
        """Add the call of a module, and the module itself, if the program can run it."""
        tensor, _, module = text.partition(" | ")
        name = f"self.m{self.made}"
        try:
            made = eval(module, self.spaces[0]).eval()
        except Exception:
            return False
        for space in self.spaces:
            setattr(space["self"], name.removeprefix("self."), made)
        if not self.take(f"{name}({tensor})", "v"):
            return False
        self.parts.append(f"{name} = {module}")
        return True

    def _run(self, line: str, space: dict[str, Any], name: str, most: int) -> None:
        with torch.no_grad(), _strict_warnings():
            exec(line, space)
        value = space.get(name)
        if isinstance(value, torch.Tensor):
            refused = value.numel() > most or (value.numel() == 0 and not self.empty) or value.is_complex()
        elif isinstance(value, (int, float)):
            refused = not math.isfinite(value) or abs(value) > _LARGEST_NUMBER
        else:
            refused = bool(name) and not isinstance(value, (str, bool))
        if refused:
            raise RejectedError(name)


@contextlib.contextmanager
def _strict_warnings() -> Iterator[None]:
    """Refuse what PyTorch deprecates, as in-place calls on expanded tensors; each time, not the first alone."""
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        torch.set_warn_always(always)


_HOLE = re.compile(r"\{(\w+?)(\d*)\}")


def text_of(draw: Draw, sketch: Sketch, rule: Rule, fillers: Mapping[str, Filler]) -> str:
    """A rule's line with its holes filled."""
    chosen: dict[str, str] = {}

    def fill(hole: re.Match[str]) -> str:
        kind, number = hole.groups()
        if kind + number not in chosen:
            chosen[kind + number] = fillers[kind](draw, sketch, chosen)
        return chosen[kind + number]

    return _HOLE.sub(fill, rule.text)


@st.composite
def step(draw: Draw, sketch: Sketch, choices: Sequence[Rule], fillers: Mapping[str, Filler]) -> bool:
    """Draw a line and add it, where the program can have it."""
    rule = draw(st.sampled_from(choices))
    try:
        text = text_of(draw, sketch, rule, fillers)
    except (RejectedError, IndexError, ValueError):
        return False
    return sketch.take_module(text) if rule.is_module else sketch.take(text, rule.makes)


def steps(draw: Draw, sketch: Sketch, choices: Sequence[Rule], fillers: Mapping[str, Filler], most: int) -> None:
    """Draw some lines; one that the program cannot have is drawn anew, a few times."""
    wanted = draw(st.integers(1, most))
    for _ in range(wanted):
        for _ in range(4):
            if draw(step(sketch, choices, fillers)):
                break


def function(sketch: Sketch, inputs: Sequence[Input], outputs: Sequence[str]) -> str:
    """The source text of a program that returns what has these names; a module where one has parts."""
    arguments, returned = ", ".join(given.name for given in inputs), ", ".join(outputs)
    body = [*(f"    {line}" for line in sketch.lines), f"    return {returned}"]
    if not sketch.parts:
        return "\n".join([f"def f({arguments}):", *body, ""])
    parts = ["super().__init__()", *sketch.parts]
    lines = ["def __init__(self):", *(f"    {part}" for part in parts), f"def forward(self, {arguments}):", *body]
    return "\n".join(["class f(nn.Module):", *(f"    {line}" for line in lines), ""])


def ends(sketch: Sketch, inputs: Sequence[Input], most: int = 4) -> list[str]:
    """The names of tensors that no line reads, and of inputs that a line assigns to, the last first."""
    given = {i.name for i in inputs}
    assigned = {name for name in given for line in sketch.lines if re.match(rf"\s*{name}\b[^=]* = ", line)}
    found = [n for n in sketch.tensors if n in assigned or (n not in given and not _is_read(n, sketch))]
    return found[:most] or [f"{inputs[0].name} * 1"]


def idle(sketch: Sketch) -> list[str]:
    """The names of numbers that no line reads."""
    return [name for name in (*sketch.of(int), *sketch.of(float)) if not _is_read(name, sketch)]


def _is_read(name: str, sketch: Sketch) -> bool:
    return any(re.search(rf"\b{name}\b(?! = )", line) for line in sketch.lines)


# -- fillers that most families share -------------------------------------------------------------------


def tensor(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    """A tensor; one of the last more often."""
    return draw(st.sampled_from(sketch.tensors))


def about(sketch: Sketch, chosen: Mapping[str, str]) -> torch.Tensor:
    """The tensor that a line is about, as it is in the example: the first that it names, or else the input."""
    return sketch.value(next((text for hole, text in chosen.items() if hole[0] in "to"), "x"))


def dimension(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    """A dimension of the tensor that the line is about."""
    rank = about(sketch, chosen).dim()
    if not rank:
        raise RejectedError("no dimension")
    return str(draw(st.integers(0, rank - 1)))


def place(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    """A place along the dimension that the line is about."""
    shape = about(sketch, chosen).shape
    size = shape[int(chosen.get("d", 0))] if shape else 0
    if not size:
        raise RejectedError("no place")
    return str(draw(st.integers(0, size - 1)))


def constant(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    """A small number from one up."""
    return str(draw(st.integers(1, 5)))


def signed(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    """A small number of either sign."""
    return str(draw(st.integers(-3, 3)))


def permutation(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    """An order of the dimensions of the tensor that the line is about."""
    return ", ".join(map(str, draw(st.permutations(range(about(sketch, chosen).dim())))))


FILLERS: dict[str, Filler] = {
    "t": tensor, "o": tensor, "d": dimension, "n": place, "c": constant, "z": signed, "perm": permutation,
}  # fmt: skip


# -- dynamic axes -----------------------------------------------------------------------------------------


@st.composite
def lengths(draw: Draw, names: Sequence[str], largest: int = 12) -> dict[str, int]:
    """Lengths of dynamic axes in an example: small ones, equal ones, multiples of four and eight, and ones."""
    size = st.one_of(st.integers(2, largest), st.sampled_from((1, 4, 8, 4, 8)))
    first = draw(size)
    return {name: first if i == 0 or draw(st.integers(0, 3)) == 0 else draw(size) for i, name in enumerate(names)}


@st.composite
def occasions(draw: Draw, example: Mapping[str, int]) -> tuple[Trial, ...]:
    """The example, other values at its sizes, and other sizes: smaller, larger and odd, far, and any others."""
    smaller = {
        n: draw(st.sampled_from(sorted({1, max(1, size - 1), max(1, size // 2)}))) for n, size in example.items()
    }
    odd = {n: (size + draw(st.integers(1, 7))) | 1 for n, size in example.items()}
    far = {n: 10 * size + i for i, (n, size) in enumerate(example.items())}
    other = {n: draw(st.integers(1, 2 * size + 2)) for n, size in example.items()}
    return (
        Trial("example", example),
        Trial("other values", example, (1,)),
        Trial("positive values", example, (2,)),
        *(
            Trial("smaller", smaller, (1,)),
            Trial("odd", odd),
            Trial("far", far, (1,)),
            Trial("other sizes", other, (3,)),
        ),
    )


STATIC = (
    Trial("example"),
    Trial("other values", variants=(1,)),
    Trial("positive values", variants=(2,)),
    Trial("negative values", variants=(3,)),
)


@st.composite
def orders(draw: Draw) -> dict[str, Any]:
    """Channel orders of inputs and outputs."""
    from nobuco import ChannelOrder

    both = st.sampled_from((ChannelOrder.PYTORCH, ChannelOrder.TENSORFLOW))
    return {"inputs_channel_order": draw(both), "outputs_channel_order": draw(both)}
