"""What values were while tracing: held, or computed again from those that are.

All activations of a large network at once would fill the memory. So of the results of calls only those are held that
are small, or that the call would not give a second time; the calls that lead to another one are run again.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Call(Protocol):
    """A node of the graph, as far as it matters here."""

    @property
    def id(self) -> int:
        """Later calls have higher ones."""

    @property
    def inputs(self) -> Sequence[Any]:
        """The values among its arguments."""

    @property
    def results(self) -> Sequence[Any]:
        """The values that it gives."""


# Runs a call again: `run(node, inputs) -> results`, of what its values were, by id.
Run = Callable[[Any, Mapping[int, Any]], Sequence[Any]]
# Bytes of computed tensors that stay at hand for the next calls.
_AT_HAND = 1 << 26


class _Latest:
    """The tensors that were computed last, up to so many bytes, and those that are `wanted` later on."""

    def __init__(self) -> None:
        self.wanted: set[int] = set()
        self._held: OrderedDict[int, Any] = OrderedDict()
        self._bytes = 0

    def find(self, id: int) -> Any:
        """One of them; None where it is not there (any more)."""
        if id in self._held:
            self._held.move_to_end(id)
        return self._held.get(id)

    def add(self, id: int, tensor: Any) -> None:
        """Put one in, in place of the oldest."""
        if id not in self._held:
            self._held[id] = tensor
            self._bytes += tensor.nbytes
        for old in list(self._held) if self._bytes > _AT_HAND else ():
            if old not in self.wanted:
                self._bytes -= self._held.pop(old).nbytes
            if self._bytes <= _AT_HAND:
                break


@dataclass(frozen=True, eq=False)
class Samples(Mapping[int, Any]):
    """What values were while tracing, by id.

    `kept` are held. A result of one of `calls`, by the id of the result, is computed by `run` where it is asked for.
    """

    kept: Mapping[int, Any]
    calls: Mapping[int, Call] = field(default_factory=dict)
    run: Run | None = None
    _latest: _Latest = field(default_factory=_Latest)

    def __getitem__(self, id: int) -> Any:
        if id in self.kept:
            return self.kept[id]
        sample = self._latest.find(id)
        return self._computed(id) if sample is None else sample

    def __iter__(self) -> Iterator[int]:
        yield from self.kept
        yield from (id for id in self.calls if id not in self.kept)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, id: object) -> bool:
        return id in self.kept or id in self.calls

    def plus(self, more: Mapping[int, Any]) -> Samples:
        """These and `more`, which are held."""
        return Samples({**self.kept, **more}, self.calls, self.run, self._latest)

    def want(self, ids: Iterable[int]) -> None:
        """Let what is computed of these stay at hand: they are asked for again."""
        self._latest.wanted.update(ids)

    def want_no_more(self, ids: Iterable[int]) -> None:
        """Let go of what stayed at hand."""
        self._latest.wanted.difference_update(ids)

    def _computed(self, id: int) -> Any:
        calls, made = self._leading_to(id)
        readers = Counter(number for call in calls for number in _given(call))
        readers[id] += 1
        assert self.run is not None
        for call in calls:
            inputs = {number: self.kept[number] if number in self.kept else made[number] for number in _given(call)}
            results = {value.id: result for value, result in zip(call.results, self.run(call, inputs), strict=True)}
            made.update((number, result) for number, result in results.items() if number not in self.kept)
            readers.subtract(inputs.keys())
            for number in {*inputs, *results} & made.keys():
                if number in results:
                    self._latest.add(number, made[number])
                if not readers[number]:
                    del made[number]
            del inputs, results
        return made[id]

    def _leading_to(self, id: int) -> tuple[list[Call], dict[int, Any]]:
        """The calls to run for a value, in order, and what they read that is at hand."""
        calls: dict[int, Call] = {}
        at_hand: dict[int, Any] = {}
        waiting = [id]
        while waiting:
            number = waiting.pop()
            sample = None if number in self.kept else self._latest.find(number)
            if sample is not None:
                at_hand[number] = sample
            elif number not in self.kept and self.calls[number].id not in calls:
                calls[self.calls[number].id] = self.calls[number]
                waiting += _given(self.calls[number])
        return [calls[number] for number in sorted(calls)], at_hand


def _given(call: Call) -> set[int]:
    return {value.id for value in call.inputs}
