"""The plugin's report as a page: what it shows, and what it does in a browser."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from nobuco.report.html.calls import read_graph
from pytest_nobuco.report.as_html import to_html
from pytest_nobuco.report.data import SuiteReport, rows_of, runtime_of
from pytest_nobuco.report.html_graph import graph_html
from tests.browser import dom, needs_chromium, probe, screenshot
from tests.html_page import Page
from tests.report_fixture import conversion_graph, converter_cell, full_report, model_cell

CASE = ("nhwc", "nhwc", "static", "tflite")


@pytest.fixture
def graph():
    return conversion_graph()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(to_html(full_report(conversion_graph())), encoding="utf-8")
    return path


# --- HTML


def test_html_is_well_formed_and_needs_nothing_from_elsewhere(graph):
    text = to_html(full_report(graph))
    page = Page(text)
    ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for _, attrs, _ in page.elements if "href" in attrs]
    assert links and {link.removeprefix("#") for link in links} <= set(ids)
    assert not [attrs for _, attrs, _ in page.elements if "src" in attrs or any(key.startswith("on") for key in attrs)]
    assert not re.search(r"https?://|@import|url\(", text)


def test_html_opens_what_fails_and_the_culprit(graph):
    page = Page(to_html(full_report(graph)))
    rows = page.by_class("row")
    assert [row[1]["data-name"] for row in rows[:5]] == [
        *("nets.nan", "nets.fragile", "nets.wrong", "nets.fine", "zoo.tokens")
    ]
    assert [row[1]["data-name"] for row in rows if "open" in row[1]] == [
        *("nets.nan", "nets.fragile", "nets.wrong", "torch.op_03")
    ]
    (rollup,) = page.by_class("rollup")
    assert "open" not in rollup[1]
    assert sum(rollup in page.parents(row) for row in rows) == 38
    (culprit,) = page.by_class("culprit", "node")
    folds = [element for element in [culprit, *page.parents(culprit)] if element[0] == "details"]
    assert len(folds) >= 4
    assert all("open" in element[1] for element in folds)


def test_html_shows_mark_and_figure_in_each_cell(graph):
    page = Page(to_html(full_report(graph)))
    body = " ".join(text for text, _ in page.text)
    for words in ("✓ 1.2e-06", "✗ NaN", "✗ 3.1e-03", "~ 2.5e-01"):
        assert words in re.sub(r"\s+", " ", body.replace("\n", " ")), words
    table = [element for element in page.by_class("cell", "failed") if any(e[0] == "td" for e in page.parents(element))]
    assert len(table) == 32 + 1 + 32


def test_html_strip_has_a_bar_for_each_measured_call_on_a_log_scale(graph):
    page = Page(to_html(full_report(graph)))
    bars, measured = page.by_class("bar", "off"), read_graph(graph).measured
    assert len([e for e in page.elements if e[0] == "a" and "bar" in (e[1].get("class") or "")]) == len(measured)
    assert len(bars) == sum(not call.accumulated.matches for call in measured)
    for bar, call in zip(bars, [call for call in measured if not call.accumulated.matches]):
        level = float(bar[1]["style"].removeprefix("--level: "))
        assert level == pytest.approx(1 + math.log10(call.accumulated.of_peak) / 8, abs=1e-3)
        assert bar[1]["aria-label"].startswith(call.label)


def test_html_says_so_when_no_call_is_off(graph):
    fine = {"name": "torch.relu", "status": "DONE", "accumulated": graph["outputs"][0] | {"matches": True}}
    cells = {runtime_of(cell): cell for cell in full_report(graph).cells if cell.fails}
    pages = {runtime: str(graph_html({"nodes": [fine]}, cell, "g", 0)) for runtime, cell in cells.items()}
    assert "look at the runtime, not at a converter" in pages["tflite"]
    assert "look at the runtime" not in pages["keras"]
    told = replace(cells["keras"], worst_node="scale (nets.scale), off by 1.0e-02")
    assert "Culprit: scale (nets.scale), off by 1.0e-02." in str(graph_html({"nodes": [fine]}, told, "g", 0))


def test_html_escapes_everything():
    evil = "<script>alert('x')</script>\"&\x00"
    node = {"name": evil, "path": evil, "status": "FAILED", "message": evil, "outputs": [evil], "defined": evil}
    cell = replace(
        model_cell(evil, CASE, 0.5, fails=True), conversion=evil, message=evil, bound=evil, case=evil, command=evil
    )
    latency = replace(full_report().latency[0], model=evil, device=evil, runtime=evil)
    converter = replace(converter_cell("a", "b", "xfailed", 0.5), message=evil)
    report = SuiteReport(
        rows_of([cell, converter]), graphs={evil: {"nodes": [node]}}, environment={evil: evil}, command=evil,
        latency=(latency,),
    )  # fmt: skip
    text = to_html(report)
    Page(text)
    assert text.count("<script>") == 2
    assert "\x00" not in text
    assert "&lt;script&gt;alert(&#x27;x&#x27;)" in text


def test_html_of_nothing():
    assert "No model ran" in to_html(SuiteReport(()))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_the_contrast_that_small_text_needs(scheme):
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    import nobuco.report.html

    css = (Path(nobuco.report.html.__file__).parent / "base.css").read_text()
    pairs = re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{3,6}), (#[0-9a-f]{3,6})\);", css)
    colours = {name: pair[("light", "dark").index(scheme)] for name, *pair in pairs}
    for name in ("text", "dim", "good", "bad", "gap", "link"):
        for ground in ("page", "panel", "bad-panel"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def contrast(one, other):
    def luminance(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


# --- the page in a browser


@needs_chromium
def test_browser_keeps_what_is_open_and_brings_the_comforts_to_life(page):
    rendered = Page(dom(page))
    (culprit,) = rendered.by_class("culprit", "node")
    assert "open" in culprit[1]
    assert "✗" in {text for text, _ in rendered.text}
    (filter_box,) = rendered.by_class("filter")
    assert "hidden" not in filter_box[1]
    bars = [e for e in rendered.elements if e[0] == "a" and "bar" in (e[1].get("class") or "")]
    assert [bar[1]["tabindex"] for bar in bars].count("0") == 1


@needs_chromium
@pytest.mark.parametrize("width", [420, 1200])
def test_browser_filters_walks_and_never_scrolls_sideways(page, tmp_path, width):
    script = """<script>
        const box = document.querySelector(".filter");
        box.elements.name.value = "op_1";
        box.elements.name.dispatchEvent(new Event("input", { bubbles: true }));
        const bar = document.querySelector(".bars [tabindex='0']");
        bar.focus();
        bar.dispatchEvent(new KeyboardEvent("keydown", { key: "Home", bubbles: true }));
        document.body.dataset.focus = document.activeElement.getAttribute("aria-label");
        document.body.dataset.over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    </script>"""
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{script}</body>"), encoding="utf-8")
    rendered = Page(dom(probed, width))
    body = next(attrs for tag, attrs, _ in rendered.elements if tag == "body")
    assert body["data-over"] == "0"
    assert body["data-focus"].startswith("0: Conv2d")
    converters = [row for row in rendered.by_class("row") if row[1]["data-name"].startswith("torch.")]
    assert len([row for row in converters if "hidden" not in row[1]]) == 10
    assert "open" in rendered.by_class("rollup")[0][1]


@needs_chromium
@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"outcome": "xfailed"}, {"xfailed": 20, "all": 20}),
        ({"runtime": "tflite", "outcome": "failed"}, {"failed": 10, "all": 10}),
        ({"runtime": "keras", "outcome": "failed"}, {"all": 0}),
        ({"name": "net7", "outcome": "skipped"}, {"skipped": 10, "all": 10}),
        ({}, {"all": 200}),
    ],
)
def test_browser_filters_800_items_by_name_runtime_and_outcome(tmp_path, chosen, expected):
    cells = []
    for model in range(200):
        outcome = {0: "failed", 1: "xfailed", 11: "xfailed"}.get(model % 20, "passed")
        for runtime in ("keras", "keras_file", "savedmodel", "tflite"):
            its = "skipped" if runtime == "keras" and model >= 70 else outcome if runtime == "tflite" else "passed"
            case = ("nhwc", "nhwc", "static", runtime)
            cell = model_cell(f"a_project.with_long.names_of.nets.Net{model}", case, 1e-6, fails=its == "failed")
            cells.append(replace(cell, outcome=its, axes={"runtime": runtime}))
    page = tmp_path / "many.html"
    page.write_text(to_html(SuiteReport(rows_of(cells))), encoding="utf-8")
    said = probe(
        page,
        f"""const filter = document.querySelector(".filter");
        for (const [name, value] of Object.entries({json.dumps(chosen)})) filter.elements[name].value = value;
        filter.elements.runtime.dispatchEvent(new Event("input", {{ bubbles: true }}));
        const rows = [...document.querySelectorAll(".row:not([hidden])")];
        said.rows = rows.map((row) => row.dataset.forms);
        said.told = filter.querySelector("output").textContent;
        said.over = document.documentElement.scrollWidth - document.documentElement.clientWidth;""",
        width=420,
    )
    assert (said["errors"], said["over"]) == ([], 0)
    assert len(said["rows"]) == expected["all"]
    assert said["told"] == (f"{expected['all']} of 200" if chosen else "")
    for outcome, count in expected.items():
        assert outcome == "all" or sum(f":{outcome}" in forms for forms in said["rows"]) == count


def test_bars_say_their_scale_where_there_are_no_heads_too():
    text = to_html(full_report())
    assert re.findall(r'<p class="scale dim">bars: (?:linear|logarithmic), [\d.]+ ms to [\d.]+ ms</p>', text)
    assert "log scale" not in text


@needs_chromium
def test_screenshots_in_light_and_dark_show_the_page(page, tmp_path):
    image = pytest.importorskip("PIL.Image", reason="pictures are read with Pillow: pip install pillow")
    grounds = {}
    for dark in (False, True):
        path = tmp_path / f"{dark}.png"
        screenshot(page, path, height=2400, dark=dark)
        picture = image.open(path).convert("RGB")
        assert picture.size == (1200, 2400)
        colours = {colour: number for number, colour in picture.getcolors(2**24)}
        ground = max(colours, key=colours.__getitem__)
        grounds[dark] = sum(ground)
        assert len(colours) > 100, "the page is blank"
        # Vermilion of the marks and bars: much red, little blue.
        assert sum(number for (red, _, blue), number in colours.items() if red - blue > 90) > 5000
        header = picture.crop((0, 0, 1200, 200)).getcolors(2**24)
        assert len(header) > 20, "there is no verdict at the top"
    assert grounds[False] > 700 > 100 > grounds[True]
