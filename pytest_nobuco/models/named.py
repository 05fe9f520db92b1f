"""The models that the command line names, each with its inputs: one by one, or in a file with a line for each."""

from __future__ import annotations

import argparse
import functools
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from nobuco.files import text_of
from nobuco.subject.inputs import InputSpec, parse_input, read_inputs

MODEL, FILE, INPUT = "model", "file", "input"
"""What `--nobuco-model`, `--nobuco-models` and `--nobuco-input` give."""
# Of the marker's arguments, those that a line of text can have.
_NUMBERS = ("max_abs_diff", "max_rel_diff", "min_snr")
_TEXTS = ("dynamic", "xfail")
_FLAGS = ("trace_shape", "explore_branches", "enable_torch_tracing")


@dataclass(frozen=True)
class NamedModel:
    """A model to be imported and tried.

    short: its name in ids; label: in reports.
    inputs: as `read_inputs` gives them; empty where the model's own `example_inputs()` shall say.
    arguments: further arguments of the `convert` marker.
    file: where it stands, as the command line names it; empty for the command line itself. place: with the line.
    """

    name: str
    inputs: tuple[Any, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    place: str = ""
    short: str = ""
    label: str = ""

    @property
    def words(self) -> list[str]:
        """The words of a command line that name it."""
        if self.file:
            return ["--nobuco-models", self.file]
        return ["--nobuco-model", self.name, *(word for spec in self.inputs for word in ("--nobuco-input", str(spec)))]


class InOrder(argparse.Action):
    """Keeps models and inputs in the order in which the command line has them, in one tuple of pairs."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Add a pair."""
        setattr(namespace, self.dest, (*getattr(namespace, self.dest), (self.const, values)))


def model_name(text: str) -> str:
    """A name that may be one of a model: no part of it is empty."""
    name = text.strip()
    if name.count(":") > 1 or not all(name.replace(":", ".").split(".")):
        raise argparse.ArgumentTypeError(f"{text!r} names no model; the form is pkg.mod.Net or pkg.mod:Net")
    return name


def read_named(given: Iterable[tuple[str, Any]], directory: Path) -> tuple[NamedModel, ...]:
    """The models, each with the inputs that follow it.

    Models side by side share what follows the last; inputs in front of the first are everybody's who has none.

    Raises:
        pytest.UsageError: a file is not there, or has a line that is wrong; or inputs are given of no model.
    """
    common: list[InputSpec] = []
    groups: list[tuple[list[NamedModel], list[InputSpec]]] = []
    for kind, value in given:
        if kind == INPUT:
            (groups[-1][1] if groups else common).append(value)
            continue
        models = [NamedModel(value)] if kind == MODEL else read_file(value, directory)
        if groups and not groups[-1][1]:
            groups[-1][0].extend(models)
        else:
            groups.append((models, []))
    if common and not groups:
        raise pytest.UsageError(
            f"--nobuco-input {common[0]}: an input of which model? Give --nobuco-model; a marked model has inputs=[...]"
        )
    found = [
        replace(model, inputs=model.inputs or tuple(inputs or common)) for models, inputs in groups for model in models
    ]
    return _told_apart([model for i, model in enumerate(found) if model not in found[:i]])


def _told_apart(models: Sequence[NamedModel]) -> tuple[NamedModel, ...]:
    """With names for ids and reports: the last part, or all where two end alike, or a number where two are one."""
    lasts = [model.name.replace(":", ".").rpartition(".")[2] for model in models]
    ends, names, seen = Counter(lasts), Counter(model.name for model in models), Counter[str]()
    told = []
    for model, last in zip(models, lasts):
        seen[model.name] += 1
        number = f"#{seen[model.name]}" if names[model.name] > 1 else ""
        short = last if ends[last] == names[model.name] else model.name
        told.append(replace(model, short=short + number, label=model.name + number))
    return tuple(told)


def read_file(name: str, directory: Path) -> list[NamedModel]:
    """The models of a file: a line of words each, or a list in YAML.

    Raises:
        pytest.UsageError: naming the line.
    """
    path = directory / name
    try:
        text = text_of(path)
    except OSError as error:
        raise pytest.UsageError(f"--nobuco-models {name}: {error.strerror}") from None
    entries = _entries_of_yaml(name, text) if path.suffix in (".yaml", ".yml") else _entries_of_text(text)
    models = []
    for place, entry in entries:
        try:
            model = _of_words(entry) if isinstance(entry, str) else _of_mapping(entry)
        except (ValueError, argparse.ArgumentTypeError) as error:
            raise pytest.UsageError(f"{name}:{place}: {error}") from None
        models.append(replace(model, file=name, place=f"{name}:{place}"))
    if not models:
        raise pytest.UsageError(f"--nobuco-models {name}: there is no model in it")
    return models


def _entries_of_text(text: str) -> list[tuple[str, Any]]:
    lines = enumerate(text.splitlines(), 1)
    return [(str(number), line) for number, line in lines if line.strip()[:1] not in ("", "#")]


def _entries_of_yaml(name: str, text: str) -> list[tuple[str, Any]]:
    try:
        import yaml
    except ImportError:
        raise pytest.UsageError(f"--nobuco-models {name}: YAML needs PyYAML: pip install pyyaml") from None
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise pytest.UsageError(f"--nobuco-models {name}: {' '.join(str(error).split())}") from None
    if not isinstance(found, list):
        raise pytest.UsageError(f"--nobuco-models {name}: give a list of models, each `- model: pkg.Net`")
    return [(f"entry {number}", entry) for number, entry in enumerate(found, 1)]


def _of_mapping(entry: Any) -> NamedModel:
    """An entry in YAML: `model`, and arguments of the marker."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("model"), str):
        raise ValueError(f"{entry!r} names no model; the form is `model: pkg.Net`, and arguments of the marker")
    arguments = {key: _number(key, value) if key in _NUMBERS else value for key, value in entry.items()}
    name, inputs = str(arguments.pop("model")), arguments.pop("inputs", None)
    if isinstance(inputs, Mapping):
        inputs = [f"{key}={value}" for key, value in inputs.items()]
    return NamedModel(model_name(name), () if inputs is None else read_inputs(inputs), arguments)


def _of_words(line: str) -> NamedModel:
    """A line of text: the model, its inputs, and options as the command line has them, without `nobuco-`."""
    found = vars(_line_parser().parse_intermixed_args(shlex.split(line, comments=True)))
    name, inputs = found.pop("name"), found.pop("inputs")
    return NamedModel(
        model_name(name), tuple(map(parse_input, inputs)), {key: value for key, value in found.items() if value}
    )


class _LineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; the form is {self.usage}")


def _line_parser() -> argparse.ArgumentParser:
    options = ["order", "runtime", *(name.replace("_", "-") for name in (*_NUMBERS, *_TEXTS, *_FLAGS))]
    usage = f"MODEL [INPUT ...] [OPTION ...], with the options {', '.join(f'--{name}' for name in options)}"
    parser = _LineParser(add_help=False, allow_abbrev=False, usage=usage)
    parser.add_argument("name")
    parser.add_argument("inputs", nargs="*")
    for name in ("order", "runtime"):
        parser.add_argument(f"--{name}", dest=f"{name}s", action="append")
    for name in _NUMBERS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=functools.partial(_number, name))
    for name in _TEXTS:
        parser.add_argument(f"--{name.replace('_', '-')}")
    for name in _FLAGS:
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true")
    return parser


def _number(name: str, value: Any) -> float:
    """A bound; YAML takes `1e-4` for text."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not number >= 0:
        raise argparse.ArgumentTypeError(f"{name}={value!r} is no bound; a bound is a number from 0 up, e.g. 1e-4")
    return number
