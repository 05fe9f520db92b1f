"""`--nobuco-baseline`: the errors of an earlier session, above which an error may not grow, though within its bound."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nobuco.files import replacing, text_of

if TYPE_CHECKING:
    from pytest_nobuco.models.judging import Judged
    from pytest_nobuco.report.data import Cell

FORMAT = 1
FACTOR = 10.0


@dataclass(frozen=True)
class Baseline:
    """The largest absolute difference of each output, by the item's id and the output's name; and how it may grow.

    `written` is the file to write at the end of the session, in place of one to hold it to.
    """

    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    factor: float = FACTOR
    path: str = ""
    written: Path | None = None

    def grown(self, nodeid: str, outputs: Iterable[Judged]) -> list[str]:
        """What is wrong with the outputs of an item that are within their bounds."""
        return [
            f"output {one.name}: {now:.1e} is {now / then:.0f} times the {then:.1e} of the baseline {self.path}; "
            f"--nobuco-baseline-factor {self.factor:g} is allowed"
            for one in outputs
            if (known := self.errors.get(nodeid, {}).get(one.name)) is not None
            # An error of one rounding may be none another day.
            for now, then in [(one.difference.max_abs, max(known, getattr(one.difference, "resolution", 0.0)))]
            if then and now > self.factor * then
        ]

    def write(self, cells: Iterable[Cell]) -> None:
        """Write the errors of the models that pass; those of items that did not run stay as they are in the file."""
        assert self.written is not None
        errors = dict(_read(self.written)) if self.written.exists() else {}
        for cell in cells:
            if cell.kind == "parity" and cell.outcome == "passed" and cell.outputs:
                named: dict[str, float] = {}
                for output in cell.outputs:
                    named[output.name] = max(named.get(output.name, 0.0), output.max_abs or 0.0)
                errors[cell.nodeid] = named
        with replacing(self.written) as fresh:
            fresh.write_text(json.dumps({"format": FORMAT, "errors": errors}, indent=1, sort_keys=True) + "\n")


def add_baseline_options(group: Any) -> None:
    """Declare the options."""
    group.addoption(
        "--nobuco-baseline",
        metavar="FILE",
        help="fail where an output is further from PyTorch than --nobuco-baseline-factor times what this file says, "
        "though still within its bound",
    )
    group.addoption(
        "--nobuco-baseline-write",
        action="store_true",
        help="write --nobuco-baseline anew for the models that run and pass, rather than hold them to it",
    )
    group.addoption(
        "--nobuco-baseline-factor",
        type=_factor,
        metavar="FACTOR",
        help=f"how much an error may grow (default: {FACTOR:g}); errors below the dtype's resolution count as that",
    )


def read_baseline(config: pytest.Config) -> Baseline:
    """The baseline of a session; `pytest.UsageError` where there is no such file, or it is another."""
    name, writes = config.getoption("nobuco_baseline"), config.getoption("nobuco_baseline_write")
    factor = config.getoption("nobuco_baseline_factor")
    if name is None:
        if writes:
            raise pytest.UsageError("--nobuco-baseline-write: give the file to write with --nobuco-baseline FILE")
        if factor is not None:
            raise pytest.UsageError("--nobuco-baseline-factor: give the file to hold errors to with --nobuco-baseline")
        return Baseline()
    factor = factor or FACTOR
    path = config.invocation_params.dir / name
    if writes:
        if not path.parent.is_dir():
            raise pytest.UsageError(f"--nobuco-baseline {name}: there is no directory {path.parent}")
        if path.exists():
            _read(path)
        return Baseline(factor=factor, path=name, written=path)
    return Baseline(_read(path), factor, name)


def _read(path: Path) -> Mapping[str, Mapping[str, float]]:
    try:
        found = json.loads(text_of(path))
    except FileNotFoundError:
        hint = "write it with --nobuco-baseline-write"
        raise pytest.UsageError(f"--nobuco-baseline {path}: there is no such file; {hint}") from None
    except OSError as error:
        raise pytest.UsageError(f"--nobuco-baseline {path}: {error.strerror}") from None
    except ValueError as error:
        raise pytest.UsageError(f"--nobuco-baseline {path}: this is no baseline: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("errors"), dict):
        raise pytest.UsageError(f"--nobuco-baseline {path}: this is no baseline of this version of nobuco")
    errors: Mapping[str, Mapping[str, float]] = found["errors"]
    if not all(isinstance(error, dict) and all(map(_is_number, error.values())) for error in errors.values()):
        raise pytest.UsageError(f"--nobuco-baseline {path}: this is no baseline: an error in it is no number")
    return errors


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not factor >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no factor; it is a number from 1 up, e.g. 10")
    return factor
