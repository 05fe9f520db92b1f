"""`python -m nobuco` with a user's mistakes: one line, an exit code, no traceback, and soon."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import nobuco.cli.convert
from nobuco.cli.main import main
from nobuco.errors import InputError

NETS = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = nn.Linear(4, 2)

        def forward(self, x):
            return self.dense(x)


    class Sized(nn.Module):
        def __init__(self, width):
            super().__init__()


    class Examples(Net):
        def example_inputs(self):
            raise KeyError("no examples")


    def function():
        return torch.relu


    number = 3.5
"""
CONVERT = ["convert", "nets.Net", "-i", "1,4", "-o", "net.tflite", "-q"]


@pytest.fixture
def project(restored_registry, pytester):
    pytester.makepyfile(nets=NETS, broken="import torch\nraise RuntimeError('half done')", script="raise SystemExit(3)")
    pytester.syspathinsert()
    (pytester.path / "empty.pt").touch()
    (pytester.path / "folder").mkdir()
    torch.save(torch.ones(2), "tensor.pt")
    torch.save({"other": torch.ones(2)}, "other.pt")
    np.save("array.npy", np.ones(3))
    np.savez("nothing.npz")
    np.savez("uneven.npz", x=np.ones((3, 1, 4)), y=np.ones((2, 1, 4)))
    np.savez("shape.npz", x=np.ones((3, 1, 5), np.float32))
    np.savez("double.npz", x=np.ones((3, 1, 4)))
    return pytester.path


def told(words, capfd):
    """The exit code and the only line on standard error."""
    try:
        code = main(words)
    except SystemExit as exit:  # as argparse ends
        code = exit.code
    out, err = capfd.readouterr()
    assert "Traceback" not in err and not out
    return code, err.strip().splitlines()[-1]


INT8 = ["--precision", "int8", "--representative"]
# The words, the exit code, and what the line says.
WRONG = [
    (["convert", "nets.Nett", "-o", "n.keras"], 2, "nets has no 'Nett'. Did you mean 'Net'?"),
    (["convert", "nowhere.Net", "-o", "n.keras"], 2, "there is no module 'nowhere'"),
    (["convert", "", "-o", "n.keras"], 2, "importing  failed: ValueError"),
    (["convert", "nets.Net:", "-o", "n.keras"], 2, "there is no module 'nets.Net'"),
    (["convert", "broken.Net", "-o", "n.keras"], 2, "importing broken failed: RuntimeError: half done"),
    (["convert", "script.Net", "-o", "n.keras"], 2, "importing script failed: SystemExit: 3"),
    (["convert", "nets.number", "-i", "1", "-o", "n.keras"], 2, "nets.number: making the model raised TypeError"),
    (["convert", "nets.Sized", "-i", "1", "-o", "n.keras"], 2, "raised TypeError: .* argument: 'width'"),
    (["convert", "nets.Examples", "-o", "n.keras"], 2, "its example_inputs\\(\\) raised KeyError: 'no examples'"),
    (["convert", "nets.Net", "-o", "n.keras"], 2, "its inputs are not given"),
    ([*CONVERT[:4], "-o=--"], 2, "-o=--: '--' is no value"),
    (["convert", "nets.Net", "-i", "1,4"], 2, "the following arguments are required: -o/--output"),
    ([*CONVERT, "-i", "1,4"], 2, r"the model fails in PyTorch itself .*TypeError: .*forward\(\) takes 2 positional"),
    ([*CONVERT, "-i", "y=1,4"], 2, r"the model fails in PyTorch itself .*TypeError: .*unexpected keyword argument 'y'"),
    ([*CONVERT[:3], "1=1,4", *CONVERT[4:]], 2, "'1' is no keyword"),
    ([*CONVERT[:3], "1,5", *CONVERT[4:]], 2, r"the model fails .*\[1, 5\]: RuntimeError: mat1 .*nets.py\", line 11\)"),
    ([*CONVERT[:3], "1,4:int64", *CONVERT[4:]], 2, r"the model fails .*\[1, 4\]: RuntimeError: .*nets.py\", line 11\)"),
    ([*CONVERT[:3], "1,-4", *CONVERT[4:]], 2, "a size is never negative"),
    ([*CONVERT, "--seed", "x"], 2, "'x' is no seed; it is a whole number from 0"),
    ([*CONVERT, "--seed", str(10**30)], 2, "is no seed; it is a whole number from 0"),
    ([*CONVERT, "--max-abs-diff", "-1"], 2, "'-1' is no number from 0 up"),
    ([*CONVERT, "--max-abs-diff", "nan"], 2, "'nan' is no number from 0 up"),
    ([*CONVERT, "--precision", "int4"], 2, "invalid choice: 'int4'"),
    ([*CONVERT, "--precision", "int8"], 2, "--precision int8 needs --representative NPZ"),
    ([*CONVERT, *INT8, "none.npz"], 2, "--representative none.npz: FileNotFoundError"),
    ([*CONVERT, *INT8, "empty.pt"], 2, "--representative empty.pt: EOFError"),
    ([*CONVERT, *INT8, "folder"], 2, "--representative folder: IsADirectoryError"),
    ([*CONVERT, *INT8, "array.npy"], 2, "--representative array.npy: give a file that np.savez wrote"),
    ([*CONVERT, *INT8, "nothing.npz"], 2, "--representative nothing.npz: give a file that np.savez wrote"),
    ([*CONVERT, *INT8, "uneven.npz"], 2, r"as many samples .*\(3, 1, 4\), \(2, 1, 4\)"),
    ([*CONVERT, *INT8, "shape.npz"], 2, r"representative: a sample's 'x' .* of shape \(1, 5\) .* takes \(1, 4\)"),
    ([*CONVERT, *INT8, "double.npz"], 2, "representative: a sample's 'x' .* float64"),
    ([*CONVERT, "--weights", "none.pt"], 2, "--weights none.pt: .*No such file"),
    ([*CONVERT, "--weights", "folder"], 2, "--weights folder: .*directory"),
    ([*CONVERT, "--weights", "empty.pt"], 2, "--weights empty.pt: "),
    ([*CONVERT, "--weights", "array.npy"], 2, "--weights array.npy: "),
    (
        [*CONVERT, "--weights", "tensor.pt"],
        2,
        r"--weights tensor.pt: it holds float32\[2\]; give a file",
    ),
    ([*CONVERT, "--weights", "other.pt"], 2, "Unexpected key"),
    (["convert", "nets.function", *CONVERT[2:], "--weights", "other.pt"], 2, "which has no state_dict"),
    ([*CONVERT[:4], "-o", "folder/none/n.keras"], 2, "there is no folder"),
    ([*CONVERT[:4], "-o", "n.onnx"], 2, "a model becomes"),
    ([*CONVERT[:4], "-o", "/proc/n.keras"], 2, "nothing can be written to /proc"),
    ([*CONVERT, "--html", "none/page.html"], 2, "cannot write the HTML trace to|save_trace_html"),
    ([*CONVERT, "--input-order", "hwc"], 2, "invalid choice: 'hwc'"),
    (["coverage", "nets.Nett"], 2, "nets has no 'Nett'"),
    (["coverage", "torch.nn.functional.gelU"], 2, "has no 'gelU'. Did you mean 'gelu'?"),
    (["coverage", "nets.Net"], 2, "its inputs are not given"),
    (["coverage", "nets.number"], 2, "subject is float, which cannot be called"),
    (["locate", "torch.no_such"], 2, "torch has no 'no_such'"),
    (["locate", "torch.pi"], 2, "operation is 3.14"),
    (["locate", "nets.Net"], 1, "no converter is registered for nets.Net"),
    (["locate"], 2, "the following arguments are required: operation"),
    (["check", "nets.Nett", "-i", "1,4"], 2, "nobuco check: nets.Nett: nets has no 'Nett'"),
    (["check", "nets.Net", "--max-abs-diff", "x"], 2, "invalid bound value: 'x'"),
    (["chekc"], 2, "invalid choice: 'chekc'"),
    ([], 2, "the following arguments are required: COMMAND"),
]


@pytest.mark.parametrize(("words", "code", "message"), WRONG, ids=[" ".join(words)[-40:] for words, _, _ in WRONG])
def test_a_mistake_is_one_line(project, capfd, words, code, message):
    found, line = told(words, capfd)
    assert (found, bool(re.search(message, line))) == (code, True), line
    assert not list(project.glob("n.*")) and not list(project.glob("net.*"))


def test_an_interrupted_conversion(project, capfd, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(nobuco.cli.convert, "_converted", interrupted)
    assert told(CONVERT, capfd) == (130, "nobuco convert: interrupted")


def test_a_traceback_on_request(project):
    with pytest.raises(InputError, match="mat1 and mat2") as error:
        main([*CONVERT[:3], "1,5", *CONVERT[4:], "--traceback"])
    assert isinstance(error.value.__cause__, RuntimeError)


def test_wrong_names_are_told_before_tensorflow_loads(project):
    before = ("nets", "--weights", "--repres", "torch has", "the model fails")
    wrong = [words for words, code, message in WRONG if message.startswith(before)]
    assert len(wrong) > 10
    program = (
        "import sys\nfrom nobuco.cli.main import main\n"
        f"codes = [main(words) for words in {wrong!r}]\n"
        "print(set(codes), {'tensorflow', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "{2} set()\n", done.stderr


@pytest.mark.full
def test_a_reader_who_leaves(project):
    command = f"{sys.executable} -m nobuco locate torch.nn.functional.gelu | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.startswith('File "') and "Traceback" not in done.stderr and "Broken" not in done.stderr
