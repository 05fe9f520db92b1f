"""The table of converters: each with its spellings, where its samples come from, and how many match in each form.

    pytest conformance/converters.py -n 2 --junitxml converters.xml
    python -m conformance.converters_table converters.xml

A cell says how many samples match of how many were tried: `8`, or `7/8` where one differs (a known gap, whose reason
`xfails.txt` gives); `-` where there is no such form. The parameters are those that samples vary, of all; behind them
those that are not, each with its reason.
"""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

FORMS = (
    "nchw-static-keras", "nchw-static-tflite", "nchw-dynamic-keras", "nchw-dynamic-tflite",
    "nhwc-static-keras", "nhwc-static-tflite", "nhwc-dynamic-keras", "nhwc-dynamic-tflite",
)  # fmt: skip


@dataclass
class Row:
    """One converter: spellings, parameters, a cell for each form in its main dtype, one for each further dtype."""

    spellings: str = ""
    parameters: str = ""
    forms: dict[str, str] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("junit", help="what `pytest --junitxml` wrote")
    cases = list(ElementTree.parse(parser.parse_args().junit).iter("testcase"))
    print("\n".join(table(cases)))


def table(cases: list[ElementTree.Element]) -> Iterator[str]:
    """The lines of the table, and under it how many items ended how."""
    rows: defaultdict[str, Row] = defaultdict(Row)
    outcomes: Counter[str] = Counter()
    for case in cases:
        known = {p.get("name"): p.get("value") or "" for p in case.iter("property")}
        if "nobuco_spellings" in known:
            _enter(rows[known["nobuco_model"]], known)
            outcomes[_outcome(case)] += 1
    yield "| converter | spellings | " + " | ".join(FORMS) + " | further dtypes | parameters |"
    yield "|---|---|" + "---|" * (len(FORMS) + 2)
    for name, row in sorted(rows.items()):
        cells = " | ".join(row.forms.get(form, "-") for form in FORMS)
        dtypes = ", ".join(f"{dtype} {cell}" for dtype, cell in sorted(row.dtypes.items()))
        yield f"| `{name}` | {row.spellings.count(',') + 1} | {cells} | {dtypes} | {row.parameters} |"
    yield ""
    yield f"{len(rows)} converters; items: " + ", ".join(f"{n} {what}" for what, n in sorted(outcomes.items()))


def _enter(row: Row, known: dict[str | None, str]) -> None:
    row.spellings = known["nobuco_spellings"]
    if known.get("nobuco_parameters"):
        row.parameters = " ".join(filter(None, (known["nobuco_parameters"], known.get("nobuco_idle"))))
    passed, tried = known["nobuco_samples_passed"], known["nobuco_samples"]
    cell = tried if passed == tried else f"{passed}/{tried}"
    order, shape, *dtype, runtime = known["nobuco_case"].split("-")
    form = f"{order}-{shape}-{runtime}"
    # The first of a converter's dtypes has all forms, the others just this one, which comes behind it.
    if form == "nhwc-static-keras" and form in row.forms:
        row.dtypes[dtype[0]] = cell
    else:
        row.forms[form] = cell


def _outcome(case: ElementTree.Element) -> str:
    for child in case:
        if child.tag == "skipped":
            return "known gaps" if child.get("type") == "pytest.xfail" else "skipped"
        if child.tag in ("failure", "error"):
            return "failed"
    return "passed"


if __name__ == "__main__":
    main()
