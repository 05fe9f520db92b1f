"""nobuco beside its peers: every network of conformance.models through each converter, in one run.

python -m conformance.peers --python litert-torch=VENV/bin/python --python onnx2tf=VENV/bin/python
python -m conformance.peers --render       # PEERS.md and the README's table, of what is measured already

A network that conformance/peers.jsonl has is not measured again; delete its line, or the file, to do so. Each network
is one `pytest --nobuco-backend ...`, whose item puts the backends side by side.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from conformance.models import CASES, Case
from nobuco import ChannelOrder
from pytest_nobuco.backends.table import EAGER, BackendRow
from pytest_nobuco.report.lines import read_lines

HERE = Path(__file__).parent
RESULTS, PAGE, README = HERE / "peers.jsonl", HERE / "PEERS.md", HERE.parent / "README.md"
BACKENDS = ("nobuco", "litert-torch", "onnx2tf")
_SECONDS, _GIGABYTES = 1500, 10
_MOST_LETTERS = 160
_START, _END = "<!-- peers: python -m conformance.peers writes this table -->", "<!-- end of peers -->"


@dataclass(frozen=True)
class Network:
    """What was measured of one network: when, at which commit, and a row for each backend."""

    name: str
    orders: str
    date: str
    commit: str
    processor: str
    rows: tuple[BackendRow, ...]

    def row(self, backend: str) -> BackendRow | None:
        """The row of a backend."""
        return next((row for row in self.rows if row.backend == backend), None)


def main() -> None:
    """Measure what is not measured yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks of conformance.models (default: all)")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PYTHON", help="a peer's interpreter")
    parser.add_argument("--render", action="store_true", help="write the page of what is measured already")
    given = parser.parse_args()
    done = {network.name for network in measured()}
    for case in CASES:
        if given.render or case.name in done or (given.names and case.name not in given.names):
            continue
        network = _measure(case, given.python)
        print(f"{case.name}: {'no result' if network is None else 'measured'}", flush=True)
        if network is not None:
            with RESULTS.open("a", encoding="ascii") as file:
                file.write(json.dumps(asdict(network)) + "\n")
            _render()
    _render()


def measured() -> list[Network]:
    """What there is, in the order of the networks."""
    if not RESULTS.exists():
        return []
    found = {}
    for line in RESULTS.read_text().splitlines():
        data = json.loads(line)
        found[data["name"]] = Network(**{**data, "rows": tuple(BackendRow(**row) for row in data["rows"])})
    return [found[case.name] for case in CASES if case.name in found]


def _measure(case: Case, pythons: Sequence[str]) -> Network | None:
    """Run the item; None if it did not come to a table."""
    words = {ChannelOrder.PYTORCH: "nchw", ChannelOrder.TENSORFLOW: "nhwc"}
    orders = f"{words[case.order]}-{words[case.outputs_order]}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.jsonl")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-k", "static-backends"]
        command += ["--nobuco-model", f"conformance.by_name.{case.name}", "--nobuco-order", orders]
        command += [word for name in BACKENDS for word in ("--nobuco-backend", name)]
        command += [word for python in pythons for word in ("--nobuco-python", python)]
        command += [f"--nobuco-timeout={_SECONDS}", f"--nobuco-memory={_GIGABYTES}", f"--nobuco-results={path}"]
        subprocess.run(command, stdout=sys.stderr, check=False)
        lines = read_lines([path])
    tables = [told.result.extra["backends"] for told in lines.told if told.result and told.result.extra]
    if not tables:
        return None
    environment: Mapping[str, Any] = lines.sessions[-1].get("environment", {})
    return Network(
        case.name, orders, str(datetime.date.today()), _commit(), str(environment.get("processor", "")),
        tuple(_shortened(BackendRow(**row)) for row in tables[-1]),
    )  # fmt: skip


def _shortened(row: BackendRow) -> BackendRow:
    data = asdict(row)
    for name in ("problem", "wrong"):
        lines = data[name].splitlines()
        data[name] = " … ".join(
            " ".join(line.split())[:_MOST_LETTERS] for line in dict.fromkeys([*lines[:1], *lines[-1:]])
        )
    return BackendRow(**data)


def _commit() -> str:
    """The last commit that changed the converter."""
    command = ["git", "-C", str(HERE.parent), "log", "-1", "--format=%h", "--", "nobuco"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def _render() -> None:
    networks = measured()
    if networks:
        PAGE.write_text("\n".join(page(networks)) + "\n")
        _into_readme(networks)


@dataclass(frozen=True)
class Column:
    """A figure that is better the smaller it is; beaten where a peer's is smaller by more than `slack`."""

    name: str
    figure: Callable[[BackendRow], float | None]
    form: str
    slack: float = 0.0


COLUMNS = (
    Column("parity", lambda row: row.max_rel, "{:.1e}", 1.0),
    Column("TRANSPOSE", lambda row: row.transpositions, "{:.0f}"),
    Column("operations", lambda row: row.operations, "{:.0f}"),
    Column("MB", lambda row: row.size and row.size / 1e6, "{:.2f}", 0.01),
    Column("processor s", lambda row: row.cpu_seconds, "{:.1f}", 0.1),
    Column("GB", lambda row: row.peak and row.peak / 1e9, "{:.1f}", 0.1),
    Column("ms", lambda row: row.median and row.median * 1e3, "{:.3g}", 0.05),
)


def page(networks: Sequence[Network]) -> Iterator[str]:
    """The page of all networks."""
    yield "# nobuco beside its peers"
    yield ""
    yield from _head(networks)
    yield ""
    for column in COLUMNS:
        yield f"## {_TITLES[column.name]}"
        yield ""
        yield from _table(networks, column)
        yield ""
    yield from _problems(networks)
    yield ""
    yield "## Where a peer is better"
    yield ""
    yield from _beaten(networks)


_TITLES = {
    "parity": "Parity: the largest difference from PyTorch, as a fraction of the output's largest element",
    "TRANSPOSE": "TRANSPOSE operations in the file",
    "operations": "Operations in the file",
    "MB": "Size of the file in MB",
    "processor s": "Seconds of processor time for the conversion, from the model to the file",
    "GB": "The largest memory of the process in GB",
    "ms": "Latency in ms: the median on one thread of XNNPACK, all files of a network in turns in one process",
}


def _head(networks: Sequence[Network]) -> Iterator[str]:
    dates, commits = _range([network.date for network in networks]), _distinct([n.commit for n in networks])
    versions = [
        f"{name} ({_distinct([row.version for n in networks if (row := n.row(name)) and row.version])})"
        for name in BACKENDS[1:]
    ]
    processors = _distinct([network.processor for network in networks])
    peers = " and ".join(versions)
    left = [case.name for case in CASES if case.name not in {network.name for network in networks}]
    yield from textwrap.wrap(
        f"`python -m conformance.peers`, {dates}: {len(networks)} of the {len(CASES)} networks of "
        f"`conformance/models.py` through nobuco ({commits}), {peers}, each in an interpreter of its own with the same"
        " weights. Inputs and outputs lie as in [RESULTS.md](RESULTS.md) where a peer can give that; onnx2tf chooses "
        "by itself how outputs lie, and is given what `torch.onnx` writes or, where that is wrong or not taken, what "
        f"the older exporter does. {processors}; other work ran meanwhile, so that times are to be compared within a "
        f"row. A conversion may take {_SECONDS} s and {_GIGABYTES} GB. nobuco's has the check of every node in it. "
        "**Bold**: a peer is better than nobuco; at parity by a factor of two, at the file's size by 1 %, at time and"
        f" memory by 10 %, at latency by 5 %. Not measured yet: {', '.join(left) or 'none'}.",
        width=120,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _table(networks: Sequence[Network], column: Column) -> Iterator[str]:
    names = [*BACKENDS, *([EAGER] if column.name == "ms" else [])]
    yield f"| network | {' | '.join(names)} |"
    yield "|---|" + "---:|" * len(names)
    for network in networks:
        cells = [_cell(network, network.row(name), column) for name in names]
        yield f"| {network.name} | {' | '.join(cells)} |"


def _cell(network: Network, row: BackendRow | None, column: Column) -> str:
    if row is None or row.problem:
        return "fails" if row else "–"
    figure = column.figure(row)
    text = "–" if figure is None else column.form.format(figure)
    if column.name == "parity" and row.wrong:
        return f"wrong ({text})"
    return f"**{text}**" if is_better(network, row, column) else text


def is_better(network: Network, row: BackendRow, column: Column) -> bool:
    """Whether a peer that is right is better than nobuco in a column."""
    ours = network.row(BACKENDS[0])
    if row.backend in (BACKENDS[0], EAGER) or row.problem or row.wrong or ours is None:
        return False
    figure, own = column.figure(row), None if ours.problem else column.figure(ours)
    return figure is not None and (own is None or figure * (1 + column.slack) < own)


def _problems(networks: Sequence[Network]) -> Iterator[str]:
    yield "## What fails or is wrong"
    yield ""
    told = [
        f"- {network.name}, {row.backend}: {'wrong: ' if row.wrong else ''}{row.problem or row.wrong}"
        for network in networks
        for row in network.rows
        if row.problem or row.wrong
    ]
    yield from told or ["Nothing."]


def _beaten(networks: Sequence[Network]) -> Iterator[str]:
    for column in COLUMNS:
        told = []
        for network in networks:
            ours = network.row(BACKENDS[0])
            better = [row for row in network.rows if is_better(network, row, column)]
            figures = ", ".join(f"{row.backend} {column.form.format(column.figure(row))}" for row in better)
            if figures and ours is not None:
                own = column.figure(ours)
                told.append(f"{network.name} ({figures}; nobuco {'–' if own is None else column.form.format(own)})")
        yield f"- {column.name}: {'; '.join(told) or 'nowhere'}."


def _into_readme(networks: Sequence[Network]) -> None:
    """Put the table of TRANSPOSE operations where the README marks its place."""
    text = README.read_text()
    if _START not in text:
        return
    before, _, rest = text.partition(_START)
    README.write_text(f"{before}{_START}\n{chr(10).join(readme_table(networks))}\n{_END}{rest.partition(_END)[2]}")


def readme_table(networks: Sequence[Network]) -> Iterator[str]:
    """TRANSPOSE operations, networks that have the same together; bold where a peer has fewer."""
    versions = {
        name: next((row.version for n in networks if (row := n.row(name)) and row.version), "") for name in BACKENDS
    }
    heads = ["this", *(versions[name].partition(",")[0] or name for name in BACKENDS[1:])]
    yield f"| network | {' | '.join(heads)} |"
    yield "|---|" + "---|" * len(heads)
    grouped: dict[tuple[str, ...], list[str]] = {}
    for network in networks:
        cells = tuple(_short(network, network.row(name)) for name in BACKENDS)
        grouped.setdefault(cells, []).append(network.name)
    for cells, names in grouped.items():
        yield f"| {', '.join(names)} | {' | '.join(cells)} |"


def _short(network: Network, row: BackendRow | None) -> str:
    if row is None or row.problem:
        return "fails"
    if row.wrong:
        return "wrong"
    transpositions = next(column for column in COLUMNS if column.name == "TRANSPOSE")
    return f"**{row.transpositions}**" if is_better(network, row, transpositions) else str(row.transpositions)


def _range(words: Sequence[str]) -> str:
    first, last = min(words), max(words)
    return first if first == last else f"{first} to {last}"


def _distinct(words: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(words))


if __name__ == "__main__":
    main()
