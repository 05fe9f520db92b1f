"""Settings of Keras that nobuco cannot work with are named in one line, before another library fails."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import pytest
import torch

import nobuco


def last_line_of(statement, **environment):
    """What a fresh process, which fails, says last."""
    done = subprocess.run(
        [sys.executable, "-c", statement],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "site-packages" not in done.stderr  # no other library has been asked
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize(
    "statement",
    ["from nobuco import pytorch_to_keras", "import nobuco.layers", "import nobuco.export", "import nobuco.fault"],
)
def test_another_backend(backend, statement):
    message = last_line_of(statement, KERAS_BACKEND=backend)
    assert message.startswith(f"nobuco.errors.InputError: KERAS_BACKEND is {backend!r}; nobuco needs Keras with its")


def test_another_backend_in_the_file_of_settings(tmp_path):
    file = tmp_path / "keras.json"
    file.write_text('{"backend": "jax", "floatx": "float32", "epsilon": 1e-07, "image_data_format": "channels_last"}')
    environment = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": ""}
    message = last_line_of("from nobuco import pytorch_to_keras", **environment)
    assert f"\"backend\" in {file} is 'jax'; nobuco needs" in message


def test_importing_nobuco_alone_asks_for_no_backend():
    statement = "import nobuco, sys; nobuco.ChannelOrder; assert 'keras' not in sys.modules"
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    assert subprocess.run([sys.executable, "-c", statement], env=environment, check=False).returncode == 0


def test_layers_that_are_channels_first():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(nobuco.InputError, match=r"image_data_format is 'channels_first'; .*set_image_data_format"):
            nobuco.pytorch_to_keras(torch.relu, [torch.ones(1, 2)], verbose=False)
    finally:
        keras.config.set_image_data_format("channels_last")
