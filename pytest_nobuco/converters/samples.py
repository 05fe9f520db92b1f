"""What a converter is tried on, and where it comes from.

In this order: the samples given at registration, PyTorch's own OpInfo and ModuleInfo, and for built-in converters
the tables in `builtin_samples` and its neighbours. Imports PyTorch and nobuco, so it is itself imported
only when converters are listed.
"""

from __future__ import annotations

import contextlib
import functools
import random
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from nobuco.builtin import find_converter
from nobuco.ir import map_leaves
from nobuco.ops.forms import is_in_place
from nobuco.registry import Converter, Operation, Sample, operation_name
from pytest_nobuco.converters import aten_samples, builtin_samples, sequence_samples, size_samples, spatial_samples
from pytest_nobuco.converters.builtin_facts import MAIN_DTYPES, ONLY_DYNAMIC
from pytest_nobuco.converters.signatures import ModuleSample, named
from pytest_nobuco.errors import SuiteError

_TABLES = (builtin_samples, spatial_samples, sequence_samples, size_samples, aten_samples)
SAMPLES = {operation: make for table in _TABLES for operation, make in table.SAMPLES.items()}
# The order in which the first that an operation takes becomes its main dtype.
DTYPES = ("float32", "float16", "bfloat16", "int64", "int32", "bool", "complex64")
# Of the hundreds of samples that some operations have; choosing among more takes time and shows nothing new.
_MOST = 300
# Of how many samples of each OpInfo the ATen calls are recorded, and how many calls of each overload are kept: so many
# in any case, and of those whose options no other has so many.
_WATCHED, _RECORDED, _RECORDED_OPTIONS = 24, 8, 24


@dataclass(frozen=True)
class Source:
    """Where a converter's samples come from.

    dtypes: those that can be drawn, the main one first; empty where samples have the dtypes that they have.
    draw: the samples of a dtype (None where there are none to choose from).
    own: of these, in the main dtype, those that stand behind PyTorch's, since PyTorch's lack something.
    """

    name: str
    dtypes: tuple[str, ...]
    draw: Callable[[str | None], list[Sample]]
    own: Callable[[], list[Sample]] = list


def source_of(converter: Converter, operations: Sequence[Operation]) -> Source | None:
    """Where the samples of a converter come from, which serves these operations; None if there are none."""
    if converter.samples is not None:
        given = converter.samples
        return Source("registration", (), lambda dtype: _seeded(given))
    infos = list({id(info): info for operation in operations for info in _infos().get(_key(operation), ())}.values())
    own = [SAMPLES[key] for key in dict.fromkeys(map(_key, operations)) if key in SAMPLES]
    ours = functools.partial(_seeded, lambda: [sample for make in own for sample in make()])
    if own and all(isinstance(operation, torch._ops.OpOverload) for operation in operations):
        infos = []  # whose arguments are those of the public operation
    if own and any(fnmatchcase(operation_name(op), name) for op in operations for name in ONLY_DYNAMIC):
        infos = []  # which call them on nothing, or on numbers
    if infos:
        dtypes = _dtypes(operations, (_supported(info, operations) for info in infos))
        return Source("OpInfo", dtypes, lambda dtype: _of_infos(infos, own, dtype, dtypes[0]), ours)
    modules = [info for operation in operations for info in _module_infos().get(operation, ())]
    if modules:
        dtypes = _dtypes(operations, (info.dtypes for info in modules))
        return Source("ModuleInfo", dtypes, lambda dtype: _of_modules(modules, own, dtype, dtypes[0]), ours)
    if own:
        return Source("table", (), lambda dtype: ours())
    if all(isinstance(operation, torch._ops.OpOverload) for operation in operations):
        recorded = functools.partial(_recorded_of, tuple(operations))
        return Source("the calls that OpInfo's operations make", (), lambda dtype: recorded())
    return None


def _dtypes(operations: Sequence[Operation], supported: Iterable[Iterable[torch.dtype]]) -> tuple[str, ...]:
    """What is supported; an operation that does nothing to float32 has another main dtype."""
    names = {str(dtype).removeprefix("torch.") for dtypes in supported for dtype in dtypes}
    mains = [MAIN_DTYPES[name] for name in map(operation_name, operations) if name in MAIN_DTYPES]
    return tuple(dtype for dtype in dict.fromkeys((*mains, *DTYPES)) if dtype in names)


def _supported(info: Any, operations: Sequence[Operation]) -> Iterable[torch.dtype]:
    """What an OpInfo supports; what makes floats of integers cannot write them into integers."""
    dtypes = info.supported_dtypes("cpu")
    if getattr(info, "promotes_int_to_float", False) and all(map(writes, operations)):
        return [dtype for dtype in dtypes if dtype.is_floating_point or dtype.is_complex]
    return dtypes


def writes(operation: Operation) -> bool:
    """Whether an operation's name says that it writes to its first argument."""
    return operation == torch.Tensor.__setitem__ or is_in_place(operation)


@contextmanager
def seeding(seed: int) -> Iterator[None]:
    """Random numbers of PyTorch, NumPy and Python from this seed, theirs restored afterwards."""
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        _seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


def _seed(seed: int) -> None:
    torch.default_generator.manual_seed(seed)  # all that `torch.manual_seed` adds is of other devices, and slow
    np.random.seed(seed)
    random.seed(seed)


def _seeded(make: Callable[[], Sequence[Sample]]) -> list[Sample]:
    with seeding(0):
        return list(make())


def _of_infos(infos: Sequence[Any], own: Sequence[Any], dtype: str | None, main: str) -> list[Sample]:
    """OpInfo's samples, and with the main dtype our own behind them."""
    wanted = getattr(torch, dtype or main)
    found = []
    with seeding(0):
        for info in infos:
            if wanted not in info.supported_dtypes("cpu"):
                continue
            for sample in islice(sample_inputs(info, wanted), _MOST):
                found.append(Sample((sample.input, *sample.args), sample.kwargs))
        if dtype == main:
            found += [sample for make in own for sample in make()]
    return found


def sample_inputs(info: Any, dtype: torch.dtype) -> Iterator[Any]:
    """What `info.sample_inputs` of an OpInfo gives; that reads the sources of all frames of the stack, twice."""
    from torch.testing._internal.common_utils import SEED

    samples = iter(info.sample_inputs_func(info, "cpu", dtype, False))
    while True:
        _seed(SEED)
        try:
            yield next(samples)
        except StopIteration:
            return


def _of_modules(infos: Sequence[Any], own: Sequence[Any], dtype: str | None, main: str) -> list[Sample]:
    wanted = getattr(torch, dtype or main)
    found: list[Sample] = []
    with seeding(0):
        for info in infos:
            inputs = info.module_inputs_func(info, device="cpu", dtype=wanted, requires_grad=False, training=False)
            for given in inputs:
                arguments = named(info.module_cls, given.constructor_input.args, given.constructor_input.kwargs)
                make = functools.partial(_module, info.module_cls, wanted)
                inputs, options = given.forward_input.args, given.forward_input.kwargs
                found.append(ModuleSample((make(arguments), *inputs), options, make=make, arguments=arguments))
        if dtype == main:
            found += [sample for make in own for sample in make()]
    return found


def _module(kind: type[nn.Module], dtype: torch.dtype, arguments: Mapping[str, Any]) -> nn.Module:
    """The same arguments give the same weights, and so do others that have no part in them."""
    with seeding(0):
        return randomized(kind(**arguments).to(dtype))


@torch.no_grad()
def randomized(module: nn.Module) -> nn.Module:
    """The module in eval mode, with weights and statistics that are not the identity, so that losing them shows."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point() and tensor.numel() and bool((tensor == tensor.flatten()[0]).all()):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point() and tensor.dim() > 1 and tensor.numel():  # the row of `padding_idx`
            tensor[(tensor == 0).flatten(1).all(1)] = 0.7
    return module.eval()


@functools.cache
def _infos() -> dict[Any, list[Any]]:
    """PyTorch's OpInfos by the operations that they describe."""
    try:
        from torch.testing._internal.common_methods_invocations import op_db
    except ImportError as error:
        raise SuiteError(f"PyTorch's samples need {error.name}: pip install 'nobuco[pytest]'") from None

    found: defaultdict[Any, list[Any]] = defaultdict(list)
    for info in op_db:
        operations = [info.op, info.method_variant, info.inplace_variant, info.inplace_operator_variant]
        operations += [info.operator_variant, *_named(info.name), *_overloads(info.aten_name)]
        for alias in info.aliases:
            operations += [alias.op, alias.method_variant, alias.inplace_variant, *_named(alias.name)]
        for operation in operations:
            # Python's operators are operations of ours only on sizes, not on tensors.
            if operation is None or getattr(operation, "__module__", None) == "_operator":
                continue
            if not any(info is other for other in found[_key(operation)]):
                found[_key(operation)].append(info)
    return found


@functools.cache
def _module_infos() -> dict[Any, list[Any]]:
    from torch.testing._internal.common_modules import module_db

    found: defaultdict[Any, list[Any]] = defaultdict(list)
    for info in module_db:
        found[info.module_cls].append(info)
    return found


def _named(name: str) -> Iterator[Any]:
    """What an OpInfo's name means, in-place spellings too; its `op` may be a wrapper that fixes an argument."""
    spaces = [(torch, name), (torch.Tensor, name), (torch, name.removeprefix("nn.functional."))]
    for space, path in spaces:
        for spelling in (path, f"{path}_"):
            try:
                yield functools.reduce(getattr, spelling.split("."), space)
            except AttributeError:
                continue


def _overloads(name: str) -> Iterator[Any]:
    packet = getattr(torch.ops.aten, name, None)
    if packet is not None:
        yield from (getattr(packet, overload) for overload in packet.overloads())


def _recorded_of(operations: Sequence[Any]) -> list[Sample]:
    """In float64, which some ask of themselves, only where there is nothing else: no converter is tried in it."""
    calls = [sample for operation in operations for sample in _recorded().get(operation, ())]
    return [sample for sample in calls if not _is_double(sample)] or calls


def _is_double(sample: Sample) -> bool:
    leaves = pytree.tree_leaves((sample.args, dict(sample.kwargs)))
    return any(isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64 for leaf in leaves)


@functools.cache
def _recorded() -> dict[Any, list[Sample]]:
    """Calls of ATen overloads that PyTorch makes of the first samples of its OpInfos."""
    from torch.testing._internal.common_methods_invocations import op_db

    recorder = _Recorder()
    with seeding(0), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for info in op_db:
            if torch.float32 in info.supported_dtypes("cpu"):
                for sample in islice(sample_inputs(info, torch.float32), _WATCHED):
                    with recorder, contextlib.suppress(Exception):  # some samples want more than a call
                        info.op(sample.input, *sample.args, **sample.kwargs)
    return recorder.calls


class _Recorder(TorchDispatchMode):
    """Keeps the first few calls of each overload that has a converter."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[Any, list[Sample]] = {}
        self._options: defaultdict[Any, set[str]] = defaultdict(set)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        calls = self.calls.setdefault(func, []) if find_converter(func) is not None else None
        if calls is not None and self._adds(func, args, kwargs):
            copied = map_leaves(
                lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, (args, kwargs or {})
            )
            calls.append(Sample(*copied))
        return func(*args, **(kwargs or {}))

    def _adds(self, func: Any, args: Any, kwargs: Any) -> bool:
        """Whether there are few calls yet, or none with these options: what is said besides tensors.

        One on nothing tells little, and PyTorch's samples of matrices begin with many of these.
        """
        seen, said = self._options[func], [a for a in (*args, *(kwargs or {}).values()) if type(a) in (bool, str, int)]
        tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        said += ["a mask"] * any(x.dtype is torch.bool for x in tensors[1:])
        if not any(x.numel() for x in tensors):
            said = ["nothing"]
        is_new = str(said) not in seen
        seen.add(str(said))
        if said == ["nothing"]:
            return is_new
        return len(self.calls[func]) < (_RECORDED_OPTIONS if is_new else _RECORDED)


def _key(operation: Any) -> Any:
    return ("getter", operation.__self__) if type(operation).__name__ == "method-wrapper" else operation
