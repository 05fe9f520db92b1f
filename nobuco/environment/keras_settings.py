"""Settings of Keras that hold for a whole process: what nobuco cannot work with is refused before Keras loads."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nobuco.errors import InputError


def require_tensorflow() -> None:
    """Refuse Keras' other backends: nobuco's layers and converters call TensorFlow.

    Raises:
        InputError: `KERAS_BACKEND` or `keras.json` names another one, or Keras has been loaded with another one.
    """
    setting, backend = _backend()
    if backend != "tensorflow":
        raise InputError(
            f"{setting} is {backend!r}; nobuco needs Keras with its TensorFlow backend: set KERAS_BACKEND=tensorflow "
            "before Keras is imported"
        )


def require_channels_last() -> None:
    """Refuse Keras layers that are channels-first by default.

    Raises:
        InputError: `image_data_format` says so.
    """
    import keras

    if keras.config.image_data_format() != "channels_last":
        raise InputError(
            f"Keras' image_data_format is {keras.config.image_data_format()!r}; nobuco makes channels-last layers: "
            "call keras.config.set_image_data_format('channels_last') first, or change it in ~/.keras/keras.json "
            "(inputs_channel_order=nobuco.ChannelOrder.PYTORCH gives a model that takes channels first)"
        )


def _backend() -> tuple[str, Any]:
    """Which setting decides on Keras' backend, and what it says; Keras itself is not loaded for that."""
    loaded = getattr(sys.modules.get("keras"), "config", None)
    if loaded is not None:
        return "the backend of Keras, which is loaded already,", loaded.backend()
    if os.environ.get("KERAS_BACKEND"):
        return "KERAS_BACKEND", os.environ["KERAS_BACKEND"]
    file = Path(os.environ.get("KERAS_HOME", Path("~", ".keras"))).expanduser() / "keras.json"
    try:
        return f'"backend" in {file}', json.loads(file.read_text()).get("backend", "tensorflow")
    except (OSError, ValueError, AttributeError):  # as Keras takes it: a file that it cannot read says nothing
        return "KERAS_BACKEND", "tensorflow"


@contextmanager
def without_dtype_policy() -> Iterator[None]:
    """Make layers in this block compute in the dtypes that they are given, whatever policy is set (`mixed_float16`).

    A converted model computes in PyTorch's dtypes; a policy would cast the weights of some layers and not of others.
    """
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
