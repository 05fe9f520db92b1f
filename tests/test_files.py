"""Only what was named is written, and nothing else of the user's is changed: every writer against a folder of files."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import nobuco.export
from nobuco.cli.main import main
from nobuco.errors import ExportArgumentError, InputError, OutputError
from nobuco.files import replacing, replacing_folder
from nobuco.layers import ConvertedModel, OpLayer
from nobuco.report.html import html_path, save_html


def model():
    inputs = keras.Input((3,), name="x")
    return ConvertedModel(inputs, OpLayer(lambda x: x * 2, name="double")(inputs), name="small")


MODEL = model()
ROOT = str(Path(__file__).parents[1])


def html(path, overwrite=True):
    save_html({"model": "m", "nodes": [], "calls": []}, path, overwrite=overwrite)


def text(path, overwrite=True):
    with replacing(path, overwrite) as fresh:
        fresh.write_text("new")


FILES = {
    "keras_file": lambda path, **options: nobuco.export.keras_file(MODEL, path, **options),
    "save": lambda path, **options: MODEL.save(path, **options),
    "tflite": lambda path, **options: nobuco.export.tflite(MODEL, path, **options),
    "replacing": text,
}
FOLDERS = {
    "to_saved_model": lambda path, **options: nobuco.export.to_saved_model(MODEL, path, **options),
    "save unzipped": lambda path, **options: MODEL.save(path, zipped=False, **options),
}
WRITERS = {**FILES, **FOLDERS}
SUFFIX = {"tflite": ".tflite", "replacing": ".txt"}


def name_for(writer):
    return "model" + ("" if writer in FOLDERS else SUFFIX.get(writer, ".keras"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a user's files in it, which is the working directory."""
    files = {
        "notes.txt": "mine",
        ".hidden": "mine, too",
        "src/train.py": "import torch",
        "src/deep/data.bin": "\1\2",
        "model.bak": "old",
    }
    for name, content in files.items():
        path = tmp_path / "home" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def seen(folder):
    """All that there is below a folder: kinds, permissions, contents."""

    def entry(path):
        mode = path.lstat().st_mode
        content = path.read_bytes() if stat.S_ISREG(mode) else os.readlink(path) if path.is_symlink() else None
        return stat.S_IFMT(mode), stat.S_IMODE(mode), content

    return {path.relative_to(folder).as_posix(): entry(path) for path in folder.rglob("*")}


def rest(folder, name):
    return {path: what for path, what in seen(folder).items() if path.split("/")[0] != name}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_write_adds_its_target_and_nothing_else(place, writer):
    before, name = seen(place), name_for(writer)
    for _ in range(2):
        WRITERS[writer](name)
        assert rest(place, name) == before and (place / name).exists()


@pytest.mark.parametrize("writer", FOLDERS)
@pytest.mark.parametrize(
    "target",
    ["src", "src/", "./src", "src/deep/..", ".", "..", "", "~", "~/", "/", "notes.txt", "nowhere/model", "link"],
)
def test_a_folder_of_something_else_is_left_as_it_is(place, writer, target, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    (place / "link").symlink_to("src")
    before = seen(place.parent)
    with pytest.raises((OutputError, ExportArgumentError)):
        WRITERS[writer](target)
    assert seen(place.parent) == before


@pytest.mark.parametrize("writer", FILES)
@pytest.mark.parametrize(
    "kind", ["folder", "empty folder", "pipe", "socket", "circle", "device", "slash", "nowhere", "nul"]
)
def test_what_is_no_regular_file_is_left_as_it_is(place, writer, kind):
    name = name_for(writer)
    path = place / name
    if kind.endswith("folder"):
        path.mkdir()
        (path / "mine").write_text("mine") if kind == "folder" else None
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)  # the path from here: a long one would not fit
    elif kind == "circle":
        path.symlink_to("other")
        (place / "other").symlink_to(name)
    elif kind == "device":
        path.symlink_to("/dev/null")
    target = {"slash": f"{name}/", "nowhere": f"nowhere/{name}", "nul": "a\0b.keras"}.get(kind, name)
    before = seen(place)
    with pytest.raises((OutputError, ExportArgumentError)):
        WRITERS[writer](target)
    assert seen(place) == before


@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_there_stays_if_it_must_not_be_overwritten(place, writer):
    name = name_for(writer)
    WRITERS[writer](name, overwrite=False)
    before = seen(place)
    with pytest.raises(FileExistsError, match="overwrite=False"):
        WRITERS[writer](name, overwrite=False)
    assert seen(place) == before


@pytest.mark.parametrize("link", [False, True])
def test_what_appears_during_a_write_is_not_overwritten(place, monkeypatch, link):
    if link:
        monkeypatch.delattr(os, "link")
        monkeypatch.setattr(os, "link", lambda *args: (_ for _ in ()).throw(OSError("no links here")), raising=False)
    writing = replacing("m.txt", overwrite=False)
    writing.__enter__().write_text("new")
    (place / "m.txt").write_text("another's")
    with pytest.raises(FileExistsError):
        writing.__exit__(None, None, None)
    assert (place / "m.txt").read_text() == "another's"


def test_what_is_put_into_the_folder_during_a_write_is_not_lost(place):
    nobuco.export.to_saved_model(MODEL, "model")
    before = seen(place)
    writing = replacing_folder("model", nobuco.export.saved_model.foreign)
    writing.__enter__().mkdir()
    (place / "model/mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"mine\.txt"):
        writing.__exit__(None, None, None)
    (place / "model/mine.txt").unlink()
    assert seen(place) == before


@pytest.mark.parametrize("writer", WRITERS)
def test_a_link_stays_and_what_it_leads_to_is_written(place, writer):
    name = name_for(writer)
    (place / "store").mkdir()
    (place / name).symlink_to("between")
    (place / "between").symlink_to(f"store/{name}")
    for _ in range(2):  # the first time it leads to nothing yet
        WRITERS[writer](name)
        assert os.readlink(place / name) == "between" and os.readlink(place / "between") == f"store/{name}"
        assert [path.name for path in (place / "store").iterdir()] == [name]
        assert not (place / "store" / name).is_symlink()


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o444])
def test_permissions_are_kept(place, writer, mode):
    path = place / name_for(writer)
    WRITERS[writer](path)
    mode |= 0o111 if path.is_dir() else 0
    path.chmod(mode)
    WRITERS[writer](path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    path.chmod(0o755)


def test_a_new_file_has_the_permissions_of_any_new_file(place):
    (place / "any").write_text("")
    text("new.txt")
    assert (place / "new.txt").stat().st_mode == (place / "any").stat().st_mode


SAVED = {
    "a note": lambda path: (path / "notes.txt").write_text("mine"),
    "a note among the variables": lambda path: (path / "variables/notes.txt").write_text("mine"),
    "a file among the assets": lambda path: (path / "assets/photo.jpg").write_text("mine"),
    "an asset of an own folder": lambda path: (path / "assets.extra").mkdir(),
    "a folder": lambda path: (path / "mine").mkdir(),
    "a link": lambda path: (path / "assets/more").symlink_to("../../src"),
    "a link for the variables": lambda path: (
        shutil.move(path / "variables", path.parent),
        (path / "variables").symlink_to("../variables"),
    ),
    "no graph": lambda path: (path / "saved_model.pb").unlink(),
}


@pytest.mark.parametrize("added", SAVED)
def test_a_saved_model_with_something_added_is_left_as_it_is(place, added):
    nobuco.export.to_saved_model(MODEL, "model")
    SAVED[added](place / "model")
    before = seen(place)
    with pytest.raises(OutputError, match="holds something else"):
        nobuco.export.to_saved_model(MODEL, "model")
    assert seen(place) == before


def test_any_saved_model_is_replaced_with_its_assets(place):
    (place / "words.txt").write_text("one two")
    holder = tf.Module()
    holder.words = tf.saved_model.Asset(str(place / "words.txt"))
    holder.count = tf.Variable(1.0)
    tf.saved_model.save(holder, "model")
    assert (place / "model/assets/words.txt").exists()
    nobuco.export.to_saved_model(MODEL, "model")
    assert not list((place / "model/assets").glob("*")) and (place / "words.txt").read_text() == "one two"


def test_a_model_is_written_over_the_one_that_it_is_made_of(place):
    nobuco.export.to_saved_model(MODEL, "model")
    loaded = tf.saved_model.load("model")
    inputs = keras.Input((3,), name="x")
    serve = loaded.signatures["serving_default"]
    around = keras.Model(inputs, OpLayer(lambda x: next(iter(serve(x=x).values())) + 1)(inputs))
    nobuco.export.to_saved_model(around, "model")
    (result,) = tf.saved_model.load("model").signatures["serving_default"](x=tf.ones((1, 3))).values()
    assert np.all(result == 3)


def test_home_is_meant_by_a_tilde(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.chdir(place / "src")
    MODEL.save("~/model.keras")
    nobuco.export.to_saved_model(MODEL, "~/saved")
    assert (place / "model.keras").is_file() and (place / "saved/saved_model.pb").is_file()
    assert sorted(path.name for path in (place / "src").iterdir()) == ["deep", "train.py"]


def test_a_folder_that_cannot_be_written_to(place, monkeypatch):
    def refuse(*args, **kwargs):  # an administrator, as whom tests may run, writes anywhere
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(OutputError, match=r"src/new\.txt: nothing can be written to .*src: Permission denied"):
        text("src/new.txt")


def test_a_page_is_no_device_and_is_not_overwritten(place):
    (place / "page.html").write_text("mine")
    before = seen(place)
    with pytest.raises(FileExistsError):
        html("page.html", overwrite=False)
    for path in ("src", "/dev/null", "nowhere/page.html"):
        with pytest.raises(InputError, match="cannot write the HTML trace"):
            html_path(path)
    assert seen(place) == before


# Processes that were killed.

_KILLED = """
import os, signal, sys
from nobuco.files import replacing
with replacing(sys.argv[1]) as fresh:
    fresh.write_text("half")
    print(fresh, flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def writer_of(name, end):
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, name, end], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_write_has_left_goes_with_the_next_to_that_target(place):
    before = seen(place)
    for name in ("m.txt", "m.txt", "other.txt", "x" * 250):
        process, _ = writer_of(name, "killed")
        process.communicate()
    assert len(list(place.iterdir())) == 4 + 3  # a folder of each target is left, the second of the first's removed it
    (place / ".m.txt.mine").mkdir()
    (place / ".m.txt.mine/file").write_text("mine")
    kept = seen(place / ".m.txt.mine")
    text("m.txt")
    assert seen(place / ".m.txt.mine") == kept
    assert [path.name for path in place.glob(".m.txt*")] == [".m.txt.mine"] and list(place.glob(".other.txt*"))
    shutil.rmtree(place / ".m.txt.mine")
    text("other.txt")
    text("x" * 250)
    assert {name for name in seen(place) if name not in before} == {"m.txt", "other.txt", "x" * 250}


def test_what_is_being_written_stays(place):
    process, fresh = writer_of("m.txt", "alive")
    text("m.txt")
    assert fresh.read_text() == "half" and (place / "m.txt").read_text() == "new"
    process.communicate("")
    assert (place / "m.txt").read_text() == "half" and not list(place.glob(".m.txt*"))


def test_what_another_machine_has_left_stays(place, monkeypatch):
    process, fresh = writer_of("m.txt", "killed")
    process.communicate()
    monkeypatch.setattr("platform.node", lambda: "another")
    text("m.txt")
    assert fresh.read_text() == "half"


def test_a_killed_exchange_gives_back_the_old_folder(place, monkeypatch):
    """Where the system cannot exchange two names in one step, there is a moment without any."""
    monkeypatch.setattr("ctypes.CDLL", lambda *args, **kwargs: object())
    nobuco.export.to_saved_model(MODEL, "model")
    before = seen(place / "model")
    child = os.fork()
    if not child:
        real = Path.rename
        monkeypatch.setattr(Path, "rename", lambda self, to: (real(self, to), os.kill(os.getpid(), 9)))
        with replacing_folder("model", nobuco.export.saved_model.foreign) as fresh:
            fresh.mkdir()
        os._exit(1)  # pragma: no cover
    os.waitpid(child, 0)
    assert not (place / "model").exists()
    with pytest.raises(ValueError, match="stop"), replacing_folder("model", nobuco.export.saved_model.foreign):
        raise ValueError("stop")
    assert seen(place / "model") == before


# The command line.


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-o", "src"], "that folder holds something else"),
        (["-o", "."], "the working directory is not replaced"),
        (["-o", "notes.txt"], "a model becomes"),
        (["-o", "there.keras", "--no-overwrite"], "is there already"),
        (["-o", "there.keras", "--html", "there.keras"], "the model itself"),
        (["-o", "pipe.tflite"], "that is a pipe"),
    ],
)
def test_the_command_line_refuses_before_it_converts(place, capfd, words, told):
    (place / "there.keras").write_text("mine")
    os.mkfifo(place / "pipe.tflite")
    before = seen(place)
    assert main(["convert", "torch.nn.ReLU", "-i", "1,3", *words]) == 2
    assert told in capfd.readouterr().err
    assert seen(place) == before


def test_the_command_line_replaces_its_own(place):
    before = seen(place)
    for _ in range(2):
        assert main(["convert", "torch.nn.ReLU", "-i", "1,3", "-o", "model", "-q"]) == 0
    assert rest(place, "model") == before


# What the system refuses.


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("target", ["n" * 300, "/".join(["d" * 200] * 30), "m\ud800"], ids=["name", "path", "text"])
def test_a_name_that_the_system_does_not_take(place, writer, target):
    before = seen(place)
    with pytest.raises((OutputError, ExportArgumentError), match=r"no path to write to|there is no folder"):
        WRITERS[writer](target + name_for(writer).removeprefix("model"))
    assert seen(place) == before


@pytest.mark.parametrize("writer", WRITERS)
def test_a_working_directory_that_is_gone(place, writer, monkeypatch):
    gone = place.parent / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(OutputError, match="the working directory is gone"):
        WRITERS[writer](name_for(writer))
    for _ in range(2):
        WRITERS[writer](place / name_for(writer))


# Limits the size of files: what writes beyond is refused, as it is where the disk is full.
_LIMITED = """
import resource, signal, sys
import keras
from nobuco.errors import OutputError
from nobuco.layers import ConvertedModel
import tests.test_files
from tests.test_files import WRITERS, name_for
inputs = keras.Input((300,), name="x")
tests.test_files.MODEL = ConvertedModel(inputs, keras.layers.Dense(100, name="dense")(inputs))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for writer in [writer for writer in WRITERS if writer != "replacing"]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
    try:
        WRITERS[writer](name_for(writer))
    except OutputError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(writer, "|", error, flush=True)
"""


def test_more_than_the_disk_takes(place):
    before = seen(place)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))}
    told = subprocess.run([sys.executable, "-c", _LIMITED], env=environment, stdout=subprocess.PIPE, text=True).stdout
    lines = dict(line.split(" | ") for line in told.splitlines())
    assert list(lines) == [writer for writer in WRITERS if writer != "replacing"]
    for writer, line in lines.items():
        path, told = line.split(": ", 1)
        assert told == f"it cannot be written: {os.strerror(errno.EFBIG)}"
        assert path == str(place / name_for(writer)) or writer == "tflite"  # which has a folder for its parts
    assert seen(place) == before


def test_the_command_line_in_a_folder_that_is_gone(place, capfd, monkeypatch):
    gone = place.parent / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["convert", "torch.nn.ReLU", "-i", "1,3", "-o", "m.tflite"]) == 2
    assert "the working directory is gone" in capfd.readouterr().err
