"""Command line and ini: declared here, read here."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import pytest

from nobuco.subject.inputs import FORM, InputSpec, parse_input, parse_seed, told
from pytest_nobuco.backends.options import BackendOptions, add_backend_options, read_backend_options
from pytest_nobuco.baseline import add_baseline_options
from pytest_nobuco.distributed.parts import add_part_options
from pytest_nobuco.isolation.limits import add_isolation_options
from pytest_nobuco.latency.spec import add_latency_options
from pytest_nobuco.matrix import QUANTISED, RUNTIMES, read_order
from pytest_nobuco.models.dynamic import NONE, read_letters
from pytest_nobuco.models.named import FILE, INPUT, MODEL, InOrder, NamedModel, model_name, read_named

T = TypeVar("T")
_BOUNDS = ("max_abs_diff", "max_rel_diff", "min_snr")
# What pytest itself reads of the ini file, and refuses without a word of what to give.
_FORMS = {
    "nobuco_quick": "; give true or false",
    **{f"nobuco_{bound}": "; give a number from 0 up, e.g. 1e-4" for bound in _BOUNDS},
}
# A number in pytest's own TOML; older ones know only text there.
_FLOAT: Literal["float"] | None = "float" if pytest.version_tuple >= (8, 4) else None
NAMED = "nobuco_named"
"""Where the command line's models and inputs are, in their order."""
REAL_BACKEND = "pytest_nobuco.models.backend:NobucoBackend"
REAL_RUNTIMES = "pytest_nobuco.latency.runtimes:RealRuntimes"
REAL_CONVERTERS = "pytest_nobuco.converters.backend:NobucoConverters"
MARKER = (
    "convert(inputs, kwargs, input_shapes, dynamic, orders, runtimes, max_abs_diff, max_rel_diff, "
    "outputs, comparator, min_snr, representative, backend, xfail, and "
    "arguments of nobuco.pytorch_to_keras): convert the PyTorch model that this function returns (or this "
    "torch.nn.Module class) to Keras and TFLite, and compare each with PyTorch. On a module or a test class it "
    "sets what its functions inherit."
)


@dataclass(frozen=True)
class Options:
    """What the user asked for on the command line and in the ini file; None where nothing was said."""

    models: tuple[NamedModel, ...] = ()
    orders: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    ini_runtimes: tuple[str, ...] = ()
    dynamic: str | None = None
    quick: bool = False
    max_abs_diff: float | None = None
    max_rel_diff: float | None = None
    ini_max_abs_diff: float | None = None
    ini_max_rel_diff: float | None = None
    max_abs_limit: float | None = None
    min_snr: float | None = None
    ini_min_snr: float | None = None
    strict_nodes: bool = False
    seed: int = 0
    fuzz: int = 0
    tries: tuple[InputSpec, ...] = ()
    backend: str = REAL_BACKEND
    converters: tuple[str, ...] = ()
    converters_from: tuple[str, ...] = ()
    samples: int | None = None
    converters_backend: str = REAL_CONVERTERS
    others: BackendOptions = field(default_factory=BackendOptions)

    def words(self) -> list[str]:
        """The words of the command line, for what an item's outcome depends on besides its own markers."""
        given = [
            ("--nobuco-dynamic", self.dynamic),
            ("--nobuco-max-abs-diff", self.max_abs_diff),
            ("--nobuco-max-rel-diff", self.max_rel_diff),
            ("--nobuco-max-abs-limit", self.max_abs_limit),
            ("--nobuco-min-snr", self.min_snr),
            ("--nobuco-seed", self.seed or None),
        ]
        words = [
            (option, value if isinstance(value, str) else f"{value:g}") for option, value in given if value is not None
        ]
        return [*(word for pair in words for word in pair), *(["--nobuco-strict-nodes"] if self.strict_nodes else [])]


def add_options(parser: pytest.Parser) -> None:
    """Declare every `--nobuco-*` option and `nobuco_*` ini key."""
    group = parser.getgroup("nobuco", "PyTorch to Keras and TFLite (nobuco)")
    _add_models(group)
    _add_values(group)
    _add_matrix(group)
    _add_bounds(group)
    _add_converters(group)
    add_baseline_options(group)
    add_part_options(group)
    add_isolation_options(group)
    add_backend_options(parser, group)
    add_latency_options(group)
    _add_ini(parser)


def _add_models(group: pytest.OptionGroup) -> None:
    """Which models, each with its inputs."""
    group.addoption(
        "--nobuco-model",
        action=InOrder,
        const=MODEL,
        dest=NAMED,
        default=(),
        type=model_name,
        metavar="NAME",
        help="convert this model and compare with PyTorch; a dotted name or module:attribute of a class, a "
        "factory or an instance; repeatable. Without a path only the models run.",
    )
    group.addoption(
        "--nobuco-models",
        action=InOrder,
        const=FILE,
        dest=NAMED,
        default=(),
        metavar="FILE",
        help="the models of a file, a line each: its name, its inputs, and options such as --runtime tflite or "
        "--max-abs-diff 1e-4; or a list in YAML of `model` and the marker's arguments; repeatable",
    )
    group.addoption(
        "--nobuco-input",
        action=InOrder,
        const=INPUT,
        dest=NAMED,
        default=(),
        type=told(parse_input),
        metavar="SPEC",
        help=f"one input of the models in front of it, {FORM}; once per input, in order. Left out: the model's own "
        "example_inputs(), or the inputs that stand in front of all models.",
    )


def _add_values(group: pytest.OptionGroup) -> None:
    """On which values they are run."""
    group.addoption(
        "--nobuco-seed",
        type=told(parse_seed),
        default=0,
        metavar="N",
        help="seed of random weights and inputs (default: 0)",
    )
    group.addoption(
        "--nobuco-fuzz",
        type=_count,
        default=0,
        metavar="N",
        help="run each converted model on N inputs that Hypothesis draws, of other sizes where axes are dynamic, and "
        "show the smallest that fails",
    )
    group.addoption(
        "--nobuco-try",
        action="append",
        default=[],
        type=told(parse_input),
        metavar="SPEC",
        help="run the converted model on this input, too; once per input, in order. What --nobuco-fuzz finds is so "
        "run again.",
    )


def _add_matrix(group: pytest.OptionGroup) -> None:
    """In which forms each is converted and run."""
    group.addoption(
        "--nobuco-order",
        type=told(read_order),
        action="append",
        default=[],
        metavar="ORDER",
        help="the channel order of inputs and outputs, nchw or nhwc, or a pair such as nchw-nhwc; repeatable "
        "(default: all four pairs)",
    )
    group.addoption(
        "--nobuco-runtime",
        action="append",
        default=[],
        metavar="RUNTIME",
        help=f"what runs the converted model; repeatable (default: all of {', '.join(RUNTIMES)}; besides: "
        f"{', '.join(QUANTISED)})",
    )
    group.addoption(
        "--nobuco-dynamic",
        type=told(read_letters),
        metavar="AXES",
        help="the axes that are dynamic in the dynamic half of the matrix: letters such as NHW; auto: height and "
        "width of images, of other inputs the batch, where the model takes other sizes; none: no such half "
        "(default: auto). A ? behind a size in --nobuco-input says it for one input.",
    )
    group.addoption(
        "--nobuco-quick",
        action="store_true",
        help="a first look: of the matrix one pair of channel orders, as Keras and TFLite",
    )


def _add_bounds(group: pytest.OptionGroup) -> None:
    """How far the outputs may be off."""
    group.addoption(
        "--nobuco-max-abs-diff",
        type=_bound,
        metavar="BOUND",
        help="the largest absolute difference of an output element from PyTorch's; with --nobuco-max-rel-diff the "
        "bound is the sum, MAX_ABS + MAX_REL * peak of the output (default: the dtype's, of the output's own scale)",
    )
    group.addoption(
        "--nobuco-max-rel-diff",
        type=_bound,
        metavar="BOUND",
        help="the same as a fraction of the output's largest element",
    )
    group.addoption(
        "--nobuco-max-abs-limit",
        type=_bound,
        metavar="BOUND",
        help="a ceiling on the absolute difference that no marker, no ini file and no known gap can loosen",
    )
    group.addoption(
        "--nobuco-min-snr",
        type=_bound,
        metavar="DB",
        help="the least signal-to-noise ratio of an output in decibels, for the runtimes that quantise, for which "
        f"differences have no bound (default: {', '.join(f'{name} {least:g}' for name, least in QUANTISED.items())})",
    )
    group.addoption(
        "--nobuco-strict-nodes",
        action="store_true",
        help="fail where a call of a model is imprecise by itself, though the outputs are within their bounds",
    )


def _add_converters(group: pytest.OptionGroup) -> None:
    """Registered converters, known gaps and reports."""
    group.addoption(
        "--nobuco-converters",
        action="append",
        nargs="?",
        const="*",
        default=[],
        metavar="PATTERN",
        help="compare every registered converter with PyTorch, or those with an operation whose name matches, such "
        "as 'torch.nn.Conv*' or 'mypkg.*'; repeatable. Collecting them imports PyTorch and TensorFlow. Without a "
        "path only the converters run; to give a path write --nobuco-converters=PATTERN.",
    )
    group.addoption(
        "--nobuco-converters-from",
        action="append",
        default=[],
        metavar="MODULE",
        help="import this module first, which registers converters; repeatable",
    )
    group.addoption(
        "--nobuco-samples",
        type=_count,
        metavar="N",
        help="at most so many samples per converter and case (default: 8, and one for each spelling)",
    )
    group.addoption(
        "--nobuco-xfails",
        action="append",
        default=[],
        metavar="FILE",
        help="known gaps, one a line: PATTERN  # REASON [; CONDITION], the pattern matched with what an id has "
        "behind '::'. Strict: what passes is a failure until its line goes. Repeatable.",
    )
    group.addoption(
        "--nobuco-report",
        action="append",
        default=[],
        metavar="PATH",
        help="write a report of the models, converters and latencies here: .json, .html or .md; repeatable",
    )


def _add_ini(parser: pytest.Parser) -> None:
    """What an ini file may say."""
    for bound in _BOUNDS:
        option = f"--nobuco-{bound.replace('_', '-')}"
        parser.addini(f"nobuco_{bound}", f"as {option}, which overrides it", type=_FLOAT, default=None)
    parser.addini("nobuco_orders", "as --nobuco-order, which overrides it: a list of orders", type="args")
    parser.addini("nobuco_runtimes", "as --nobuco-runtime, which overrides it: a list of runtimes", type="args")
    parser.addini("nobuco_quick", "as --nobuco-quick", type="bool", default=False)
    parser.addini("nobuco_dynamic", "as --nobuco-dynamic, which overrides it")
    parser.addini("nobuco_xfails", "files of known gaps, as --nobuco-xfails, which adds to them", type="paths")
    parser.addini("nobuco_converters_backend", "for the plugin's own tests", default=REAL_CONVERTERS)
    parser.addini("nobuco_backend", "for the plugin's own tests", default=REAL_BACKEND)
    parser.addini("nobuco_latency_runtimes", "for the plugin's own tests", default=REAL_RUNTIMES)


def read_options(config: pytest.Config) -> Options:
    """What was given; a value in the ini file that is no number is a usage error."""
    _refuse_dashes(config.invocation_params.args)
    models = read_named(config.getoption(NAMED), config.invocation_params.dir)
    _check_dynamic(config.getoption("nobuco_dynamic"), models)
    if config.getoption("nobuco_converters_from") and not config.getoption("nobuco_converters"):
        module = config.getoption("nobuco_converters_from")[0]
        raise pytest.UsageError(f"--nobuco-converters-from {module}: give --nobuco-converters, which tries converters")
    return Options(
        models=models,
        orders=tuple(config.getoption("nobuco_order")) or tuple(_each(config, "nobuco_orders", told(read_order))),
        runtimes=tuple(config.getoption("nobuco_runtime")),
        ini_runtimes=tuple(_ini(config, "nobuco_runtimes")),
        dynamic=config.getoption("nobuco_dynamic") or _checked(config, "nobuco_dynamic", told(read_letters)),
        quick=config.getoption("nobuco_quick") or _ini(config, "nobuco_quick"),
        max_abs_diff=config.getoption("nobuco_max_abs_diff"),
        max_rel_diff=config.getoption("nobuco_max_rel_diff"),
        ini_max_abs_diff=_checked(config, "nobuco_max_abs_diff", _bound),
        ini_max_rel_diff=_checked(config, "nobuco_max_rel_diff", _bound),
        max_abs_limit=config.getoption("nobuco_max_abs_limit"),
        min_snr=config.getoption("nobuco_min_snr"),
        ini_min_snr=_checked(config, "nobuco_min_snr", _bound),
        strict_nodes=config.getoption("nobuco_strict_nodes"),
        seed=config.getoption("nobuco_seed"),
        fuzz=config.getoption("nobuco_fuzz"),
        tries=tuple(config.getoption("nobuco_try")),
        backend=_backend(config),
        converters=tuple(dict.fromkeys(config.getoption("nobuco_converters"))),
        converters_from=tuple(config.getoption("nobuco_converters_from")),
        samples=config.getoption("nobuco_samples"),
        converters_backend=config.getini("nobuco_converters_backend"),
        others=read_backend_options(config, [model.name for model in models]),
    )


def _refuse_dashes(words: Sequence[str]) -> None:
    """Refuse `--option=--`: Python's parser takes the dashes away, and the option has no value at all."""
    for word in words:
        if word.startswith("--nobuco-") and word.endswith("=--"):
            raise pytest.UsageError(f"{word}: '--' is no value")


def _check_dynamic(asked: str | None, models: Sequence[NamedModel]) -> None:
    """Refuse a command line that says of one axis both that it is dynamic and that none is."""
    marked = [given for model in models for given in model.inputs if getattr(given, "free", ())]
    if asked == NONE and marked:
        raise pytest.UsageError(f"--nobuco-dynamic none: {marked[0]} has a dynamic size; leave out one of the two")


def _backend(config: pytest.Config) -> str:
    """What stands in for the frameworks in the plugin's own tests, by module; other converters have an option."""
    name = config.getini("nobuco_backend")
    if ":" not in name:
        raise pytest.UsageError(f"ini key nobuco_backend: {name!r} is no backend; give addopts = --nobuco-backend NAME")
    return str(name)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no count; it is a whole number from 1 up")
    return int(text)


def _bound(text: str) -> float:
    try:
        bound = float(text)
    except ValueError:
        bound = -1.0
    if not bound >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no bound; a bound is a number from 0 up, e.g. 1e-4")
    return bound


def _ini(config: pytest.Config, key: str) -> Any:
    """What the ini file says, in the form that its type has there."""
    try:
        return config.getini(key)
    except (TypeError, ValueError, pytest.UsageError) as error:
        raise pytest.UsageError(f"ini key {key}: {error}{_FORMS.get(key, '')}") from None


def _checked(config: pytest.Config, key: str, read: Callable[[str], T]) -> T | None:
    value = _ini(config, key)
    return None if value is None or value == "" else _read(key, value, read)


def _each(config: pytest.Config, key: str, read: Callable[[str], T]) -> list[T]:
    return [_read(key, value, read) for value in _ini(config, key)]


def _read(key: str, value: Any, read: Callable[[str], T]) -> T:
    try:
        return read(value if isinstance(value, str) else f"{value:g}")
    except argparse.ArgumentTypeError as error:
        raise pytest.UsageError(f"ini key {key}: {error}") from None
