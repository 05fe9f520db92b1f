"""A file that somebody else made, held against the PyTorch model, through the plugin."""

from __future__ import annotations

import json

import pytest

NETS = """
    import torch
    from torch import nn

    class Net(nn.Module):
        '''Two inputs and outputs of one size each; no shape tells an order.'''

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(6, 6, 1)

        def forward(self, image, offset):
            made = self.conv(image + offset[:, :, None, None])
            return {"image": made, "mean": made.mean((2, 3))}

    class Other(Net):
        def __init__(self):
            torch.manual_seed(7)
            super().__init__()
"""
MAKE = """
    import keras
    import tensorflow as tf
    import torch
    import nobuco
    from nobuco.export import to_saved_model, to_tflite
    from nobuco.subject.model import built
    from nets import Net, Other

    inputs = [torch.randn(1, 6, 6, 6), torch.randn(1, 6)]
    for name, make, order in (("last", Net, "nhwc"), ("first", Net, "nchw"), ("other", Other, "nhwc")):
        model = built(make, 0)
        made = nobuco.pytorch_to_keras(
            model, inputs, inputs_channel_order=order, outputs_channel_order=order, verbose=False
        )
        with open(f"{name}.tflite", "wb") as file:
            file.write(to_tflite(made))
        if name == "last":
            made.save("last.keras")
            to_saved_model(made, "last_saved")
    # By hand, in another order of inputs and outputs than PyTorch's.
    model = built(Net, 0)
    weight, bias = model.conv.weight.detach().numpy()[:, :, 0, 0], model.conv.bias.detach().numpy()
    image, offset = keras.Input((6, 6, 6), batch_size=1, name="image"), keras.Input((6,), batch_size=1, name="offset")
    made = keras.layers.Conv2D(6, 1, name="made")
    x = made(image + keras.layers.Reshape((1, 1, 6))(offset))
    made.set_weights([weight.T[None, None], bias])
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    keras.Model([offset, image], [mean, x]).save("by_hand.keras")
    ran = keras.layers.Lambda(lambda x: (open("code_ran", "w"), x)[1])
    keras.Model(image, ran(image)).save("code.keras")
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the files, made in a process of its own, in which nothing of this one is loaded."""
    import subprocess
    import sys
    import textwrap

    folder = tmp_path_factory.mktemp("files")
    folder.joinpath("nets.py").write_text(textwrap.dedent(NETS))
    folder.joinpath("make.py").write_text(textwrap.dedent(MAKE))
    done = subprocess.run([sys.executable, "make.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    folder.joinpath("code_ran").unlink(missing_ok=True)
    folder.joinpath("not.tflite").write_bytes(b"no flatbuffer")
    return folder


def run(pytester, files, monkeypatch, *words: str):
    monkeypatch.chdir(files)
    model = [
        "--nobuco-model",
        "nets.Net",
        "--nobuco-input",
        "1,6,6,6",
        "--nobuco-input",
        "1,6",
        "--nobuco-report",
        "o.json",
    ]
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", "--rootdir", str(files), *model, *words)
    cells = json.loads((files / "o.json").read_text())["models"][0]["cases"]
    return result, {cell["case"]: cell for cell in cells}


def test_files_are_held_against_the_model(pytester, files, monkeypatch):
    names = ["last.tflite", "first.tflite", "last.keras", "last_saved", "by_hand.keras", "other.tflite", "code.keras",
             "not.tflite"]  # fmt: skip
    words = [word for name in names for word in ("--nobuco-artifact", name)]
    result, cells = run(pytester, files, monkeypatch, *words)
    outcomes = {case.partition(":")[0]: cell["outcome"] for case, cell in cells.items()}
    assert outcomes == dict.fromkeys(names[:5], "passed") | dict.fromkeys(names[5:], "failed")
    orders = {case.partition(":")[0]: cell["extra"].get("orders") for case, cell in cells.items()}
    assert orders["last.tflite"] == "inputs nhwc (tried), outputs nhwc (tried)"
    assert orders["first.tflite"] == "inputs nchw (tried), outputs nchw (tried)"
    assert orders["by_hand.keras"] == "inputs nhwc (tried), outputs nhwc (tried)"
    assert "Values differ" in cells["other.tflite:static-tflite"]["message"]
    assert "cannot be opened: ValueError" in cells["not.tflite:static-tflite"]["message"]
    assert "holds Python code (a Lambda layer), which is not run" in cells["code.keras:static-keras_file"]["message"]
    assert not (files / "code_ran").exists()
    assert "conversions" not in result.outlines[-12]
    assert json.loads((files / "o.json").read_text())["conversions"] == 0


@pytest.mark.full
def test_an_order_that_is_given_holds(pytester, files, monkeypatch):
    words = ["--nobuco-artifact", "last.tflite", "--nobuco-order", "nhwc", "--nobuco-order", "nchw"]
    _, cells = run(pytester, files, monkeypatch, *words)
    assert {case: cell["outcome"] for case, cell in cells.items()} == {
        "last.tflite:nchw-nchw-static-tflite": "failed",
        "last.tflite:nhwc-nhwc-static-tflite": "passed",
    }
