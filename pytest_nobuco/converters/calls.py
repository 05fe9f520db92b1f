"""Calls to compare: each spelling of an operation on samples that PyTorch itself accepts.

Imports PyTorch, so it is itself imported only when an item runs.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from nobuco.bridge import tf_dtype, to_numpy
from nobuco.ir import leaves
from nobuco.registry import Operation, Sample, operation_name
from nobuco.trace.calls import draws, is_uninitialised
from pytest_nobuco.converters.samples import seeding, writes

# Dtypes in which PyTorch itself may be far off.
SHORT = ("float16", "bfloat16")


@dataclass(frozen=True, eq=False)
class Call:
    """A sample through one spelling, and what PyTorch makes of it.

    random: the values differ from one run of PyTorch to the next, so only shape and dtype are fixed.
    expected: the tensors that it gives, in order.
    written: which of its tensors it writes to besides, as batch normalisation to its statistics; they come behind.
    """

    operation: Operation
    sample: Sample
    expected: tuple[np.ndarray, ...]
    random: bool = False
    written: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The spelling."""
        return operation_name(self.operation)

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Its inputs."""
        return tensors_of((self.sample.args, self.sample.kwargs))

    def describe(self) -> str:
        """The call in words."""
        args = [_written(arg) for arg in self.sample.args]
        args += [f"{name}={_written(value)}" for name, value in self.sample.kwargs.items()]
        return f"{self.name}({', '.join(args)})"


class RefusedError(Exception):
    """PyTorch itself does not take the sample, or gives nothing that could be compared."""


def tensors_of(tree: Any) -> tuple[torch.Tensor, ...]:
    """The tensors of an argument tree, in the order of the converted model's inputs."""
    return tuple(leaf for leaf in leaves(tree) if isinstance(leaf, torch.Tensor))


def run(
    operation: Operation,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    program: Any = None,
    written: Sequence[int] = (),
) -> list[Any]:
    """Call an operation; the tensors that it gives. In place: what was written, whatever is returned.

    Behind them, of its own tensors, those that it writes to besides.
    """
    tensors = tensors_of((tuple(args), dict(kwargs))) if written else ()
    if program is not None:
        result = program(operation, *args, **kwargs)
    elif isinstance(operation, type) and issubclass(operation, nn.Module):
        result = args[0](*args[1:], **kwargs)
    elif writes(operation):
        operation(*args, **kwargs)
        result = args[0]
    else:
        result = operation(*args, **kwargs)
    given = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]
    return [*given, *(tensors[i] for i in written)]


Accepts = Callable[[Call], bool]


def choose(
    operations: Sequence[Operation],
    samples: Sequence[Sample],
    most: int | None = None,
    all_spellings: bool = True,
    accepts: Accepts | None = None,
    seed: int = 0,
) -> list[Call]:
    """Calls spread over the samples, in which each spelling occurs (with `most`: no more than so many).

    ATen overloads are no spellings that people write: each occurs if a sample fits.

    Raises:
        RefusedError: there is a spelling that takes none of the samples; without `all_spellings`, none does.
    """
    found: list[Call] = []
    reasons: list[str] = []
    count = min(most or max(8, len(operations)), max(len(samples), len(operations)))
    for number in range(count):
        operation = operations[number % len(operations)]
        start = number * len(samples) // count
        taken = {id(call.sample) for call in found if call.operation is operation}
        for sample in (*samples[start:], *samples[:start]):
            if id(sample) in taken:
                continue
            try:
                found.append(attempt(operation, sample, accepts, seed))
                break
            except RefusedError as error:
                reasons.append(f"{operation_name(operation)} takes none of {len(samples)} samples: {error}")
        else:
            if not taken and all_spellings and not isinstance(operation, torch._ops.OpOverload):
                raise RefusedError(reasons[-1] if reasons else "the list of samples is empty")
    if not found:
        raise RefusedError(reasons[-1] if reasons else "the list of samples is empty")
    return found


def spread(
    operations: Sequence[Operation], samples: Sequence[Sample], accepts: Accepts | None = None, seed: int = 0
) -> list[Call]:
    """A call of each sample, through one spelling after the other; without the samples that none of them takes."""
    found: list[Call] = []
    for number, sample in enumerate(samples):
        first = number % len(operations)
        for operation in (*operations[first:], *operations[:first]):
            with contextlib.suppress(RefusedError):
                found.append(attempt(operation, sample, accepts, seed))
                break
    return found


def attempt(operation: Operation, sample: Sample, accepts: Accepts | None = None, seed: int = 0) -> Call:
    """Run a sample in PyTorch, twice, to see whether it is random.

    Raises:
        RefusedError: PyTorch refuses, or what it gives cannot be compared, or `accepts` says no.
    """
    tensors = tensors_of((sample.args, sample.kwargs))
    _require(bool(tensors), "it holds no tensor")
    _require("out" not in sample.kwargs, "it has an output argument")
    _require(_is_resolved(operation, sample), "PyTorch takes another overload for it")
    for tensor in tensors:
        _require(tensor.layout is torch.strided, "a sparse tensor")
        _require(not tensor.is_quantized, "a quantized tensor")
    written = written_by(operation, sample, seed)
    first, second = (outputs_of(operation, sample, seed + extra, written) for extra in (0, 1))
    _require(bool(first), "it gives no tensor")
    for tensor in (*tensors, *first):
        _require(tensor.layout is torch.strided, "a sparse tensor")
        try:
            tf_dtype(tensor.dtype)
        except TypeError:
            raise RefusedError(f"TensorFlow has no {tensor.dtype}") from None
    expected = tuple(to_numpy(tensor) for tensor in first)
    again = tuple(to_numpy(tensor) for tensor in second)
    random = is_uninitialised(operation) or any(not _alike(a, b) for a, b in zip(expected, again))
    by_luck = not random and draws(operation) and _takes_chances(operation, sample, seed)
    _require(not by_luck, "it is random, and two runs give the same")
    _require(not random or all(_finite(array) for array in expected), "it is random, and not finite")
    _require(random or any(_tells(array) for array in expected), "it is NaN or infinite everywhere")
    call = Call(operation, sample, expected, random, written)
    _require(accepts is None or accepts(call), "the converter is not asked, or PyTorch leaves open what the call gives")
    return call


def _is_resolved(operation: Operation, sample: Sample) -> bool:
    """Whether an ATen overload is the one that PyTorch itself takes for these arguments; True for all else."""
    if not isinstance(operation, torch._ops.OpOverload) or sample.program is not None:
        return True
    try:
        found = torch._C._jit_resolve_packet(operation._schema.name, *sample.args, **sample.kwargs)
    except RuntimeError:
        return False
    return found == operation._overloadname


def again(call: Call, seed: int) -> tuple[np.ndarray, ...]:
    """What PyTorch gives in another run, for a random call."""
    return tuple(to_numpy(tensor) for tensor in outputs_of(call.operation, call.sample, seed, call.written))


def in_float32(call: Call) -> tuple[np.ndarray, ...] | None:
    """What PyTorch gives for a call in 16 bits when it computes in 32, rounded afterwards; None for other calls."""
    if not any(str(tensor.dtype).removeprefix("torch.") in SHORT for tensor in call.tensors):
        return None
    wide = [
        tensor.float() if tensor.dtype.itemsize == 2 and tensor.is_floating_point() else tensor
        for tensor in call.tensors
    ]
    modules = [copy.deepcopy(arg).float() if isinstance(arg, nn.Module) else arg for arg in call.sample.args]
    sample = with_tensors(replace(call.sample, args=tuple(modules)), wide)
    try:
        outputs = outputs_of(call.operation, sample, 0, call.written)
    except RefusedError:
        return None
    names = [array.dtype.name for array in call.expected]
    return tuple(
        to_numpy(tensor.to(getattr(torch, name)) if tensor.is_floating_point() else tensor)
        for tensor, name in zip(outputs, names)
    )


def with_tensors(sample: Sample, tensors: Sequence[torch.Tensor]) -> Sample:
    """The sample with other tensors in the places of its own."""
    from nobuco.ir import map_leaves

    rest = iter(tensors)
    args, kwargs = map_leaves(
        lambda leaf: next(rest) if isinstance(leaf, torch.Tensor) else leaf, (tuple(sample.args), dict(sample.kwargs))
    )
    return replace(sample, args=args, kwargs=kwargs)


def is_untied(sample: Sample) -> bool:
    """Whether no two elements of the first tensor are equal, or it does not matter since the call is stable."""
    first = tensors_of((sample.args, sample.kwargs))[0]
    return bool(sample.kwargs.get("stable")) or first.unique().numel() == first.numel()


def untied(sample: Sample) -> Sample:
    """The sample with numbers in the order of its own in its first tensor, all different as far as the dtype counts."""
    first, *others = tensors_of((sample.args, sample.kwargs))
    if is_untied(sample):
        return sample
    ranks = first.flatten().argsort(stable=True).argsort() - first.numel() // 2
    return with_tensors(sample, [ranks.reshape(first.shape).to(first.dtype), *others])


def fresh(sample: Sample) -> Sample:
    """The sample on copies of its tensors, each a tensor of its own; as PyTorch lays them out, with no flags set."""
    tensors = tensors_of((sample.args, sample.kwargs))
    return with_tensors(sample, [tensor.detach().resolve_conj().resolve_neg().clone() for tensor in tensors])


def outputs_of(operation: Operation, sample: Sample, seed: int, written: Sequence[int] = ()) -> list[torch.Tensor]:
    """What PyTorch gives for copies of a sample's tensors.

    Raises:
        RefusedError: it does not take them.
    """
    return _ran(operation, fresh(sample), seed, written)


def written_by(operation: Operation, sample: Sample, seed: int) -> tuple[int, ...]:
    """Which of a sample's tensors a call writes to, though its name does not say so."""
    if sample.program is not None or writes(operation):
        return ()
    copied = fresh(sample)
    _ran(operation, copied, seed)
    return _changed(sample, copied)


def observed(operation: Operation, sample: Sample, seed: int) -> list[torch.Tensor]:
    """What PyTorch gives, and behind it what it writes to besides."""
    copied = fresh(sample)
    results = _ran(operation, copied, seed)
    if sample.program is not None or writes(operation):
        return results
    tensors = tensors_of((copied.args, copied.kwargs))
    return [*results, *(tensors[i] for i in _changed(sample, copied))]


def _changed(sample: Sample, copied: Sample) -> tuple[int, ...]:
    before, after = (tensors_of((one.args, one.kwargs)) for one in (fresh(sample), copied))
    return tuple(
        i for i, (was, now) in enumerate(zip(before, after)) if not torch.equal(_patterns(was), _patterns(now))
    )


def _patterns(tensor: torch.Tensor) -> torch.Tensor:
    """Its bits, in which NaN equals itself."""
    return (
        tensor.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)
    )  # of one, any stride will do


def _ran(operation: Operation, copied: Sample, seed: int, written: Sequence[int] = ()) -> list[torch.Tensor]:
    with seeding(seed):
        return _called(operation, copied, written)


def _takes_chances(operation: Operation, sample: Sample, seed: int) -> bool:
    """Whether a call takes numbers from the generator, as one to `dropout` in a model that is not trained does not."""
    with seeding(seed):
        before = torch.get_rng_state()
        _called(operation, fresh(sample))
        return not torch.equal(before, torch.get_rng_state())


def _called(operation: Operation, copied: Sample, written: Sequence[int] = ()) -> list[torch.Tensor]:
    modules = [copy.deepcopy(arg) if isinstance(arg, nn.Module) else arg for arg in copied.args]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return run(operation, modules, copied.kwargs, copied.program, written)
        except Exception as error:
            raise RefusedError(f"{type(error).__name__}: {error}") from error


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise RefusedError(reason)


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two runs gave the same but for rounding: some of LAPACK's drivers choose pivots by unset memory."""
    if a.shape != b.shape or np.array_equal(_bits(a), _bits(b)):
        return a.shape == b.shape
    real = a.dtype.kind in "fc" and _finite(a)
    return real and np.allclose(a, b, rtol=0, atol=1e-6 * float(np.abs(a).max()))


def _bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _tells(array: np.ndarray) -> bool:
    """Whether there is something to compare in it; that it is empty is something."""
    if array.dtype.kind == "V" or not array.size:  # bfloat16 is opaque to NumPy
        return True
    return bool(np.isfinite(array).any())


def _finite(array: np.ndarray) -> bool:
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def _written(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, nn.Module):
        return " ".join(str(value).split())
    if isinstance(value, (list, tuple)):
        inside = ", ".join(_written(entry) for entry in value)
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' if len(value) == 1 else ''})"
    return repr(value)
