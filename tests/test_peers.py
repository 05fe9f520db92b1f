"""The page of peers: wherever one is better, it says so; what is wrong or fails is never better."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from conformance import peers
from conformance.peers import COLUMNS, Network, is_better, page, readme_table
from pytest_nobuco.backends.table import BackendRow

OURS = BackendRow("nobuco", "", "", 1e-6, 1, 10, 1_000_000, 3.0, 2.0, 1e9, 0.010)


def network(**peer) -> Network:
    """A network with one peer that is nobuco's equal, but for what is said."""
    row = replace(OURS, backend="litert-torch", version="litert-torch 0.10.0", **peer)
    failing = BackendRow("onnx2tf", problem="onnx2tf failed while converting: no rule")
    return Network("UNet", "nhwc-nhwc", "2026-11-28", "abcdef0", "a processor", (OURS, row, failing))


def column(name: str):
    return next(each for each in COLUMNS if each.name == name)


@pytest.mark.parametrize(
    ("name", "better", "equal"),
    [
        ("parity", {"max_rel": 4e-7}, {"max_rel": 6e-7}),
        ("TRANSPOSE", {"transpositions": 0}, {"transpositions": 1}),
        ("operations", {"operations": 9}, {"operations": 10}),
        ("MB", {"size": 980_000}, {"size": 995_000}),
        ("processor s", {"cpu_seconds": 1.7}, {"cpu_seconds": 1.9}),
        ("GB", {"peak": 0.8e9}, {"peak": 0.95e9}),
        ("ms", {"median": 0.0090}, {"median": 0.0099}),
    ],
)
def test_where_a_peer_is_better_it_says_so(name, better, equal):
    found = "\n".join(page([network(**better)]))
    cell = column(name).form.format(column(name).figure(network(**better).rows[1]))
    assert f"| **{cell}** |" in found
    assert f"- {name}: UNet (litert-torch {cell}; nobuco " in found
    assert f"- {name}: nowhere." in "\n".join(page([network(**equal)]))


def test_what_is_wrong_or_fails_is_not_better():
    wrong = network(wrong="output 0: Values differ", max_rel=1e-9, transpositions=0, median=0.001)
    assert not any(is_better(wrong, row, each) for row in wrong.rows for each in COLUMNS)
    found = "\n".join(page([wrong]))
    assert "| wrong (1.0e-09) | fails |" in found
    assert "- UNet, litert-torch: wrong: output 0: Values differ" in found
    assert "- UNet, onnx2tf: onnx2tf failed while converting: no rule" in found


def test_a_peer_is_better_where_nobuco_fails():
    there = network()
    failing = replace(there, rows=(BackendRow("nobuco", problem="no converter"), *there.rows[1:]))
    assert is_better(failing, failing.rows[1], column("TRANSPOSE"))
    assert "- TRANSPOSE: UNet (litert-torch 1; nobuco –)." in list(page([failing]))


def test_networks_with_the_same_figures_share_a_row_of_the_readme():
    others = [replace(network(wrong="so"), name="a"), replace(network(transpositions=0), name="b")]
    found = list(readme_table([network(), replace(network(), name="resnet18"), *others]))
    assert found == [
        "| network | this | litert-torch 0.10.0 | onnx2tf |",
        "|---|---|---|---|",
        "| UNet, resnet18 | 1 | 1 | fails |",
        "| a | 1 | wrong | fails |",
        "| b | 1 | **0** | fails |",
    ]


def test_of_a_network_measured_twice_the_last_counts(tmp_path, monkeypatch):
    lines = [json.dumps(asdict(network(transpositions=number))) for number in (5, 7)]
    (tmp_path / "peers.jsonl").write_text("\n".join(lines))
    monkeypatch.setattr(peers, "RESULTS", tmp_path / "peers.jsonl")
    (found,) = peers.measured()
    assert found == network(transpositions=7)


def test_the_readme_keeps_what_is_around_the_table(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{peers._START}\nold\n{peers._END}\nafter\n")
    monkeypatch.setattr(peers, "README", readme)
    peers._into_readme([network()])
    first, *_, end, after = readme.read_text().splitlines()
    assert (first, end, after) == ("before", peers._END, "after")
    assert "| UNet | 1 | 1 | fails |" in readme.read_text() and "old" not in readme.read_text()
