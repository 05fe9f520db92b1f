"""The table of versions: what pytest's file says of a run, and how it stands on the page."""

from conformance.compatibility import CHECKS, ROWS, _counted, page

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.test_a" name="test_1"/>
<testcase classname="tests.test_a" name="test_2"><failure message="no"/></testcase>
<testcase classname="tests.test_a" name="test_3"><error message="no"/></testcase>
<testcase classname="tests.test_b" name="test_4"><skipped type="pytest.xfail" message="known"/></testcase>
<testcase classname="tests.test_b" name="test_5"><skipped type="pytest.skip" message="not here"/></testcase>
</testsuite></testsuites>"""


def test_a_run_is_counted(tmp_path):
    file = tmp_path / "junit.xml"
    file.write_text(JUNIT)
    failed = ["tests.test_a::test_2", "tests.test_a::test_3"]
    assert _counted(file) == {"passed": 1, "known gaps": 1, "skipped": 1, "failed": failed}


def test_the_page_says_what_was_run_and_what_was_not():
    checks = {"tests": {"passed": 9, "known gaps": 1, "skipped": 0, "failed": ["tests.a::b"], "date": "2026-01-02"}}
    versions = {"python": "3.10.13", "torch": "2.9.1+cu128", "tensorflow": "2.18.1", "keras": "3.8.0"}
    lines = page(
        {"oldest": {"versions": versions, "checks": checks}, "py312": {"lacking": "no Python 3.12"}}
    ).splitlines()
    by_row = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    assert set(by_row) == {"row", *ROWS}
    assert "| – | – | 9, 1 failed, 1 known gaps (2026-01-02) | – |" in by_row["oldest"]
    assert "| 3.10.13 | 2.9.1+cu128 | 2.18.1, 3.8.0 | – | – |" in by_row["oldest"]
    assert "no Python 3.12" in by_row["py312"] and by_row["py311"].endswith("| – " * len(CHECKS) + "|")
    assert "- oldest: `tests.a::b`" in lines
    assert len({line.count("|") for line in by_row.values()}) == 1
