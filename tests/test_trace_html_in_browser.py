"""The page of a report as a browser shows it."""

from __future__ import annotations

import pytest

from nobuco.report import Choice, Report, Status, save_html
from tests.browser import needs_chromium, probe
from tests.reports import call, off_by


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A hundred blocks, of which one has a call that is off."""
    path = tmp_path_factory.mktemp("page") / "trace.html"
    choices = (Choice(("TENSORFLOW",), ("TENSORFLOW",), 0, True),)

    def block(number):
        bad = {"status": Status.IMPRECISE, "own": off_by(1.0), "accumulated": off_by(1.0)} if number == 70 else {}
        where = f"blocks.{number}"
        conv = call("torch.nn.Conv2d", f"{where}.conv", accumulated=off_by(0.0), choices=choices)
        return call("net.Block", where, conv, call("torch.relu", transposed=int(number == 3), **bad))

    save_html(Report("Net", (call("net.Net", "", *map(block, range(100))),)), path)
    return path


NODES = """
    const nodes = [...document.querySelectorAll("#tree .node")];
    const label = (node) => node.querySelector(".label").firstChild.data.trim();
    const shown = () => nodes.filter((node) => node.checkVisibility()).map(label);
    const focused = () => label(document.activeElement);
    const key = (name) =>
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
    const pause = () => new Promise((done) => setTimeout(done, 200));
    const typed = async (words) => {
        const box = document.getElementById("search");
        box.value = words;
        box.dispatchEvent(new Event("input"));
        await pause();
    };
"""


@needs_chromium
class TestBrowser:
    @pytest.mark.parametrize("width", [500, 1280])
    def test_opens_the_way_to_the_culprit_and_scrolls_nowhere_sideways(self, page, width):
        said = probe(
            page,
            NODES
            + """
            said.shown = shown();
            said.over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
            document.getElementById("tab-graph").click();
            said.graph = [document.getElementById("tree").hidden, document.getElementById("graph").hidden];
            said.overGraph = document.documentElement.scrollWidth - document.documentElement.clientWidth;
            """,
            width,
        )
        assert said["errors"] == []
        assert said["shown"][:2] == ["Net", "blocks.0: Block"]
        assert len(said["shown"]) == 103
        assert said["shown"][72:75] == ["conv: Conv2d", "torch.relu", "blocks.71: Block"]
        assert said["graph"] == [True, False]
        assert (said["over"], said["overGraph"]) == (0, 0)

    def test_folds_by_keyboard(self, page):
        said = probe(
            page,
            NODES
            + """
            said.stops = document.querySelectorAll("#tree summary.call[tabindex='0']").length;
            document.querySelector("#tree summary.call[tabindex='0']").focus();
            said.first = focused();
            key("ArrowDown"); key("ArrowRight");
            said.opened = shown().slice(1, 4);
            key("ArrowRight");
            said.inside = focused();
            key("ArrowLeft"); key("ArrowLeft");
            said.closed = shown().slice(1, 3);
            key("End");
            said.last = focused();
            document.getElementById("fold").click();
            said.folded = shown();
            document.getElementById("unfold").click();
            said.unfolded = shown().length;
            """,
        )
        assert said["errors"] == []
        assert said["stops"] == 1
        assert said["first"] == "Net"
        assert said["opened"] == ["blocks.0: Block", "conv: Conv2d", "torch.relu"]
        assert said["inside"] == "conv: Conv2d"
        assert said["closed"] == ["blocks.0: Block", "blocks.1: Block"]
        assert said["last"] == "blocks.99: Block"
        assert said["folded"] == ["Net"]
        assert said["unfolded"] == 301

    def test_searches_and_filters_and_puts_back(self, page):
        said = probe(
            page,
            NODES
            + """
            const before = shown().length;
            const press = (kind) => document.querySelector(`[data-filter=${kind}]`).click();
            press("IMPRECISE");
            said.imprecise = shown();
            press("IMPRECISE"); press("TURNS");
            said.turns = shown();
            said.found = document.getElementById("found").textContent;
            said.dimmed = document.querySelectorAll(".stops li.off").length;
            press("TURNS");
            said.back = shown().length - before;
            press("DONE");
            await typed("blocks.7 conv");
            said.both = shown();
            """,
        )
        assert said["errors"] == []
        assert said["imprecise"] == ["Net", "blocks.70: Block", "torch.relu"]
        assert said["turns"] == ["Net", "blocks.3: Block", "torch.relu"]
        assert said["found"] == "1 of 301 calls"
        assert said["dimmed"] == 199
        assert said["back"] == 0
        assert said["both"][:3] == ["Net", "blocks.7: Block", "conv: Conv2d"]
        assert len(said["both"]) == 1 + 2 * 11

    def test_links_lead_to_calls_and_to_an_editor(self, page):
        said = probe(
            page,
            NODES
            + """
            const culprit = document.querySelector(".lesson a");
            document.getElementById("fold").click();
            culprit.click();
            await pause();
            said.shown = shown().slice(-30, -28);
            const anchors = [...document.querySelectorAll(".node.culprit > .inner .place a")];
            said.text = anchors[0].textContent;
            said.plain = anchors[0].hasAttribute("href");
            const editor = document.getElementById("editor");
            editor.value = "vscode";
            editor.dispatchEvent(new Event("change"));
            said.href = anchors[0].href;
            const theme = document.getElementById("theme");
            const ground = () => getComputedStyle(document.body).backgroundColor;
            said.light = ground();
            theme.value = "dark";
            theme.dispatchEvent(new Event("change"));
            said.dark = ground();
            """,
        )
        assert said["errors"] == []
        assert said["shown"] == ["torch.relu", "blocks.71: Block"]
        assert said["text"] == 'File "net.py", line 1'
        assert said["plain"] is False
        assert said["href"] == "vscode://file/net.py:1"
        assert (said["light"], said["dark"]) == ("rgb(255, 255, 255)", "rgb(20, 23, 26)")
