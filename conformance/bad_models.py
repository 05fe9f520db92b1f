"""Models that do harm, in every way to run the plugin: what becomes of them, and of the models beside them.

    python -m conformance.bad_models       # a few minutes; writes conformance/BAD_MODELS.md

Each model does harm of one kind in one place: in its constructor, in PyTorch, while it is converted (as a converter of
the user's own would), or when a runtime runs it. The frameworks have no part in that, so a backend stands in for them
that is Python alone; what dies, hangs and grows are real processes. Beside each run two models that do no harm.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

TABLE = Path(__file__).with_name("BAD_MODELS.md")
FAKE = Path(__file__).parents[1] / "tests" / "fake_backend.py"
GOOD = ("good_before", "good_behind")
# What harms, as a Python expression, and in words.
KINDS: Mapping[str, tuple[str, str]] = {
    "abort": ("os.abort()", "abort"),
    "segfault": ("ctypes.string_at(0)", "segmentation fault"),
    "kill": ("os.kill(os.getpid(), 9)", "killed, as when memory runs out"),
    "grow": ("(held.append(b'x' * 1_500_000_000), time.sleep(1000))", "takes more and more memory"),
    "hang": ("time.sleep(1000)", "never ends"),
    "sys_exit": ("sys.exit(3)", "`sys.exit`"),
    "os_exit": ("os._exit(3)", "`os._exit`"),
    "raise": ("int('x')", "an exception"),
    "shout": ("sys.stdout.write('x' * 50_000_000)", "50 MB of output"),
}
PLACES = {
    "make": "its constructor",
    "call": "PyTorch",
    "convert": "the conversion",
    "run": "a runtime",
}
# The kinds that only a limit ends, and the options that set one.
ENDLESS = ("grow", "hang")
LIMITS = ("--nobuco-timeout=8", "--nobuco-memory=1")
MODES: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    **{f"`-n 2`, {name}": ("-n2", f"--dist={name}") for name in ("load", "worksteal", "loadscope", "loadgroup")},
    "`--nobuco-isolate`": ("--nobuco-isolate",),
    "`--nobuco-isolate -n 2`": ("--nobuco-isolate", "-n2"),
}
BACKEND = """
import ctypes, os, sys, time
from fake_backend import FakeBackend, Net

held = []
HARM = {harm}

def harm(model, place):
    if getattr(model, "place", None) == place:
        eval(HARM[model.kind])

class Bad(Net):
    def __init__(self, kind, place):
        super().__init__()
        self.kind, self.place = kind, place
        harm(self, "make")

class Backend(FakeBackend):
    def subject(self, model, *rest):
        harm(model, "call")
        return super().subject(model, *rest)

    def convert(self, subject, *rest):
        harm(subject.model, "convert")
        return super().convert(subject, *rest)

    def run(self, converted, subject, runtime):
        harm(subject.model, "run")
        return super().run(converted, subject, runtime)

good_before = good_behind = Net
"""
RUNTIMES = ("keras", "tflite")
INI = f"""[pytest]
addopts = -p no:cacheprovider -p no:hypothesispytest
nobuco_backend = backend:Backend
nobuco_orders = nhwc
nobuco_runtimes = {" ".join(RUNTIMES)}
nobuco_dynamic = none
"""


@dataclass(frozen=True)
class Bad:
    """A model that does harm."""

    kind: str
    place: str

    @property
    def name(self) -> str:
        return f"{self.kind}_in_{self.place}"


@dataclass(frozen=True)
class Outcome:
    """What a session reported: for each model the outcomes of its items; and how long it took."""

    items: Mapping[str, tuple[str, ...]]
    seconds: float

    def of_others(self, expected: int) -> str:
        """Whether each item of the good models has passed and been reported once."""
        wrong = [name for name in GOOD if self.items.get(name, ()) != ("passed",) * expected]
        return "" if not wrong else f"{', '.join(wrong)}: {self.items.get(wrong[0], 'not reported')}"


def session(models: Sequence[Bad], options: Sequence[str], seconds: float) -> Outcome:
    """Run the models between the two good ones, in a project of their own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "fake_backend.py").write_text(FAKE.read_text())
        made = "\n".join(f"def {bad.name}(): return Bad({bad.kind!r}, {bad.place!r})" for bad in models)
        harm = {kind: code for kind, (code, _) in KINDS.items()}
        (folder / "backend.py").write_text(BACKEND.replace("{harm}", repr(harm)) + made + "\n")
        (folder / "pytest.ini").write_text(INI)
        named = [f"--nobuco-model=backend.{name}" for name in (GOOD[0], *(bad.name for bad in models), GOOD[1])]
        command = [sys.executable, "-m", "pytest", *named, *options, "--nobuco-results=results.jsonl", "-q"]
        start = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return Outcome(_results(folder / "results.jsonl"), time.monotonic() - start)


def _results(file: Path) -> dict[str, tuple[str, ...]]:
    """The outcomes by model, as they stand in the file of results."""
    found: dict[str, tuple[str, ...]] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        row = json.loads(line)
        if row.get("category"):
            name = row["nodeid"].partition("::")[2].partition("[")[0]
            found[name] = (*found.get(name, ()), row["category"])
    return found


@dataclass(frozen=True)
class Row:
    """What became of one mode: by bad model its own outcomes, and what is amiss with the others."""

    bad: Mapping[Bad, tuple[str, ...]]
    amiss: Mapping[Bad, str]
    seconds: float


def row_of(mode: str) -> Row:
    """Run a mode: each bad model alone beside the good ones where one process runs all, else all in one session."""
    models = [Bad(kind, place) for kind in KINDS for place in PLACES]
    bad: dict[Bad, tuple[str, ...]] = {}
    amiss: dict[Bad, str] = {}
    seconds = 0.0
    for group in _groups(mode, models):
        limits = LIMITS if any(model.kind in ENDLESS for model in group) else ()
        outcome = session(group, (*MODES[mode], *limits), 600)
        seconds += outcome.seconds
        for model in group:
            bad[model] = outcome.items.get(model.name, ())
            told = outcome.of_others(len(RUNTIMES))
            if told:
                amiss[model] = told
        print(f"{mode}: {', '.join(m.name for m in group)[:60]}: {outcome.seconds:.0f} s", file=sys.stderr, flush=True)
    return Row(bad, amiss, seconds)


def _groups(mode: str, models: Sequence[Bad]) -> Iterator[list[Bad]]:
    """Which models share a session: those that only a limit ends have one of their own."""
    if mode == "plain":
        yield from ([model] for model in models if model.kind not in ENDLESS)
        return
    for endless in (False, True):
        yield [model for model in models if (model.kind in ENDLESS) is endless]


def page(rows: Mapping[str, Row]) -> Iterator[str]:
    """The table."""
    yield "# Models that do harm"
    yield ""
    yield f"`python -m conformance.bad_models`; {date.today().isoformat()}. Each model does harm of one kind in one"
    yield f"place: in {', '.join(PLACES.values())}. Two models that do none stand beside them, one in front and one"
    yield "behind. A cell says in how many of the places each item of these two passed and was reported, once; in"
    yield "brackets, in how many each item of the bad model itself was reported, as failed where it does harm."
    yield ""
    yield f"| harm | {' | '.join(rows)} |"
    yield f"|---|{'---|' * len(rows)}"
    for kind, (_, words) in KINDS.items():
        yield f"| {words} | {' | '.join(_cell(kind, row) for row in rows.values())} |"
    yield f"| seconds | {' | '.join(f'{row.seconds:.0f}' for row in rows.values())} |"
    yield ""
    yield f"What never ends, and what takes more and more memory, run with `{' '.join(LIMITS)}`,"
    yield "which put each model into a process of its own, under xdist too; without them nothing would end those."
    yield "Plain, one process runs all, and nothing outlives what ends it: what came before is in the file of"
    yield "`--nobuco-results`. There each bad model has a session of its own."
    amiss = [(mode, model, told)
            for mode, row in rows.items() if mode != "plain"
            for model, told in row.amiss.items()]  # fmt: skip
    if amiss:
        yield ""
        yield "Where a good model is not reported whole:"
        yield ""
        yield from (f"- {mode}: {KINDS[model.kind][1]} in {PLACES[model.place]}: {told}" for mode, model, told in amiss)


def _cell(kind: str, row: Row) -> str:
    tried = [model for model in row.bad if model.kind == kind]
    if not tried:
        return "–"
    whole = sum(model not in row.amiss for model in tried)
    own = sum(_is_told(kind, row.bad[model]) for model in tried)
    return f"{whole} of {len(tried)} ({own})"


def _is_told(kind: str, outcomes: tuple[str, ...]) -> bool:
    """Whether each item of a bad model is there, and failed; only much output is no fault."""
    wanted = {"passed"} if kind == "shout" else {"failed", "error"}
    return len(outcomes) == len(RUNTIMES) and set(outcomes) <= wanted


def main() -> int:
    """Run all sessions and write the table; the exit status is 1 if harm reached others where it must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", action="append", choices=list(MODES), help="this mode alone; prints, writes nothing")
    chosen = parser.parse_args().mode
    rows = {mode: row_of(mode) for mode in chosen or MODES}
    text = "\n".join(page(rows)) + "\n"
    if chosen:
        print(text)
    else:
        TABLE.write_text(text)
    return any(row.amiss for mode, row in rows.items() if mode != "plain")


if __name__ == "__main__":
    sys.exit(main())
