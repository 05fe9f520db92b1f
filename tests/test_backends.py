"""Other converters through the plugin: a package of somebody's, installed by an entry point, in a child interpreter."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

NETS = """
    import sys
    import torch
    from torch import nn

    class Scaled(nn.Module):
        mode, _version = "", 7

        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.rand(3) + 0.5)

        def forward(self, image):
            return image * self.scale[:, None, None]

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
            if local_metadata.get("version") != 7:
                raise ValueError("weights of another version")
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    class Failing(Scaled):
        def forward(self, image):
            if "pytest" not in sys.modules:
                raise KeyError("only in the session")
            return super().forward(image)

    class Refused(Scaled):
        mode = "refused"

    class Hidden(Scaled):
        def __init__(self):
            super().__init__()
            self.hidden = torch.tensor(float("pytest" in sys.modules))

        def forward(self, image):
            return super().forward(image) + self.hidden

    class Other(Scaled):
        def __init__(self):
            super().__init__()
            if "pytest" not in sys.modules:
                self.more = nn.Linear(2, 2)
"""
ONLY_HERE = """
    import sys
    if "pytest" not in sys.modules:
        raise ImportError("only in the session")
    from nets import Scaled
"""
MARKED = """
    import pytest
    from torch import nn
    from nets import Scaled

    pytestmark = pytest.mark.convert(inputs=["1,3,4,5"], backend="good", orders=["nhwc"])

    class Own(Scaled):
        pass

    @pytest.fixture
    def made():
        return Own()

    @pytest.mark.convert
    @pytest.mark.parametrize("by", [1, 2])
    def scaled(made, by):
        made.scale.data *= by
        return made

    @pytest.mark.convert
    def local():
        class Local(Scaled):
            pass
        return Local()
"""


@pytest.fixture
def project(pytester: pytest.Pytester, no_worker: None) -> pytest.Pytester:
    """A project beside a package that brings the backends."""
    fake = (Path(__file__).parent / "fake_converter.py").read_text()
    pytester.makepyfile(fake_converter=fake, nets=NETS, only_here=ONLY_HERE)
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider\nmarkers = x\n")
    package = pytester.mkdir("fake_converter-1.0.dist-info")
    package.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: fake-converter\nVersion: 1.0\n")
    package.joinpath("entry_points.txt").write_text(
        "[nobuco.backends]\ngood = fake_converter:GOOD\noff = fake_converter:OFF\nnone = fake_converter:ORDERS\n"
    )
    return pytester


def run(project: pytest.Pytester, *words: str) -> pytest.RunResult:
    return project.runpytest_subprocess("-q", *words)


def models(*names: str) -> list[str]:
    return [*(word for name in names for word in ("--nobuco-model", name)), "--nobuco-input", "1,3,4,5"]


@pytest.mark.full
def test_several_are_held_to_the_same_comparison_and_stand_side_by_side(project):
    backends = [word for name in ("good", "off") for word in ("--nobuco-backend", name)]
    reports = [word for suffix in ("json", "md", "html") for word in ("--nobuco-report", f"out.{suffix}")]
    result = run(project, *models("nets.Scaled"), *backends, *reports)
    assert result.ret == 1
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines([
        "Scaled[[]off:nchw-nchw-static-npz[]]: npz differs from PyTorch",
        "  output 0: Values differ*off by 5.0e-01*",
        "  reproduce: pytest --nobuco-model nets.Scaled *--nobuco-backend off*",
    ])  # fmt: skip
    report = json.loads((project.path / "out.json").read_text())
    rows = {row["backend"]: row for row in report["backends"]["nets.Scaled"]}
    assert list(rows) == ["good", "off", "PyTorch eager"]
    assert rows["good"]["max_rel"] < 1e-6 and not rows["good"]["wrong"]
    assert rows["off"]["wrong"].startswith("output 0: Values differ")
    assert rows["good"]["operations"] == 1 and rows["off"]["operations"] is None
    assert rows["good"]["size"] == rows["off"]["size"] > 0
    assert all(rows[name]["peak"] > 1e7 and rows[name]["elsewhere"] for name in ("good", "off"))
    assert all(row["median"] > 0 for row in rows.values())
    (row,) = report["models"]
    cases = {cell["case"]: cell["outcome"] for cell in row["cases"]}
    assert cases == {
        "good:nchw-nchw-static-npz": "passed",
        "good:nhwc-nhwc-static-npz": "passed",
        "off:nchw-nchw-static-npz": "failed",
    }
    result.stdout.fnmatch_lines(["nets.Scaled", " *parity*transp.*", "  good * 0 *", "  off *✗*"])
    assert "| good |" in (project.path / "out.md").read_text()
    assert "<h2>Backends</h2>" in (project.path / "out.html").read_text()


@pytest.mark.full
def test_models_of_test_files_reach_the_other_interpreter(project):
    project.makepyfile(test_marked=MARKED)
    project.makeini(f"[pytest]\nnobuco_pythons = good={sys.executable}\n")
    result = run(project, "test_marked.py")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines([
        "local[[]good:nhwc-nhwc-static-npz[]]: the model cannot be sent to another interpreter (*local*): define its "
        "classes at the top of a module, or name the model with --nobuco-model",
    ])  # fmt: skip


@pytest.mark.full
def test_what_cannot_be_done_is_told_in_a_line(project):
    names = ["nets.Refused", "nets.Hidden", "nets.Other", "only_here.Scaled", "nets.Failing"]
    result = run(project, *models(*names), "--nobuco-backend", "good", "--nobuco-order", "nchw")
    result.assert_outcomes(failed=5)
    form = "good:nchw-nchw-static-npz"
    said = [
        line for line in result.outlines if line.startswith(("Refused[", "Hidden[", "Other[", "Scaled[", "Failing["))
    ]
    assert said[0] == f"Refused[{form}]: good failed while converting: ValueError: no rule for aten.scale"
    assert said[1].startswith(f"Hidden[{form}]: good failed while converting: the model computes something else there")
    assert said[2].startswith(f"Other[{form}]: good failed while converting: nets.Other takes other weights")
    assert "only_here" in said[3]
    assert said[3].startswith(f"Scaled[{form}]: good: {sys.executable} cannot import only_here.Scaled: ")
    assert said[3].endswith("only in the session")
    assert said[4].startswith(f"Failing[{form}]: good failed while converting: the model fails there, in PyTorch ")
    assert said[4].endswith(": KeyError: 'only in the session'")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nobuco-backend", "onx2tf"], "there is no backend 'onx2tf'; there are nobuco, litert-torch, onnx2tf, "
         "onnxruntime, good, none, off. Did you mean 'onnx2tf'?"),
        (["--nobuco-python", "good"], "--nobuco-python good: give NAME=PYTHON, e.g. litert-torch=/venv/bin/python"),
        (["--nobuco-python", "good=/no/python"], "--nobuco-python good=/no/python: there is no interpreter /no/python"),
        (["--nobuco-artifact", "net.tflite"], "--nobuco-artifact */net.tflite: there is no such file"),
        (["--nobuco-artifact", "nets.py"], "--nobuco-artifact */nets.py: give a .tflite, .keras or .onnx file, *"),
        (["--nobuco-artifact", "nets.py", "--nobuco-model", "nets.Other"], "--nobuco-artifact: name the model *"),
    ],
)  # fmt: skip
def test_wrong_options_are_told_before_anything_is_loaded(project, words, message):
    result = run(project, *models("nets.Scaled"), *words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{message.replace('[', '[[]')}"])


@pytest.mark.full
def test_the_backend_of_the_documentation(project):
    page = (Path(__file__).parents[1] / "docs" / "backends.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    project.makepyfile(export_backend=block)
    (entries,) = project.path.glob("*.dist-info/entry_points.txt")
    entries.write_text(f"{entries.read_text()}torch-export = export_backend:BACKEND\n")
    result = run(project, *models("nets.Scaled"), "--nobuco-backend", "torch-export")
    result.assert_outcomes(passed=1)
    assert len(block.splitlines()) < 25


def ids(project: pytest.Pytester, *words: str) -> list[str]:
    result = run(project, *models("nets.Scaled"), *words, "--collect-only")
    return [line.partition("[")[2].removesuffix("]") for line in result.outlines if line.startswith("nobuco::")]


def test_each_is_tried_in_the_forms_that_it_has(project):
    assert ids(project, "--nobuco-backend", "good", "--nobuco-backend", "onnxruntime", "--nobuco-order", "nchw") == [
        "good:nchw-nchw-static-npz",
        "onnxruntime:nchw-nchw-dynHW-onnx",
        "onnxruntime:nchw-nchw-static-onnx",
        "nchw-nchw-static-backends",
    ]


def test_a_form_that_one_has_not_is_an_error_that_says_which_it_has(project):
    result = run(project, *models("nets.Scaled"), "--nobuco-backend", "off", "--nobuco-order", "nhwc")
    result.stderr.fnmatch_lines([
        "*backend off has no form of what was asked for; it has nchw-nchw, static, runtime npz"
    ])  # fmt: skip


def test_quick_holds_for_each(project):
    backends = ["--nobuco-backend", "good", "--nobuco-backend", "nobuco", "--nobuco-quick"]
    assert ids(project, *backends, "--nobuco-dynamic", "none") == [
        "good:nhwc-nhwc-static-npz",
        "nhwc-nhwc-static-keras",
        "nhwc-nhwc-static-tflite",
        "nhwc-nhwc-static-backends",
    ]


def test_among_several_one_may_have_none_of_them(project):
    backends = ["--nobuco-backend", "off", "--nobuco-backend", "good"]
    wanted = ["good:nhwc-nhwc-static-npz", "nhwc-nhwc-static-backends"]
    assert ids(project, *backends, "--nobuco-order", "nhwc") == wanted


def test_an_entry_point_that_is_no_backend_is_named(project):
    result = run(project, *models("nets.Scaled"), "--nobuco-backend", "none")
    result.stderr.fnmatch_lines(["*backend none: fake_converter:ORDERS is no pytest_nobuco.backends.Backend"])
