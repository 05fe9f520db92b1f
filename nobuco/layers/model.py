"""The model that a conversion gives: Keras's functional model, which knows its checkpoint and saves itself whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras

from nobuco.errors import InputError
from nobuco.files import replacing, replacing_folder
from nobuco.layers.checkpoint import Checkpoint
from nobuco.layers.conditions import SizeCondition
from nobuco.layers.origin import Origins


@keras.saving.register_keras_serializable(package="nobuco")
class ConvertedModel(keras.Model):
    """A functional model made from a PyTorch program.

    `conditions` tell where it is right, as the program decided by sizes that are dynamic (as far as the decision itself
    is known); a call with other sizes is an error, unless `check_conditions` is False. `axes` has for each input that
    they name where in the list of inputs it stands, and of each of its dimensions in PyTorch's order which of the
    tensor's it is. `origins` are the tensors of the program that it has to do with, None for one from a file.
    """

    checkpoint: Checkpoint | None = None
    conditions: tuple[SizeCondition, ...] = ()
    axes: Mapping[str, tuple[int, tuple[int, ...]]] = MappingProxyType({})
    check_conditions: bool = True
    origins: Origins | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> ConvertedModel:
        """Keras' own, of inputs that something uses: Keras 3.12, the last for Python 3.10, refuses any other."""
        for tensor in keras.tree.flatten(args[0] if args else kwargs.get("inputs")):
            if isinstance(tensor, keras.KerasTensor) and not tensor._keras_history.operation._outbound_nodes:
                keras.layers.Identity()(tensor)  # outside the model
        return super().__new__(cls, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Keras' own call, of inputs at whose sizes the model is right.

        Raises:
            InputError: the program decides otherwise at these sizes.
        """
        self._check(args[0] if args else kwargs.get("inputs"))
        return super().__call__(*args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Keras' own, of inputs at whose sizes the model is right; it says itself how large a batch is."""
        self._check(x, batch_is_known=False)
        return super().predict(x, *args, **kwargs)

    def _check(self, inputs: Any, batch_is_known: bool = True) -> None:
        if not (self.conditions and self.check_conditions):
            return
        tensors = [inputs.get(t.name) for t in self.inputs] if isinstance(inputs, dict) else keras.tree.flatten(inputs)
        dims = [list(getattr(tensor, "shape", None) or ()) for tensor in tensors]
        for sizes in dims if not batch_is_known else ():
            sizes[:1] = [None] * len(sizes[:1])
        shapes = {
            name: [dims[position][axis] for axis in axes]
            for name, (position, axes) in self.axes.items()
            if position < len(dims) and len(dims[position]) == len(axes)
        }
        for condition in self.conditions:
            if condition.holds(shapes) is False:
                raise InputError(
                    f"the inputs have shapes {shapes} in PyTorch's order, but the model is right where "
                    f"{condition.region}: {condition.message}. Convert at such sizes, or set "
                    "model.check_conditions = False"
                )

    def save(self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any) -> None:
        """`keras.Model.save`, but what is there already is only replaced when the new one is complete.

        With `overwrite=False` it is an error that something is there, and not a question at the prompt. A folder
        (`zipped=False`) is replaced only if it holds a Keras model and nothing else.

        Raises:
            OutputError: there is something at the path that is not replaced.
        """
        if isinstance(filepath, bytes):
            filepath = os.fsdecode(filepath)
        if not isinstance(filepath, (str, os.PathLike)) or "://" in str(filepath):  # a stream, or Keras' remote file
            super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)
            return
        unzipped = zipped is False
        writing = replacing_folder(filepath, _foreign, overwrite) if unzipped else replacing(filepath, overwrite)
        with writing as fresh:
            super().save(fresh, zipped=zipped, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """A functional model's, and the checkpoint.

        Keras shows the config, from its beginning, where it does not know the class: so what to do comes first.
        """
        checkpoint = None if self.checkpoint is None else self.checkpoint.to_config()
        return {
            "before loading": "import nobuco.layers",
            **super().get_config(),
            "checkpoint": checkpoint,
            "conditions": [[condition.region, condition.message] for condition in self.conditions],
            "axes": {name: [position, list(axes)] for name, (position, axes) in self.axes.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ConvertedModel:
        """What `get_config` gave."""
        config = {key: value for key, value in config.items() if key != "before loading"}
        checkpoint = config.pop("checkpoint", None)
        conditions, axes = config.pop("conditions", []), config.pop("axes", {})
        model = super().from_config(config, custom_objects)
        model.checkpoint = None if checkpoint is None else Checkpoint.from_config(checkpoint)
        model.conditions = tuple(SizeCondition(str(region), str(message)) for region, message in conditions)
        model.axes = {str(name): (int(at), tuple(map(int, dims))) for name, (at, dims) in axes.items()}
        return model


_PARTS = ("config.json", "metadata.json", "model.weights.h5", "model.weights.npz", "assets")


def _foreign(folder: Path) -> str:
    """What in a folder is no part of a Keras model; "" where all is."""
    names = sorted(path.name for path in folder.iterdir())
    if "config.json" not in names or "metadata.json" not in names:
        return f"{names[0]}, and no metadata.json"
    inside = [f"assets/{path.name}" for path in (folder / "assets").glob("*")]  # which our layers do not have
    return next((name for name in [*names, *inside] if name not in _PARTS or (folder / name).is_symlink()), "")
