"""Calls at other sizes and with other values, on which a finished model is tried.

What holds on the example is not yet known to hold elsewhere. Runs that took another way are left out: of these the
trace has told already.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import torch

from nobuco.ir import Graph, Node, Trial, given_out, map_tensors, run_gave, tensors
from nobuco.trace.calls import asks_after_nan
from nobuco.trace.held import held_numbers, held_tensors, restoring
from nobuco.trace.randomness import KeepingGenerators, Randomness, generators, keeping_random
from nobuco.trace.sizes.infer import inferred, seen_by
from nobuco.trace.sizes.reruns import parting
from nobuco.trace.sizes.strip_converted import strip_converted
from nobuco.trace.tracer import Failure, traced
from nobuco.trace.unchecked import refusing_unchecked

Call = tuple[tuple[Any, ...], Mapping[str, Any]]
"""The positional and the keyword arguments of a call."""

# How many other sets of values a model is tried on, and how many calls in a row where it keeps state.
_SETS = 2
_CALLS = 3
# How far values are from 0, or how near, that what cuts values off shall not miss.
_FAR = 1000.0


def at_other_sizes(names: Sequence[str], graph: Graph, others: Sequence[Graph]) -> tuple[Trial, ...]:
    """The runs of `others` to try a model on: one smaller than the example and one larger, axes unequal if any are.

    Not one of single elements where there is another: much is right there by chance.
    """
    mine = _work(graph)
    smaller = [other for other in others if 0 < _work(other) <= mine]
    larger = [other for other in others if _work(other) > mine]
    order = lambda run: (_single(graph, run), _likeness(graph, run), _work(run))  # noqa: E731
    chosen = [min(runs, key=order) for runs in (smaller, larger) if runs]
    return tuple(trial_of(names, other) for other in chosen)


def _work(graph: Graph) -> int:
    return sum(prod(value.shape) for value in graph.inputs)


def _single(graph: Graph, other: Graph) -> int:
    """How many axes of the inputs are of one element in that run alone: to turn or to sort that shows nothing."""
    pairs = [(n, m) for mine, theirs in zip(graph.inputs, other.inputs) for n, m in zip(mine.shape, theirs.shape)]
    return sum(m == 1 < n for n, m in pairs)


def _likeness(graph: Graph, other: Graph) -> int:
    """In how few ways the axes of the inputs have grown: the fewer, the less a run tells them apart."""
    pairs = [
        (n, m) for mine, theirs in zip(graph.inputs, other.inputs) for n, m in zip(mine.shape, theirs.shape) if n != m
    ]
    return -len({m / n for n, m in pairs}) - len({m for _, m in pairs})


def trial_of(names: Sequence[str], graph: Graph) -> Trial:
    """A run at other sizes as a trial."""
    about = ", ".join(f"{name} {value.dtype}{list(value.shape)}" for name, value in zip(names, graph.inputs))
    return Trial(f"at other sizes ({about})", (tuple(graph.samples[v.id] for v in graph.inputs),), (run_gave(graph),))


def extreme_calls(call: Call, graphs: Iterable[Graph]) -> Iterator[Call]:
    """Calls of the same form whose floats are far from those: of both signs, positive, negative, and near nothing.

    What cuts values off, or decides by their size, does nothing to many that are like the example's. In one more
    integers are far from those, too; a program that takes them for places raises there. Where a run of the program asks
    after NaN, some are NaN or infinite in the last ones; elsewhere what it gives for them shows no decision.
    """
    generator = torch.Generator("cpu").manual_seed(3)

    def drawn(form: Callable[[torch.Tensor], torch.Tensor], integers: bool = False) -> Call:
        def one(tensor: torch.Tensor, _: int) -> torch.Tensor:
            is_integer = not (tensor.dtype == torch.bool or tensor.is_complex() or tensor.is_floating_point())
            if not tensor.is_floating_point() and not (integers and is_integer):
                return other_values(tensor, generator)
            numbers = torch.randn(tensor.shape, generator=generator, device="cpu")
            return form(numbers).to(tensor.device, tensor.dtype)

        args, kwargs = map_tensors(one, call)
        return args, kwargs

    forms = (lambda t: t * _FAR, lambda t: t.abs() * _FAR, lambda t: -t.abs() * _FAR, lambda t: t / _FAR)
    yield from map(drawn, forms)
    yield drawn(forms[0], integers=True)
    if any(asks_after_nan(node) for graph in graphs for node in graph.walk()):
        yield from map(drawn, (partial(_among, [math.nan]), partial(_among, [math.inf, -math.inf])))


def _among(others: Sequence[float], numbers: torch.Tensor) -> torch.Tensor:
    """Numbers with others in every third place, in turn."""
    flat = numbers.flatten()
    for place, other in enumerate(others):
        flat[3 * place :: 3 * len(others)] = other
    return flat.reshape(numbers.shape)


def extreme_trials(
    names: Sequence[str], function: Callable[..., Any], call: Call, graph: Graph, example: Graph
) -> Iterator[Trial]:
    """Such calls at the sizes of a run, as trials."""
    at_its_sizes = with_tensors(call, [graph.samples[value.id] for value in graph.inputs])
    for other in extreme_calls(at_its_sizes, (example, graph)):
        outputs = calls_in_a_row(function, [other])
        if outputs:
            about = f"{trial_of(names, graph).about}, values far from the example's"
            yield Trial(about, (tuple(tensors(other)),), outputs)


@dataclass(frozen=True)
class Values:
    """Runs of a program, at the example's sizes, with other values. `graph` is its trace on the example."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    graph: Graph
    stands_for_all: Callable[[Node], bool]
    options: Mapping[str, Any]

    def tried(self, given: Sequence[Sequence[Any]] = ()) -> tuple[tuple[Trial, ...], dict[str, tuple[Trial, ...]]]:
        """Trials on other values and on those that are `given`; and what to say of runs that took another way.

        Each of the latter with these runs: where the model gives what they gave, nothing is to be said.
        """
        calls = [("with other values", *self._drawn(seed)) for seed in range(_SETS)]
        calls += [(f"on validate_on[{i}]", tuple(args), self.kwargs) for i, args in enumerate(given)]
        trials: list[Trial] = []
        told: dict[str, tuple[Trial, ...]] = {}
        alone: list[tuple[Call, Sequence[Any]]] = []
        for about, args, kwargs in calls:
            message, trial = self._trial(about, args, kwargs)
            if trial is not None:
                alone += [((args, kwargs), outputs) for outputs in trial.outputs[:1]]
            if message:
                told[message] = (*told.get(message, ()), trial)
            elif message is None and trial is not None:
                trials.append(trial)
        return tuple(trials), told | ({} if self.graph.states else self._otherwise_called(alone))

    def _drawn(self, seed: int) -> tuple[Any, Any]:
        generator = torch.Generator("cpu").manual_seed(seed)
        return map_tensors(lambda tensor, _: other_values(tensor, generator), (self.args, dict(self.kwargs)))

    def later(self, trials: Sequence[Trial]) -> tuple[Trial, ...]:
        """Calls behind others, on the example and as in these, for a model to be tried on that knows of none before.

        None where what an earlier call leaves in the modules depends on its values, or on how many calls there were.
        """
        mine, unlike = (self.args, self.kwargs), self._drawn(0)
        left: list[Mapping[str, Any]] = []
        look = lambda: left.append(_held_now(self.function))  # noqa: E731
        steps = [*calls_in_a_row(self.function, [mine, mine], look), *calls_in_a_row(self.function, [unlike], look)]
        if len(steps) < 3 or not all(_is_as_before(left[0], now) for now in left[1:]):
            return ()
        others = [with_tensors(mine, trial.inputs[0]) for trial in trials]
        trials_behind: list[Trial] = []
        for calls in ([mine, *others, unlike], [unlike, *reversed(others), mine]):
            outputs = calls_in_a_row(self.function, calls)
            if not outputs:
                return ()
            trials_behind.append(Trial("in later calls", tuple(tuple(tensors(call)) for call in calls), outputs))
        return tuple(trials_behind)

    def _otherwise_called(self, alone: Sequence[tuple[Call, Sequence[Any]]]) -> dict[str, tuple[Trial, ...]]:
        """What to say where the program gives something else when it is called than when it is traced.

        Args:
            alone: other calls, with what each gave when it was the first.
        """
        mine = (self.args, self.kwargs)
        before = Randomness.now(generators(self.function, mine))
        calls = [mine, *(call for call, _ in alone), mine]
        results = calls_in_a_row(self.function, calls, before.restore) or calls_in_a_row(self.function, [mine])
        if not results:
            return {}
        if not _are_close(results[0], results[-1]):
            return {_REMEMBERS: ()}
        if not _are_close(results[0], run_gave(self.graph)):
            return {_IS_SEEN: ()}
        later = zip((first for _, first in alone), results[1:])
        return {} if all(_are_close(*each) for each in later) else {_REMEMBERS: ()}

    def _trial(self, about: str, args: Any, kwargs: Any) -> tuple[str | None, Any]:
        """What to say where the program took another way, and a trial; None where it takes no such values."""
        if self.graph.states:
            generator = torch.Generator("cpu").manual_seed(_SETS)
            calls = [map_tensors(lambda t, _: other_values(t, generator), (args, kwargs)) for _ in range(1, _CALLS)]
            calls = [(args, kwargs), *calls]
            steps = calls_in_a_row(self.function, calls)
            inputs = tuple(tuple(t.detach().clone() for t in tensors(call)) for call in calls)
            return None, Trial(f"{about}, {_CALLS} calls in a row", inputs, steps) if steps else None
        run = traced(self.function, args, kwargs, **self.options)
        if isinstance(run, Failure):
            return None, None
        inputs_of_run = (tuple(run.samples[value.id] for value in run.inputs),)
        if "settled" in self.options:  # PyTorch's own way may be another one
            return self._told(run), Trial(about, inputs_of_run, calls_in_a_row(self.function, [(args, kwargs)]))
        return self._told(run), Trial(about, inputs_of_run, (run_gave(run),))

    def _told(self, run: Graph) -> str | None:
        """What to say of a run that took another way, or gave a call other numbers; "" where that is said already."""
        first, other = strip_converted([self.graph, run], self.stands_for_all)
        way = parting(first, other)
        if way is not None:
            site, what = way[0].site, "makes other calls"
        else:
            lost = inferred(replace(first, runs=(seen_by(first, other),)), [other]).lost
            if not lost:
                return None
            site, what = lost[0].node.site, "gives a call other numbers"
        if any("takes a value" in warning for warning in self.graph.warnings):
            return ""
        return (
            f"{site}: the program {what} where its inputs have other values; the converted model does as it did on the "
            "example. explore_branches=True converts both sides of a decision"
        )


_IS_SEEN = (
    "the program gives something else when it is called than when it is traced, as one does that asks for "
    "`type(n) is int` of a size; the converted model does as it did while traced: ask for isinstance(n, int)"
)
_REMEMBERS = (
    "the program gives something else when it was called before: it remembers that in a flag, a list, a global or "
    "such; the converted model does on every call as the first call did. What shall last from call to call belongs "
    "into a buffer"
)


def _are_close(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether the tensors among results of two runs are the same."""
    one, other = tensors(some), tensors(others)
    return len(one) == len(other) and all(map(_is_close, one, other))


def with_tensors(call: Call, inputs: Sequence[Any]) -> Call:
    """A call with these tensors in place of its own."""
    args, kwargs = map_tensors(lambda _, place: inputs[place], call)
    return args, kwargs


def _held_now(function: Callable[..., Any]) -> Mapping[str, Any]:
    """The numbers and the tensors that modules hold, copied."""
    tensors = {name: held.tensor.detach().clone() for name, held in held_tensors(function).items()}
    return {**tensors, **{name: number for name, (number, _) in held_numbers(function).items()}}


def _is_as_before(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    if first.keys() != second.keys():
        return False
    pairs = [(first[name], second[name]) for name in first]
    return all(_is_close(*pair) if isinstance(pair[0], torch.Tensor) else pair[0] == pair[1] for pair in pairs)


def _is_close(one: torch.Tensor, other: Any) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point() and not one.is_complex():
        return torch.equal(one, other)
    return torch.allclose(one, other, 1e-4, 1e-5, equal_nan=True)


def other_values(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A tensor of the same shape, dtype and range with other values: other signs, and other masks."""
    if not tensor.numel():
        return tensor
    flat = tensor.detach().flatten()
    if (flat == flat[0]).all():
        return _unlike_a_constant(tensor, generator)
    mixed = flat[torch.randperm(len(flat), generator=generator, device="cpu").to(flat.device)]
    if tensor.dtype == torch.bool or tensor.is_complex() or not tensor.is_floating_point():
        return mixed.reshape(tensor.shape)
    if (flat < 0).any() and (flat > 0).any():
        mixed = mixed * (torch.randint(0, 2, (len(flat),), generator=generator, device="cpu").to(flat.device) * 2 - 1)
    return mixed.reshape(tensor.shape).to(tensor.dtype)


def _unlike_a_constant(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Of a mask, one that ends earlier, or one that begins later; of a float, numbers up to its size."""
    value = tensor.detach().flatten()[0].item()
    if is_mask(tensor):
        return masks(tensor)[int(torch.randint(2, (), generator=generator, device="cpu"))]
    if tensor.is_floating_point():
        drawn = torch.rand(tensor.shape, generator=generator, device="cpu").to(tensor.device) * max(abs(value), 1.0)
        return drawn.to(tensor.dtype)
    return tensor


def is_mask(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds the same truth value everywhere, or ones."""
    if tensor.is_floating_point() or tensor.is_complex() or not tensor.numel():
        return False
    first = tensor.detach().flatten()[0]
    is_one = first == 1 and tensor.dim() > 1
    return bool((tensor.dtype == torch.bool or is_one) and (tensor == first).all())


def masks(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Masks unlike one that is all alike: it ends earlier, begins later or has a hole, in all or some rows."""
    length = tensor.shape[-1] if tensor.dim() else 1
    places = torch.arange(length, device=tensor.device).reshape(tensor.shape[-1:])
    ends = (places > length // 2).expand(tensor.shape)
    begins = (places < length - length // 2 - 1).expand(tensor.shape)
    hole = (places == length // 2).expand(tensor.shape)
    rows = torch.arange(tensor.shape[0] if tensor.dim() > 1 else 1, device=tensor.device) % 2 == 0
    some = rows.reshape(-1, *[1] * max(tensor.dim() - 1, 0)) if tensor.dim() else rows.reshape(())
    hidden = (ends, begins, hole, ends & some, begins & some)
    return [torch.where(where, tensor == 0, tensor).to(tensor.dtype) for where in hidden]


def calls_in_a_row(
    function: Callable[..., Any], calls: Sequence[Call], look: Callable[[], None] = lambda: None
) -> tuple[tuple[Any, ...], ...]:
    """What a program gives in several calls; nothing where it raises. Afterwards it is what it was.

    `look` is called after each of them.
    """
    results = []
    try:
        with (
            torch.no_grad(),
            keeping_random(generators(function, calls)),
            KeepingGenerators(),
            restoring(function),
            _elements_put_back(function),
            refusing_unchecked(),
        ):
            for call in calls:
                args, kwargs = map_tensors(lambda tensor, _: tensor.detach().clone(), call)
                results.append(tuple(map(_cloned, given_out(function(*args, **kwargs)))))
                look()
    except Exception:
        return ()
    return tuple(results)


def _cloned(item: Any) -> Any:
    return item.detach().clone() if isinstance(item, torch.Tensor) else item


@contextmanager
def _elements_put_back(function: Callable[..., Any]) -> Iterator[None]:
    """Afterwards, the tensors that modules hold have the memory and the elements that they had."""
    held = {id(item.tensor): item.tensor for item in held_tensors(function).values()}.values()
    before = [(tensor, tensor.data, tensor.detach().clone()) for tensor in held]
    try:
        yield
    finally:
        for tensor, memory, elements in before:
            tensor.data = memory
            if not torch.equal(memory, elements):
                memory.copy_(elements)
