"""A save that fails, or whose process is killed, leaves what lay there before.

`NOBUCO_EXPORT_KILLS=50` kills as many exports as writers, which takes about a minute.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import nobuco.export
from nobuco.files import replacing, replacing_folder

KILLS = 50
EXPORT_KILLS = int(os.environ.get("NOBUCO_EXPORT_KILLS", "8"))  # which take a second each

# Writes a file and a folder over and over, each whole one full of one letter.
_WRITER = """
import sys
from pathlib import Path
from nobuco.files import replacing, replacing_folder
root = Path(sys.argv[1])
print("ready", flush=True)
for letter in "ab" * 100000:
    with replacing(root / "file") as fresh:
        with open(fresh, "w") as file:
            for _ in range(20):
                file.write(letter * 5000)
                file.flush()
    with replacing_folder(root / "folder") as fresh:
        fresh.mkdir()
        for number in range(4):
            (fresh / str(number)).write_text(letter * 5000)
"""


def test_killed_writers_leave_whole_files(tmp_path):
    moments = random.Random(0)
    (tmp_path / "file").write_text("o" * 100_000)
    (tmp_path / "folder").mkdir()
    for number in range(4):
        (tmp_path / "folder" / str(number)).write_text("o" * 5000)
    for _ in range(KILLS):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, tmp_path], stdout=subprocess.PIPE)
        writer.stdout.readline()
        time.sleep(moments.uniform(0, 0.03))
        writer.kill()
        writer.communicate()
        text = (tmp_path / "file").read_text()
        assert text == text[0] * 100_000
        parts = [(tmp_path / "folder" / str(number)).read_text() for number in range(4)]
        assert parts == [parts[0][0] * 5000] * 4


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    (tmp_path / "file").write_text("old")

    def fail(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk is full"), replacing(tmp_path / "file") as fresh:
        fresh.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_folder_is_replaced_without_the_systems_help_too(tmp_path, monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda *args, **kwargs: object())
    for text in ("old", "new"):
        with replacing_folder(tmp_path / "folder") as fresh:
            fresh.mkdir()
            (fresh / "file").write_text(text)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "file").read_text() == "new"


def small(value):
    inputs = keras.Input((300,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(64, name="dense")(inputs), name="small")  # the same bytes each time
    model.set_weights([np.full(w.shape, value, "float32") for w in model.weights])
    return model


EXPORTS = {
    "m.keras": nobuco.export.keras_file,
    "m.tflite": nobuco.export.tflite,
    "saved": nobuco.export.to_saved_model,
}


@pytest.mark.parametrize("name", EXPORTS)
def test_a_failing_export_leaves_the_old_one(tmp_path, monkeypatch, name):
    EXPORTS[name](small(1), tmp_path / name)
    before = contents(tmp_path)

    def fail(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk is full"):
        EXPORTS[name](small(2), tmp_path / name)
    assert contents(tmp_path) == before


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Forks once everything is imported: importing takes seconds, and an import that is killed saves nothing.
_EXPORTER = """
import os, random, signal, sys, time
import keras, tensorflow as tf
import nobuco.export, nobuco.layers, tensorflow.lite.python.convert
from tests.test_interrupted import EXPORTS, small
root, moments = sys.argv[1], random.Random(1)
for _ in range(int(sys.argv[2])):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        model = small(2)
        while True:
            for name, export in EXPORTS.items():
                export(model, os.path.join(root, name))
            os.write(writing, b"x")  # the first time takes longest
    os.read(reading, 1)
    os.close(reading), os.close(writing)
    time.sleep(moments.uniform(0, 0.25))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("killed", flush=True)
    sys.stdin.readline()  # until what lies there has been looked at
"""


def test_killed_exports_leave_whole_models(tmp_path):
    for name, export in EXPORTS.items():
        export(small(1), tmp_path / name)
    whole = [(tmp_path / "m.tflite").read_bytes(), nobuco.export.to_tflite(small(2))]
    exporter = subprocess.Popen(
        [sys.executable, "-c", _EXPORTER, tmp_path, str(EXPORT_KILLS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(EXPORT_KILLS):
            assert exporter.stdout.readline() == "killed\n"
            assert (tmp_path / "m.tflite").read_bytes() in whole
            with zipfile.ZipFile(tmp_path / "m.keras") as file:
                assert file.testzip() is None and "model.weights.h5" in file.namelist()
            tf.train.load_checkpoint(str(tmp_path / "saved/variables/variables"))
            assert (tmp_path / "saved" / "saved_model.pb").stat().st_size
            exporter.stdin.write("\n")
            exporter.stdin.flush()
        exporter.wait(60)
    finally:
        exporter.kill()
        exporter.communicate()
    # Some got through, too.
    assert (tmp_path / "m.tflite").read_bytes() == whole[1]
    assert keras.models.load_model(tmp_path / "m.keras").get_weights()[0].flat[0] == 2
    signature = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    (result,) = signature(x=tf.ones((1, 300))).values()
    assert float(result[0, 0]) == 602
