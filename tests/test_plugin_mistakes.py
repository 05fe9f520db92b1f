"""The plugin with a user's mistakes: one line, once, before TensorFlow loads; equal failures stand once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_plugin_named import project  # noqa: F401  a fixture

NETS = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, width=4):
            super().__init__()
            self.dense = nn.Linear(width, 2)

        def forward(self, x):
            return self.dense(x)

        def method(self):
            return self

    class Sized(nn.Module):
        def __init__(self, width):
            super().__init__()

    class Silent(nn.Module):
        def forward(self, x):
            return None

    class Unready(Net):
        def example_inputs(self):
            raise ValueError("no photographs")

    def fails():
        raise KeyError("no weights")

    number = 3.5
"""
INPUT = ["--nobuco-input", "1,4"]
MISTAKES = [
    (["nets.Nett", *INPUT], "nets.Nett: nets has no 'Nett'. Did you mean 'Net'?"),
    (["nowhere.Net", *INPUT], "nowhere.Net: there is no module 'nowhere'*"),
    (["nets.Net"], "nets.Net: its inputs are not given; *"),
    (["nets.Sized", *INPUT], "nets.Sized: making the model raised TypeError: *__init__() missing 1 required *'width'"),
    (["nets.Net.method", *INPUT], "nets.Net.method: making the model raised TypeError: *method() missing *'self'"),
    (["nets.fails", *INPUT], """nets.fails: making the model raised KeyError: 'no weights' (File "*nets.py", *)"""),
    (["nets.number", *INPUT], "nets.number: making the model raised TypeError: 'float' object is not callable"),
    (["torch.relu", *INPUT], "torch.relu: making the model raised TypeError: *"),
    (["nets.Net", "--nobuco-input", "1,5"], "nets.Net: the model fails in PyTorch itself on inputs float32[[]1, 5]: "
     """RuntimeError: mat1 and mat2 shapes *nets.py", line *)"""),
    (["nets.Net", *INPUT, *INPUT], "nets.Net: the model fails in PyTorch itself * takes 2 positional *"),
    (["nets.Net", "--nobuco-input", "y=1,4"], "nets.Net: the model fails *unexpected keyword argument 'y'*"),
    (["nets.Silent", *INPUT], "nets.Silent: the model gives no tensor in PyTorch, but the NoneType None: there is *"),
    (["nets.Unready"], "nets.Unready: its example_inputs() raised ValueError: no photographs (File *nets.py*"),
]  # fmt: skip


def told(result: pytest.RunResult) -> str:
    """The only line that tells of an error; nothing ran."""
    (line,) = [line for line in result.errlines if line.strip()]
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "Traceback" not in result.stdout.str() and "FAILURES" not in result.stdout.str()
    return line


RUN = """
    import contextlib, io, json, sys
    import pytest

    told = []
    for words in json.load(open("words.json")):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = pytest.main(["-p", "no:hypothesispytest", "-p", "no:cacheprovider", "--nobuco-model", *words])
        loaded = sorted({"tensorflow", "keras"} & set(sys.modules))
        told.append({"code": int(code), "out": out.getvalue(), "err": err.getvalue(), "loaded": loaded})
    json.dump(told, open("told.json", "w"))
"""


def test_a_mistake_is_one_line_before_tensorflow_loads(pytester):
    pytester.makepyfile(nets=NETS, run=RUN)
    (pytester.path / "words.json").write_text(json.dumps([words for words, _ in MISTAKES]))
    assert pytester.run(sys.executable, "run.py").ret == 0
    for (_, message), told in zip(MISTAKES, json.loads((pytester.path / "told.json").read_text()), strict=True):
        lines = [line for line in told["err"].splitlines() if line.strip()]
        assert (told["code"], len(lines), told["loaded"]) == (pytest.ExitCode.USAGE_ERROR, 1, []), told
        assert "Traceback" not in told["out"] and "FAILURES" not in told["out"]
        pytest.LineMatcher(lines).fnmatch_lines([f"ERROR: --nobuco-model: {message}"])


# A word, and what is wrong with it; PATH is a folder.
NO_NAMES = ["", "nets:", ":Net", "nets..Net", "nets:a:b"]
NO_FILES = [
    ("--nobuco-results", "/dev/full"), ("--nobuco-results", "PATH"), ("--nobuco-resume", "/dev/zero"),
    ("--nobuco-models", "/dev/zero"), ("--nobuco-xfails", "/dev/zero"), ("--nobuco-baseline", "/dev/zero"),
    ("--nobuco-xfails", "latin.txt"), ("--nobuco-baseline", "latin.txt"), ("--nobuco-models", "latin.txt"),
    ("--nobuco-baseline", "words.json"), ("--nobuco-baseline", "base.json"), ("--nobuco-resume", "cut.jsonl"),
    ("--nobuco-report", "/proc/report.html"), ("--nobuco-resume", "x" * 5000), ("--nobuco-artifact", "x" * 5000),
    ("--nobuco-order", "nhcw"), ("--nobuco-seed", "-1"), ("--nobuco-converters-from", "nets"),
]  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no such devices")
def test_wrong_words_are_one_line_and_devices_are_not_read(pytester):
    pytester.makepyfile(nets=NETS, run=RUN)
    folder = pytester.path
    (folder / "latin.txt").write_bytes("Net[*]  # gr\xfcn".encode("latin-1"))
    (folder / "cut.jsonl").write_text('{"session": 3}\n')
    words = [[name, *INPUT] for name in NO_NAMES]
    words += [["nets.Net", *INPUT, option, path.replace("PATH", str(folder))] for option, path in NO_FILES]
    (folder / "base.json").write_text(json.dumps({"format": 1, "errors": {"nets": {"0": "small"}}}))
    (folder / "words.json").write_text(json.dumps(words))
    assert pytester.run(sys.executable, "run.py", timeout=120).ret == 0
    for given, told in zip(words, json.loads((folder / "told.json").read_text()), strict=True):
        lines = [line for line in told["err"].splitlines() if "error: " in line.lower() and "usage:" not in line]
        assert (told["code"], len(lines), told["loaded"]) == (pytest.ExitCode.USAGE_ERROR, 1, []), (given, told)
        assert "Traceback" not in told["out"] + told["err"] and "INTERNALERROR" not in told["out"]


@pytest.mark.parametrize(
    "options",
    [
        ["-n2"],
        *(pytest.param(more, marks=pytest.mark.full) for more in (["--nobuco-isolate"], ["-n2", "--nobuco-isolate"])),
    ],
    ids=" ".join,
)
def test_a_mistake_is_told_once_in_several_processes(project, options):  # noqa: F811
    project.makepyfile(others="from fake_backend import Net\n\nnumber = 3\n\ndef made():\n    return 3")
    for name, message in (("others.nothing", "others has no 'nothing'."), ("others.made", "expected a model, got 3")):
        result = project.runpytest_subprocess("--nobuco-model", name, *options)
        assert told(result) == f"ERROR: --nobuco-model: {name}: {message}"
    project.runpytest_subprocess("--nobuco-model", "nets.Broken", *options).assert_outcomes(failed=4)


def test_the_only_model_is_made_and_converted_once(project):  # noqa: F811
    project.makepyfile(others="from fake_backend import Net\n\ndef made():\n    print('MADE')\n    return Net()")
    result = project.runpytest("--nobuco-model", "others.made", "-s")
    assert (result.stdout.str().count("MADE"), result.stdout.str().count("CONVERTED")) == (1, 2)


@pytest.mark.parametrize(
    "options", [["-n0"], ["-n2"], pytest.param(["--nobuco-isolate"], marks=pytest.mark.full)], ids=" ".join
)
def test_of_several_models_a_bad_one_fails_alone_and_is_shown_once(project, options):  # noqa: F811
    project.makepyfile(others="from fake_backend import Net\n\ndef fails():\n    raise KeyError('of the user')")
    names = ["nets.Nett", "nets.Net", "others.fails", "nets.Other"]
    models = [word for name in names for word in ("--nobuco-model", name)]
    result = project.runpytest_subprocess(*models, *options)
    result.assert_outcomes(passed=8, failed=4, errors=4)
    text = result.stdout.str()
    assert len(re.findall(r"^_+ .* _+$", text, re.MULTILINE)) == 2
    assert text.count("3 items like this one (-v shows each)") == 2
    fails = "fails[[]*: making the model raised KeyError: 'of the user' (*others.py\", line 4); --full-trace shows more"
    result.stdout.fnmatch_lines(["--nobuco-model: nets.Nett: nets has no 'Nett'. *", fails])
    in_full = text.partition("short test summary")[0]  # which repeats it, in CI whole
    assert in_full.count("KeyError: 'of the user'") == 1


def test_failures_that_differ_in_figures_alone_are_alike(project):  # noqa: F811
    project.makepyfile(
        others="""
        from fake_backend import Net

        class Wrong(Net):
            def __init__(self):
                super().__init__(error=0.5)
        """
    )
    models = ["--nobuco-model", "others.Wrong", "--nobuco-model", "nets.Broken"]
    result = project.runpytest(*models)
    result.assert_outcomes(failed=8)
    assert result.stdout.str().count("3 items like this one") == 2, "one of each model"
    assert result.stdout.str().count("FAILED ") == 2
    result = project.runpytest(*models, "-v")
    assert "like this one" not in result.stdout.str()
    assert sum(line.startswith("FAILED ") for line in result.outlines) == 8


def test_a_message_stands_once_in_ci_too(project, monkeypatch):  # noqa: F811
    monkeypatch.setenv("CI", "true")  # where pytest's list of failures has whole messages
    project.makepyfile(others="from fake_backend import Net\n\ndef wrong():\n    return Net(error=0.5)")
    result = project.runpytest_subprocess("--nobuco-model", "others.wrong", "-v")
    result.assert_outcomes(failed=4)
    assert sum("reproduce: " in line for line in result.outlines) == 4
    result.stdout.fnmatch_lines(["FAILED nobuco::wrong[[]*] - Failed: wrong[[]*]: * differs from PyTorch"])


def test_failures_of_other_tests_all_stand(project):  # noqa: F811
    project.makepyfile(test_own="import pytest\n@pytest.mark.parametrize('x', [1, 2])\ndef test_own(x): assert 0")
    result = project.runpytest("--nobuco-model", "nets.Broken", "test_own.py")
    result.assert_outcomes(failed=6)
    assert sum(line.startswith("FAILED test_own.py::test_own[") for line in result.outlines) == 2
    assert result.stdout.str().count("3 items like this one") == 1


def test_a_session_that_ends_by_a_mistake_is_not_complete(project):  # noqa: F811
    project.runpytest_subprocess("--nobuco-model", "nets.nothing", "--nobuco-results", "out.jsonl")
    made = subprocess.run(
        [sys.executable, "-m", "nobuco", "report", "out.jsonl"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 1 and "a session has not come to its end" in made.stderr
