"""Convert a model, compare it with PyTorch, and write it to a file.

The suffix of the file says what it becomes: .tflite, .keras, or none for the folder of a SavedModel. The file is
written whole or not at all, and only if the Keras model gives what PyTorch gives (`check` compares the files, too).

  python -m nobuco convert mypkg.Net --input 1,3,224,224 -o net.tflite
  python -m nobuco convert mypkg.Net --weights best.pt --input 1?,3,224?,224? -o net.keras
  python -m nobuco convert mypkg.Net --input 1,3,224,224 -o net.tflite --precision int8 --representative images.npz
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nobuco.cli.options import ORDERS, add_model_options, bound, free_shapes, model_and_arguments
from nobuco.environment.quiet import load_tensorflow
from nobuco.errors import InputError, OutputError
from nobuco.files import file_at, folder_at

PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `convert`."""
    add_model_options(parser)
    add = parser.add_argument
    add("-o", "--output", type=_path, required=True, help="where to write: *.tflite, *.keras, or a folder")
    add("--weights", type=Path, metavar="FILE", help="a state_dict that torch.save wrote, loaded first")
    add("--input-order", choices=ORDERS, default="nhwc", help="how inputs lie (default: nhwc)")
    add("--output-order", choices=ORDERS, default="nhwc", help="how outputs lie (default: nhwc)")
    add("--max-abs-diff", type=bound, metavar="X", help="the largest difference (default: the dtype's)")
    add("--precision", choices=PRECISIONS, default="float32", help="of a TFLite file (default: float32)")
    add(
        "--representative",
        type=Path,
        metavar="NPZ",
        help="for int8 and int16x8: an array per input, in order, of samples",
    )
    add("--html", type=Path, metavar="FILE", help="write the trace of the conversion, too")
    add("--force", action="store_true", help="write the model although it does not match")
    add("--no-overwrite", action="store_true", help="refuse to replace what is there already")
    add("-q", "--quiet", action="store_true", help="print nothing but what is wrong")


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))


def run(options: argparse.Namespace) -> int:
    """Convert and write."""
    _check_words(options)
    samples = _samples(options.representative)
    model, arguments = model_and_arguments(options, options.weights)
    write = _writer(options, samples)
    keras_model, report = _converted(options, model, *arguments)
    if not report.ok and not options.force:
        print(f"the model does not match PyTorch, so {options.output} is not written (--force does)", file=sys.stderr)
        return 1
    write(keras_model, options.output)
    if not options.quiet:
        print(f"{options.output}  {_size(options.output) / 1e6:.1f} MB")
    return 0


def _converted(options: argparse.Namespace, model: Any, args: Any, kwargs: Any) -> Any:
    import torch
    from torch.utils import _pytree as pytree

    import nobuco

    orders = {"nhwc": nobuco.ChannelOrder.TENSORFLOW, "nchw": nobuco.ChannelOrder.PYTORCH}
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    return nobuco.pytorch_to_keras(
        model,
        args=args,
        kwargs=kwargs,
        input_shapes=free_shapes(tensors, options.inputs) or None,
        inputs_channel_order=orders[options.input_order],
        outputs_channel_order=orders[options.output_order],
        validation_tolerance=options.max_abs_diff,
        save_trace_html=str(options.html) if options.html else False,
        return_report=True,
        verbose=not options.quiet,
    )


def _check_words(options: argparse.Namespace) -> None:
    """Refuse what can be told to be wrong from the words alone."""
    path = options.output
    if path.suffix not in (".tflite", ".keras", ""):
        raise InputError(f"-o {path}: a model becomes *.tflite, *.keras, or a folder, whose name has no suffix")
    if path.suffix != ".tflite" and (options.precision != "float32" or options.representative):
        raise InputError(f"-o {path}: --precision and --representative are for *.tflite")
    if options.precision in ("int8", "int16x8") and options.representative is None:
        raise InputError(f"--precision {options.precision} needs --representative NPZ: some dozens of samples")
    if path.suffix:
        _place(path, lambda: file_at(path, not options.no_overwrite))
    elif not path.absolute().parent.is_dir():
        raise InputError(f"-o {path}: there is no folder {path.absolute().parent}")


def _place(path: Path, find: Callable[[], Path]) -> Path:
    """Where a model is written."""
    try:
        return find()
    except OutputError as error:
        raise InputError(f"-o {path}: {error.reason}") from error


def _writer(options: argparse.Namespace, samples: list[list[Any]] | None) -> Callable[[Any, Path], None]:
    """What writes a model to the path that was asked for."""
    path = options.output
    load_tensorflow()
    from nobuco.export import keras_file, tflite, to_saved_model
    from nobuco.export.saved_model import foreign

    overwrite = not options.no_overwrite
    target = _place(path, lambda: file_at(path, overwrite) if path.suffix else folder_at(path, foreign, overwrite))
    if options.html and Path(os.path.realpath(options.html)).is_relative_to(target):
        raise InputError(f"--html {options.html}: the model itself is to be written there")
    if path.suffix == ".tflite":
        return partial(tflite, precision=options.precision, representative=samples, overwrite=overwrite)
    return partial(keras_file if path.suffix else to_saved_model, overwrite=overwrite)


def _samples(path: Path | None) -> list[list[Any]] | None:
    """The samples of a `.npz` file: for each input an array, whose first axis counts the samples."""
    if path is None:
        return None
    import numpy as np

    try:
        file = np.load(path)
        arrays = [file[name] for name in file.files] if hasattr(file, "files") else []
    except Exception as error:  # of whatever kind of file it is
        raise InputError(f"--representative {path}: {type(error).__name__}: {error}") from error
    counts = {array.shape[0] if array.ndim else 0 for array in arrays}
    if len(counts) != 1 or 0 in counts:
        raise InputError(
            f"--representative {path}: give a file that np.savez wrote, with an array for each input, and as many "
            f"samples along the first axis of each (shapes: {[array.shape for array in arrays]})"
        )
    return [list(sample) for sample in zip(*arrays)]


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
