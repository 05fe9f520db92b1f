"""Mutants tried by tests of models: a small network with the operation inside, as anybody's CI would run it.

The network scales what it is given, calls the operation on it, and scales what comes out. Its inputs are a sample that
the converter's own item fails by, so that the fault shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from conformance.mutants.rules import Mutant
from nobuco.builtin import find_converter
from nobuco.registry import operation_name
from pytest_nobuco.converters.calls import Call, fresh, run, tensors_of

ITEMS = Path(__file__).parent / "model_items.py"


class Scale(nn.Module):
    """A learned factor, which is still one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))  # which changes no rank

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Numbers scaled; all else as it is."""
        return x * self.weight.to(x.dtype) if x.is_floating_point() or x.is_complex() else x


class Around(nn.Module):
    """A network with a sample's call inside; a module that is called is part of it."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        sample = fresh(call.sample)
        self.before, self.after = Scale(), Scale()
        self.call, self.args, self.keywords = call, sample.args, dict(sample.kwargs)
        modules = [leaf for leaf in pytree.tree_leaves(sample.args) if isinstance(leaf, nn.Module)]
        self.inside, self.in_training = nn.ModuleList(modules), [module.training for module in modules]
        self.places = {id(tensor): i for i, tensor in enumerate(tensors_of((sample.args, sample.kwargs)))}

    def forward(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """The call on these tensors, in the order of the sample's."""
        scaled = [self.before(tensor) for tensor in tensors]
        args, kwargs = pytree.tree_map(
            lambda leaf: scaled[self.places[id(leaf)]] if id(leaf) in self.places else leaf, (self.args, self.keywords)
        )
        results = run(self.call.operation, args, kwargs, self.call.sample.program, self.call.written)
        return [self.after(result) for result in results]

    def train(self, mode: bool = True) -> Around:
        """In a mode; what is called stays as the sample has it."""
        super().train(mode)
        for module, in_training in zip(self.inside, self.in_training):
            module.train(in_training)
        return self

    def __deepcopy__(self, memo: Any) -> Around:
        """A network of its own, made of the same call: the places of tensors are by identity."""
        return Around(self.call).train(self.training)


@dataclass(frozen=True)
class ModelTrial:
    """A mutant, and the sample to put into a network."""

    mutant: Mutant
    call: Call

    def model(self) -> nn.Module:
        """The network."""
        return Around(self.call)

    @property
    def inputs(self) -> list[torch.Tensor]:
        """What it is given."""
        sample = fresh(self.call.sample)
        return list(tensors_of((sample.args, sample.kwargs)))


@dataclass
class ModelTests:
    """A pytest plugin that makes an item of each trial, and keeps the text of each failure."""

    trials: Mapping[str, ModelTrial]
    failures: dict[str, str] = field(default_factory=dict)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """An item for each trial."""
        if "trial" in metafunc.fixturenames:
            found = self.trials.items()
            params = [
                pytest.param(trial, id=name, marks=pytest.mark.convert(inputs=trial.inputs)) for name, trial in found
            ]
            metafunc.parametrize("trial", params)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Keep what failed."""
        report = yield
        if report.failed:
            trial: ModelTrial = item.callspec.params["trial"]  # type: ignore[attr-defined]
            self.failures[trial.mutant.name] = report.longreprtext
        return report


def failures_of(trials: Mapping[str, ModelTrial]) -> Mapping[str, str]:
    """The text of each failure, by the trial's name, in one session of pytest for each form."""
    forms: dict[tuple[str, ...], dict[str, ModelTrial]] = {}
    for name, trial in trials.items():
        forms.setdefault(_options(trial.mutant), {})[name] = trial
    failures: dict[str, str] = {}
    for form, its in forms.items():
        tests = ModelTests(its)
        options = ["-p", "no:terminal", "-p", "no:cacheprovider", "-W", "ignore", "--capture=fd", *form]
        pytest.main([str(ITEMS), *options, f"--rootdir={ITEMS.parent}", "-c", "/dev/null"], plugins=[tests])
        failures |= tests.failures
    return failures


def _options(mutant: Mutant) -> tuple[str, ...]:
    """The form of the model in which a mutant is to show."""
    dynamic = "auto" if mutant.shape == "dynamic" else "none"
    return f"--nobuco-order={mutant.order}", f"--nobuco-runtime={mutant.runtime}", f"--nobuco-dynamic={dynamic}"


def names_it(failure: str, mutant: Mutant) -> bool:
    """Whether a failure names the mutant's operation, in any spelling, as the culprit, or as what raises."""
    converter = find_converter(mutant.operation)
    assert converter is not None
    told = re.search(r"culprit: (.*)|cannot be converted: (.*)", failure)
    names = "|".join(sorted(map(re.escape, map(operation_name, converter.operations)), key=len, reverse=True))
    return told is not None and re.search(rf"(^|[ (])({names})[,): ]", told[1] or told[2]) is not None


def found_by_models(samples: Iterable[tuple[Mutant, Sequence[Call]]]) -> dict[str, str]:
    """By mutant, what a model's test says of it: '' where it fails and names it, else what is amiss.

    Where a network does not show the fault on the first sample, it is tried on the next.
    """
    left = {mutant.name: (mutant, list(calls)) for mutant, calls in samples}
    found = dict.fromkeys(left, "no sample")
    while any(calls for _, calls in left.values()):
        trials = {name: ModelTrial(mutant, calls.pop(0)) for name, (mutant, calls) in left.items() if calls}
        failures = failures_of(trials)
        for name, trial in trials.items():
            text = failures.get(name)
            found[name] = "passes" if text is None else "" if names_it(text, trial.mutant) else text
        left = {name: one for name, one in left.items() if found[name] and one[1]}
    return found
