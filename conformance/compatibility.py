"""The table of versions: README's demo, the tests and the quick slice of conformance in an environment for each row.

python -m conformance.compatibility                      # every row that is not done yet
python -m conformance.compatibility torch-2.9 py313      # some
python -m conformance.compatibility py310 --checks demo  # one check; the others of the row stay as they were
python -m conformance.compatibility torch-2.14 --python .venv/bin/python  # in an environment that is there
python -m conformance.compatibility --render             # docs/compatibility.md from what was run

What was run is kept in `conformance/compatibility.json`, so an interrupted run goes on where it was; `--again` repeats.
Environments are made in `--work` and removed once their row is done.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "conformance" / "compatibility.json"
PAGE = ROOT / "docs" / "compatibility.md"
LIBRARIES = ("torch", "triton", "tensorflow", "keras", "transformers", "numpy")

CHECKS: dict[str, list[str]] = {
    "demo": ["--nobuco-model", "pytest_nobuco.zoo.MobileNetV3", "--nobuco-input", "1,3,224,224"],
    "slice": [
        "tests/test_names.py", "tests/test_symbols.py", "tests/test_versions.py", "tests/test_conversion.py",
        "tests/test_opening.py", "tests/test_programs.py", "tests/test_scripts.py", "tests/test_modules.py",
        "tests/test_transforms.py", "tests/test_control_flow.py", "tests/test_branches.py",
        "tests/test_control_by_hand.py", "tests/test_export.py",
        "tests/converters",
    ],
    "tests": ["tests", "-n", "2"],
    "conformance": ["conformance", "-m", "not full", "-n", "2"],
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """An environment: its Python, and what is installed beside `nobuco[dev]`."""

    python: str
    needs: tuple[str, ...] = ()


ROWS = {
    "oldest": Row("3.10", ("torch==2.9.*", "tensorflow==2.18.*", "keras==3.8.*", "transformers==4.45.*")),
    "torch-2.9": Row("3.11", ("torch==2.9.*",)),
    "torch-2.13": Row("3.11", ("torch==2.13.*",)),
    "torch-2.14": Row("3.11", ("torch==2.14.*",)),
    "torch-2.15": Row("3.11", ("torch==2.15.*",)),
    "py310": Row("3.10"),
    "py311": Row("3.11"),
    "py312": Row("3.12"),
    "py313": Row("3.13"),
}


def main() -> None:
    options = _options()
    for name in [] if options.render else options.rows or ROWS:
        done = {} if options.again else _results().get(name, {}).get("checks", {})
        left = [check for check in options.checks if check not in done]
        for found in _run(name, left, options, done) if left else []:
            _record(name, found)
    PAGE.write_text(page(_results()))


def _results() -> dict[str, Any]:
    return dict(json.loads(RESULTS.read_text())) if RESULTS.exists() else {}


def _record(name: str, found: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps({**_results(), name: found}, indent=1, sort_keys=True) + "\n")


def _run(
    name: str, checks: Sequence[str], options: argparse.Namespace, done: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """What is to be said of a row, anew after each check."""
    row = ROWS[name]
    interpreter = options.python or shutil.which(f"python{row.python}")
    if interpreter is None:
        yield {"lacking": f"no Python {row.python} on the machine"}
        return
    folder = Path(options.work) / name
    try:
        python = Path(interpreter) if options.python else _environment(interpreter, row, folder)
        versions = _versions(python)
        for check in checks:
            done = {**done, check: {**_counts(python, CHECKS[check]), "date": date.today().isoformat()}}
            yield {"versions": versions, "checks": done}
    except subprocess.CalledProcessError as error:
        yield {"lacking": f"cannot be installed: {str(error.stderr).strip().splitlines()[-1]}"}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(interpreter: str, row: Row, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    for command in (
        [interpreter, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "-q", "-e", f"{ROOT}[dev]", *row.needs],
    ):
        subprocess.run(command, check=True, capture_output=True, text=True)
    return python


def _versions(python: Path) -> dict[str, str]:
    source = f"""
import json, platform
from importlib.metadata import PackageNotFoundError, version
found = {{"python": platform.python_version()}}
for name in {LIBRARIES}:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
import torch
print(json.dumps({{**found, "torch": torch.__version__}}))
"""
    done = subprocess.run([str(python), "-c", source], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def _counts(python: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """How the tests of a run ended, and which failed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "junit.xml"
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={file}", *arguments]
        path = f"{python.absolute().parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        status = subprocess.run(command, cwd=ROOT, env=environment).returncode
        if not file.exists():  # it ended before pytest could say anything
            return {"passed": 0, "failed": [f"the process ended with status {status}"]}
        return _counted(file)


def _counted(file: Path) -> dict[str, Any]:
    cases = list(ElementTree.parse(file).iter("testcase"))
    failed = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skips = [(c, skip) for c in cases if (skip := c.find("skipped")) is not None]
    known = [c for c, skip in skips if skip.get("type") == "pytest.xfail"]
    return {
        "passed": len(cases) - len(failed) - len(skips),
        "known gaps": len(known),
        "skipped": len(skips) - len(known),
        "failed": [f"{c.get('classname')}::{c.get('name')}" for c in failed],
    }


# -- the page ------------------------------------------------------------------------------------------


def page(results: Mapping[str, Any]) -> str:
    """docs/compatibility.md."""
    rows = "\n".join(_line(name, results.get(name, {})) for name in ROWS)
    failures = "\n".join(_failures(name, results.get(name, {})) for name in ROWS if _failed(results.get(name, {})))
    return f"""# Compatibility

Declared: Python 3.10 and later, PyTorch 2.9 and later, TensorFlow 2.18 and later, transformers 4.45 and later, none
with a bound above. With a PyTorch or TensorFlow newer than those below, nobuco warns once and goes on.

What was run, each row in an environment of its own. `demo` is the first command of the [README](../README.md), `slice`
what depends most on versions, `tests` and `conformance` (without what is marked `full`) are the second command. In a
cell: passed, then failed and known gaps where there are some, and the date; a dash where it was not run. A test that
failed and was mended was run again in its row's environment by itself, and counts as it was then.

| row | Python | PyTorch | TensorFlow, Keras | transformers | triton | {" | ".join(CHECKS)} |
|---|---|---|---|---|---|{"---|" * len(CHECKS)}
{rows}

{f"## What failed{chr(10)}{chr(10)}{failures}{chr(10)}{chr(10)}" if failures else ""}## Again

`tox -e oldest`, `newest`, `py310` … `py313` run the tests in one environment. This page is made by

```sh
python -m conformance.compatibility        # every row that is not done yet
python -m conformance.compatibility --help
```
"""


def _line(name: str, found: Mapping[str, Any]) -> str:
    if "lacking" in found:
        return f"| {name} | {ROWS[name].python} | {found['lacking']} | – | – | – |{' – |' * len(CHECKS)}"
    known = found.get("versions", {})
    cells = [known.get("python", ROWS[name].python), known.get("torch", " ".join(ROWS[name].needs) or "–")]
    cells += [", ".join(filter(None, [known.get("tensorflow"), known.get("keras")])) or "–"]
    cells += [known.get("transformers", "–"), known.get("triton", "–")]
    return f"| {name} | {' | '.join([*cells, *(_cell(found.get('checks', {}).get(check)) for check in CHECKS)])} |"


def _cell(check: Mapping[str, Any] | None) -> str:
    if check is None:
        return "–"
    failed = f", {len(check['failed'])} failed" if check["failed"] else ""
    gaps = f", {check['known gaps']} known gaps" if check.get("known gaps") else ""
    skipped = f", {check['skipped']} skipped" if check.get("skipped") else ""
    return f"{check['passed']}{failed}{gaps}{skipped} ({check['date']})"


def _failed(found: Mapping[str, Any]) -> dict[str, list[str]]:
    return {check: ran["failed"] for check, ran in found.get("checks", {}).items() if ran["failed"]}


def _failures(name: str, found: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: `{test}`" for test in sorted({t for tests in _failed(found).values() for t in tests}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--checks", nargs="+", default=["demo", "tests", "conformance"], choices=CHECKS)
    parser.add_argument("--python", help="the interpreter of an environment that is there, instead of a new one")
    parser.add_argument("--work", default=Path(tempfile.gettempdir()) / "nobuco-compatibility")
    parser.add_argument("--again", action="store_true", help="run what was run already")
    parser.add_argument("--render", action="store_true", help="only write the page")
    options = parser.parse_args()
    unknown = set(options.rows) - set(ROWS)
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
