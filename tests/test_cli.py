"""`python -m nobuco`: what it writes, says and returns."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

import nobuco
import nobuco.registry
from nobuco.cli.main import main
from nobuco.export import run_tflite

NETS = """
    import torch
    from torch import nn

    import nobuco


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.conv(x).relu()


    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(9, 4)

        def forward(self, tokens, scale):
            return self.table(tokens) * scale

        def example_inputs(self):
            return {"tokens": torch.tensor([[1, 8, 3]]), "scale": torch.tensor(2.0)}


    @nobuco.traceable
    def halved(x):
        return x / 2


    @nobuco.converter(halved)
    def convert_halved(x):
        return lambda x: x / 3


    class Wrong(nn.Module):
        def forward(self, x):
            return halved(x)
"""


@pytest.fixture
def project(restored_registry, pytester):  # in this order: what pytester sees imported, it forgets
    pytester.makepyfile(nets=NETS)
    pytester.syspathinsert()
    return pytester.path


def net(seed=0):
    import nets

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nets.Net().eval()


def expected(model, image):
    return model(torch.from_numpy(image).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).detach().numpy()


def image(height=8, width=8):
    return np.random.default_rng(0).standard_normal((1, height, width, 3)).astype(np.float32)


def test_convert_to_tflite(project, capfd):
    assert main(["convert", "nets.Net", "-i", "1,3,8,8", "-o", "net.tflite"]) == 0
    (got,) = run_tflite((project / "net.tflite").read_bytes(), [image()])
    np.testing.assert_allclose(got, expected(net(), image()), atol=1e-5)
    out, err = capfd.readouterr()
    assert out.startswith("net.tflite  0.0 MB") and "conv" in err


def test_convert_to_keras_with_weights_and_dynamic_axes(project, capfd):
    torch.save(net(seed=7).state_dict(), "best.pt")
    words = ["--input", "1?,3,8?,8?", "--weights", "best.pt", "-o", "net.keras", "-q"]
    assert main(["convert", "nets.Net", *words]) == 0
    model = keras.models.load_model(project / "net.keras")
    np.testing.assert_allclose(model(image(11, 9)), expected(net(seed=7), image(11, 9)), atol=1e-5)
    assert not capfd.readouterr().out


def test_convert_to_a_saved_model_channels_first(project):
    orders = ["--input-order", "nchw", "--output-order", "nchw"]
    assert main(["convert", "nets.Net", "-i", "1,3,8,8", *orders, "-o", "net", "-q"]) == 0
    x = torch.from_numpy(image()).permute(0, 3, 1, 2)
    (got,) = tf.saved_model.load(str(project / "net")).signatures["serving_default"](tf.constant(x.numpy())).values()
    np.testing.assert_allclose(got, net()(x).detach(), atol=1e-5)


def test_convert_takes_the_models_own_inputs(project):
    assert main(["convert", "nets.Tokens", "--output-order", "nchw", "-o", "tokens.tflite", "-q"]) == 0
    (got,) = run_tflite((project / "tokens.tflite").read_bytes(), [np.array([[1, 8, 3]]), np.float32(2)])
    assert got.shape == (1, 3, 4)


def test_convert_to_integers(project):
    np.savez("images.npz", x=np.random.default_rng(1).standard_normal((20, 1, 8, 8, 3)).astype(np.float32))
    words = ["--precision", "int8", "--representative", "images.npz", "-o", "net.tflite", "-q"]
    assert main(["convert", "nets.Net", "-i", "1,3,8,8", *words]) == 0
    (got,) = run_tflite((project / "net.tflite").read_bytes(), [image()])
    wanted = expected(net(), image())
    assert not np.allclose(got, wanted, atol=1e-5)
    assert np.square(got - wanted).sum() < np.square(wanted).sum() / 1000  # 30 dB


def test_what_does_not_match_is_not_written_unless_forced(project, capfd):
    words = ["convert", "nets.Wrong", "-i", "1,3,8,8", "-o", "wrong.keras", "-q"]
    assert main(words) == 1
    assert not (project / "wrong.keras").exists()
    assert "the model does not match PyTorch, so wrong.keras is not written" in capfd.readouterr().err
    assert main([*words, "--force"]) == 0
    assert (project / "wrong.keras").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nets.Nett", "-o", "n.keras"], "nobuco convert: nets.Nett: nets has no 'Nett'. Did you mean 'Net'?"),
        (["nets.Net", "-o", "n.onnx"], "-o n.onnx: a model becomes *.tflite, *.keras, or a folder"),
        (["nets.Net", "-o", "no/n.keras"], "-o no/n.keras: there is no folder"),
        (["nets.Net", "-o", "n.keras"], "its inputs are not given"),
        (["nets.Net", "-o", "n.keras", "-i", "1,3,x"], "'x' is no whole number"),
        (["nets.Net", "-o", "n.keras", "-i", "1,3,8,8", "--weights", "none.pt"], "--weights none.pt: "),
        (["nets.Net", "-o", "n.keras", "--precision", "float16"], "--precision and --representative are for *.tflite"),
        (["nets.Net", "-o", "n.tflite", "--representative", "n.npz"], "--representative n.npz: "),
        (["nets.Net", "-o", "n.tflite", "--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_wrong_words(project, capfd, words, message):
    try:
        code = main(["convert", *words])
    except SystemExit as exit:  # as argparse ends
        code = exit.code
    assert code == 2
    assert message in capfd.readouterr().err
    assert not list(project.glob("n.*"))


def test_env_names_the_versions_that_a_bug_report_needs(capfd, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert main(["env"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert f"torch             {torch.__version__}" in lines
    assert "TF_ENABLE_ONEDNN_OPTS=0" in lines


def test_locate(capfd):
    assert main(["locate", "torch.nn.functional.gelu"]) == 0
    link, source = nobuco.locate_converter(torch.nn.functional.gelu)
    assert capfd.readouterr().out == f"{link}\n\n{source}"
    assert main(["locate", "torchvision::nms"]) == 0
    assert "nms" in capfd.readouterr().out
    assert main(["locate", "torch.nn.functional.no_such"]) == 2
    assert main(["locate", "torch.nn.Module"]) == 1
    assert "no converter is registered for torch.nn.Module" in capfd.readouterr().err


def test_coverage_of_an_operation_and_of_a_model(project, capfd):
    assert main(["coverage", "torch.nn.functional.gelu"]) == 0
    assert main(["coverage", "nets.Net", "-i", "1,3,8,8"]) == 0
    out = capfd.readouterr().out
    assert "gelu" in out and "✓ Net" in out
    with nobuco.registry.registry.restoring():
        nobuco.unregister_converter(torch.ops.aten.linalg_eig.default)
        assert main(["coverage", "torch.linalg.eig"]) == 1
    assert "no converter" in capfd.readouterr().out


@pytest.mark.full
def test_check_is_the_plugins_suite(project):
    words = ["-i", "1,3,8,8", "--max-abs-diff", "1e-4", "--nobuco-runtime", "tflite", "--nobuco-dynamic", "none"]
    words += ["--nobuco-order", "nhwc", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "nobuco", "check", "nets.Net", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
