"""The entries of PyTorch's OpInfo and ModuleInfo databases, and their samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.modules.lazy import LazyModuleMixin
from torch.testing._internal.common_modules import ModuleInfo

from nobuco.ir import tensors
from nobuco.registry import Sample
from pytest_nobuco.converters.samples import randomized, sample_inputs

DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64, torch.complex64, torch.complex128,
)  # fmt: skip
_MOST = 300  # samples to choose from


def name_of(info: Any) -> str:
    """The entry's name, with its variant."""
    variant = getattr(info, "variant_test_name", "")
    return f"{info.name}.{variant}" if variant else info.name


def dtypes_of(info: Any) -> Any:
    """The dtypes that an entry takes."""
    return info.dtypes if isinstance(info, ModuleInfo) else info.supported_dtypes("cpu")


def samples_of(info: Any, dtype: torch.dtype, count: int | None) -> list[Sample]:
    """`count` samples (None: all) of a dtype, spread over an entry's."""
    drawn = _of_module(info, dtype) if isinstance(info, ModuleInfo) else _of_operation(info, dtype)
    samples = [sample for sample, _ in zip(drawn, range(_MOST)) if _is_usable(sample)]
    return [samples[i * len(samples) // count] for i in range(min(count, len(samples)))] if count else samples


def _of_operation(info: Any, dtype: torch.dtype) -> Iterator[Sample]:
    """The samples of an operation, which comes first among their arguments."""
    for sample in sample_inputs(info, dtype):
        op = info.op
        if info.name in _ORDERS_ARE_OPEN:
            op = _then(op, _ORDERS_ARE_OPEN[info.name])
        elif info.name in _SIGNS_ARE_OPEN:
            op = _then(op, sample.output_process_fn_grad)
        elif info.name in _TIES_ARE_OPEN and dtype is not torch.float32:
            op = _then(op, lambda results: results[0])
        stable = {"stable": True} if info.name == "argsort" else {}
        yield Sample((op, sample.input, *sample.args), {**sample.kwargs, **stable})


# What PyTorch does not define is not compared: the order of eigenvalues, the signs of eigenvectors, as its own tests
# leave them out, and, where a dtype has but few numbers, the indices of equals.
_SIGNS_ARE_OPEN = {"linalg.eigh", "linalg.svd", "svd"}
_TIES_ARE_OPEN = {"sort", "topk", "kthvalue", "median", "nanmedian", "mode", "max", "min"}


def _eigenvalues_in_order(values: torch.Tensor) -> torch.Tensor:
    return values.gather(-1, _order(values))


def _eigenvectors_in_order(pairs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    values, vectors = pairs
    order = _order(values).unsqueeze(-2).expand(vectors.shape)
    return _eigenvalues_in_order(values), vectors.abs().gather(-1, order)


def _order(values: torch.Tensor) -> torch.Tensor:
    return torch.argsort(4 * values.real + values.imag, dim=-1)


_ORDERS_ARE_OPEN = {"linalg.eigvals": _eigenvalues_in_order, "linalg.eig": _eigenvectors_in_order}


def _then(op: Any, defined: Any) -> Any:
    return lambda *args, **kwargs: defined(op(*args, **kwargs))


def _of_module(info: Any, dtype: torch.dtype) -> Iterator[Sample]:
    """The samples of a module in eval mode, which comes first among their arguments."""
    for inputs in info.module_inputs_func(info, "cpu", dtype, False, False):
        module = info.module_cls(*inputs.constructor_input.args, **inputs.constructor_input.kwargs).to(dtype)
        args, kwargs = inputs.forward_input.args, inputs.forward_input.kwargs
        if isinstance(module, LazyModuleMixin):
            module(*args, **kwargs)
        yield Sample((randomized(module), *args), kwargs)


def _is_usable(sample: Sample) -> bool:
    inputs = tensors((sample.args, dict(sample.kwargs)))
    return bool(inputs) and all(t.layout is torch.strided and not t.is_quantized for t in inputs)
