"""Which converters are not needed: without them their calls are opened, and nothing gets worse.

    python -m conformance.ablate                                   # each built-in converter that holds no weights
    python -m conformance.ablate 'torch.special.*' --out a.jsonl --resume

The samples of a converter's items are converted with it and without it, in both channel orders, static and dynamic. It
is not needed where, in each of these, no sample is off in Keras or in TFLite that is not off with it, too, and the file
holds no more operations and no more TRANSPOSE. Seconds are those of the conversion to Keras: opening takes longer.
"""

from __future__ import annotations

import argparse
import fnmatch
import inspect
import json
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from torch import nn

from nobuco.builtin import registered_converters
from nobuco.export.tflite_file import tflite_operations, to_tflite
from nobuco.registry import Converter, operation_name, registry
from pytest_nobuco.converters.backend import NobucoConverters, judged
from pytest_nobuco.converters.conversions import Subjects, attempted, measured
from pytest_nobuco.converters.items import ConverterCase, Entry
from pytest_nobuco.converters.parity import Conversion
from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.gate import bound_for
from pytest_nobuco.options import Options

_FORMS = (("nhwc", "static"), ("nchw", "static"), ("nhwc", "dynamic"), ("nchw", "dynamic"))
_AT_ONCE = 25
"""How many converters a child tries before a fresh one takes over: TensorFlow's graphs stay in memory."""


@dataclass(frozen=True)
class Cost:
    """What the samples of one form come to: how many are off, and of what the file is made.

    operations, transpositions: None where there is no file of all samples together.
    """

    off: int
    off_in_tflite: int
    operations: int | None
    transpositions: int | None
    seconds: float

    def admits(self, other: Cost) -> bool:
        """Whether the other is no worse."""
        if other.off > self.off or other.off_in_tflite > self.off_in_tflite:
            return False
        if self.operations is None or self.transpositions is None:
            return True
        if other.operations is None or other.transpositions is None:
            return False
        return other.operations <= self.operations and other.transpositions <= self.transpositions


@dataclass(frozen=True)
class Outcome:
    """One converter: its costs with it and without it, by form; `tried` ends with the first form that needs it."""

    name: str
    needed: str
    tried: dict[str, tuple[Cost, Cost]]


def main() -> None:
    """Try them one after the other, and print those that are not needed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="*", help="which converters, as a glob on their operations")
    parser.add_argument("--samples", type=int, default=8, help="how many samples an item takes, as --nobuco-samples")
    parser.add_argument("--out", type=Path, help="a file that gets a line of JSON for each converter")
    parser.add_argument("--resume", action="store_true", help="leave out the converters that are in --out already")
    arguments = parser.parse_args()
    done = _names_in(arguments.out) if arguments.resume else set()
    names = [name for name in candidates() if fnmatch.fnmatch(name, arguments.pattern) and name not in done]
    for outcome in _outcomes(names, arguments.samples):
        print(f"{outcome.name}: {outcome.needed or 'not needed'}", flush=True)
        if arguments.out:
            with arguments.out.open("a") as lines:
                lines.write(json.dumps(asdict(outcome)) + "\n")


def candidates() -> Iterator[str]:
    """The built-in converters that hold no weights, by their first operation."""
    for converter in registered_converters():
        if converter.is_built_in and converter.callables and not any(map(_has_weights, converter.callables)):
            yield operation_name(converter.callables[0])


def outcome_of(name: str, samples: int) -> Outcome:
    """What one converter is needed for, if for anything."""
    converter = next(c for c in registered_converters() if c.callables and operation_name(c.callables[0]) == name)
    converters, options = NobucoConverters(), Options(samples=samples)
    entry = converters.entry(converter)
    if entry is None:
        return Outcome(name, "serves no call", {})
    tried: dict[str, tuple[Cost, Cost]] = {}
    for order, shape in _FORMS:
        case = ConverterCase(order, shape, entry.dtypes[0] if entry.dtypes else None, "keras")
        subjects = _subjects(converters, entry, case, options)
        if not subjects:
            continue
        with_it = _cost(converter, case, subjects)
        with _without(converter):
            without = _cost(None, case, subjects)
        tried[f"{order}-{shape}"] = with_it, without
        if not with_it.admits(without):
            return Outcome(name, f"needed in {order}-{shape}", tried)
    return Outcome(name, "" if tried else "no sample", tried)


def _has_weights(operation: object) -> bool:
    """Whether a module class may have parameters or buffers: a converter makes a layer of them that can be trained."""
    return inspect.isclass(operation) and issubclass(operation, nn.Module) and "weight" in inspect.getsource(operation)


def _names_in(path: Path | None) -> set[str]:
    lines = path.read_text().splitlines() if path is not None and path.exists() else []
    return {json.loads(line)["name"] for line in lines}


def _outcomes(names: list[str], samples: int) -> Iterator[Outcome]:
    """In child processes: a converter without which the process dies is needed."""
    spawn = get_context("spawn")
    for start in range(0, len(names), _AT_ONCE):
        rest = names[start : start + _AT_ONCE]
        while rest:
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                try:
                    while rest:
                        yield pool.submit(outcome_of, rest[0], samples).result()
                        rest = rest[1:]
                except BrokenProcessPool:
                    yield Outcome(rest[0], "the process dies", {})
                    rest = rest[1:]


def _subjects(converters: NobucoConverters, entry: Entry, case: ConverterCase, options: Options) -> Subjects:
    try:
        return converters.subjects(entry, case, options)
    except (SuiteError, UnavailableError):
        return []


@contextmanager
def _without(converter: Converter) -> Iterator[None]:
    with registry.restoring():
        for operation in converter.operations:
            registry.remove(operation)
        yield


def _cost(converter: Converter | None, case: ConverterCase, subjects: Subjects) -> Cost:
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        conversions = attempted(converter, subjects, case)
        seconds = time.perf_counter() - begun
        bound = bound_for([], Options())
        off = [
            sum(bool(judged(result, bound)[1]) for result in measured(converter, form, subjects, conversions, bound))
            for form in (case, ConverterCase(case.order, case.shape, case.dtype, "tflite"))
        ]
    operations = sum(map(_operations, conversions), Counter[str]())
    return Cost(
        off[0],
        off[1],
        sum(operations.values()) if operations else None,
        operations.get("TRANSPOSE", 0) if operations else None,
        seconds,
    )


def _operations(conversion: Conversion | Exception) -> Counter[str]:
    """How many of each the file of some samples has; nothing where there is no such file."""
    if isinstance(conversion, Exception):
        return Counter()
    try:
        return Counter(tflite_operations(conversion.tflite or to_tflite(conversion.model)))
    except Exception:  # counted with the samples
        return Counter()


if __name__ == "__main__":
    main()
