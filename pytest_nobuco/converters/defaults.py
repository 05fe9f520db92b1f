"""Samples that tell the default of a number from another: of a converter with another eps only small input may tell.

PyTorch decides, as for other parameters: a sample without the parameter tells if a neighbour of the default gives
something else. Where none of the samples does, one of them gets numbers of another size in a tensor, or in a
module's buffers.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nobuco.registry import Sample
from pytest_nobuco.converters.bases import Base
from pytest_nobuco.converters.calls import tensors_of, with_tensors
from pytest_nobuco.converters.domains import GIVEN, IDLE, OF_MODULES
from pytest_nobuco.converters.outcomes import SpecialSample
from pytest_nobuco.converters.parameters import Trials, differ
from pytest_nobuco.converters.signatures import ModuleSample, Parameter, parameters_of

# The neighbours of a default, and how many samples are looked at, and given other numbers.
_NEIGHBOURS = (10.0, 0.1)
_LOOKED_AT, _RESIZED = 12, 3


def telling(trials: Trials, taken: Sequence[Sample], accepts: Callable[[Sample], bool]) -> list[Sample]:
    """Further samples, so that the default of each number is told from its neighbours."""
    base_of = functools.cache(lambda place: trials.changed(taken[place], {}))
    idle = (*IDLE, *GIVEN, *(OF_MODULES if isinstance(trials.operation, type) else ()))
    found: list[Sample] = []
    for parameter in parameters_of(trials.signatures):
        if not isinstance(parameter.default, float) or not parameter.default or parameter.name in idle:
            continue
        places = [place for place, sample in enumerate(taken) if _lacks(trials, sample, parameter)][:_LOOKED_AT]
        bases = [base for place in places if (base := base_of(place)) is not None]
        for factor in _NEIGHBOURS:
            change = {parameter.name: parameter.default * factor}
            if any(_tells(trials, base, change) for base in bases):
                continue
            resized = (
                sample for base in bases[:_RESIZED] for sample in _of_other_sizes(base.sample, abs(parameter.default))
            )
            made = (trials.changed(sample, {}) for sample in resized)
            fitting = (b.sample for b in made if b is not None and _tells(trials, b, change) and accepts(b.sample))
            found += [_of_kernels(sample) for sample in [next(fitting, None)] if sample is not None]
    return found


def _lacks(trials: Trials, sample: Sample, parameter: Parameter) -> bool:
    """Whether a sample does not give a parameter, so that it is the converter's own default that counts."""
    return sample.program is None and parameter.name not in trials.given(sample)


def _of_kernels(sample: Sample) -> Sample:
    """Marked as what TFLite's kernels decide on, some of which take small numbers for zero."""
    if isinstance(sample, ModuleSample):
        return sample
    return SpecialSample(sample.args, sample.kwargs, sample.program, "small")


def _tells(trials: Trials, base: Base, change: dict[str, Any]) -> bool:
    changed = trials.changed(base.sample, change)
    return changed is not None and differ(changed.outputs, base.outputs)


def _of_other_sizes(sample: Sample, default: float) -> Iterator[Sample]:
    """Numbers of the size of a default and of its root; far larger ones; and two tensors that differ by as little."""
    tensors = tensors_of((sample.args, sample.kwargs))
    for size in (default**0.5, default, 1e2):
        for place, x in enumerate(tensors):
            if x.numel() and x.is_floating_point():
                yield with_tensors(sample, [y * size if i == place else y for i, y in enumerate(tensors)])
        if isinstance(sample, ModuleSample) and sample.make is not None:
            made = functools.partial(_resized, sample.make, size)
            yield replace(sample, args=(made(sample.arguments), *sample.args[1:]), make=made)
    if len(tensors) > 1 and tensors[0].shape == tensors[1].shape:
        for apart in (3 * default, default / 3):
            yield with_tensors(sample, [tensors[0], tensors[0] * (1 + apart), *tensors[2:]])


@torch.no_grad()
def _resized(make: Callable[[Any], nn.Module], size: float, arguments: Any) -> nn.Module:
    """A module whose buffers are of another size, such as the variances of batch normalisation."""
    module = make(arguments or {})
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer *= size
    return module
