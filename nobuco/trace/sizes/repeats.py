"""Which calls of a program are made again and again, and how often in each run."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

# A loop makes at most so many calls in a round.
_MOST_CALLS = 400
# Rounds that the longest run must have made for its calls to be taken for a loop.
_FEWEST_ROUNDS = 3


@dataclass(frozen=True)
class Part:
    """Calls in a row, by what tells each from others; `repeats` if they may be made any number of times."""

    calls: tuple[Any, ...]
    repeats: bool = False


def pattern(calls: Sequence[Hashable]) -> tuple[Part, ...]:
    """A run's calls in parts: those that are made over and over, as much of them as can be, and those between."""
    found: list[Part] = []
    between: list[Hashable] = []
    place = 0
    while place < len(calls):
        length, count = _longest_repeat(calls, place)
        if count:
            found += [Part(tuple(between)), Part(tuple(calls[place : place + length]), repeats=True)]
            between = []
        else:
            between.append(calls[place])
        place += max(length * count, 1)
    return (*found, Part(tuple(between)))


def rounds(calls: Sequence[Hashable], parts: Sequence[Part]) -> tuple[int, ...] | None:
    """How often a run makes the calls of each part; None where it makes others."""
    counts = begun(calls, parts)
    total = sum(len(part.calls) * count for part, count in zip(parts, counts))
    return counts if len(counts) == len(parts) and total == len(calls) else None


def begun(calls: Sequence[Hashable], parts: Sequence[Part]) -> tuple[int, ...]:
    """How often a run makes the calls of each part, up to the first part that it does not make."""
    counts, place = list[int](), 0
    for part in parts:
        count = 0
        while part.calls and calls[place : place + len(part.calls)] == part.calls and (part.repeats or not count):
            place += len(part.calls)
            count += 1
        if part.calls and not part.repeats and not count:
            break
        counts.append(count)
    return tuple(counts)


def _longest_repeat(calls: Sequence[Hashable], place: int) -> tuple[int, int]:
    """The length and the number of rounds of the loop that begins at a call and makes most calls; nothing if none."""
    best = (0, 0)
    for length in range(1, min(_MOST_CALLS, (len(calls) - place) // _FEWEST_ROUNDS) + 1):
        count = 1
        while _is_repeated(calls, place + count * length, length):
            count += 1
        if count >= _FEWEST_ROUNDS and length * count > best[0] * best[1]:
            best = (length, count)
    return best


def _is_repeated(calls: Sequence[Hashable], place: int, length: int) -> bool:
    """Whether the calls from a place on are those before them."""
    if place + length > len(calls) or calls[place] != calls[place - length]:
        return False
    return calls[place : place + length] == calls[place - length : place]
