"""What kinds of calls PyTorch knows: those that only ask, those that take a value into Python, NumPy's spelling."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Mapping, Sequence
from types import FrameType, FunctionType
from typing import Any

import torch
from torch.overrides import handle_torch_function

from nobuco.ir import Node, Value, leaves, values
from nobuco.trace.site import is_library
from nobuco.trace.traceable import is_traceable

_QUERIES = {
    "size", "dim", "numel", "stride", "is_contiguous", "storage_offset", "data_ptr", "nelement", "ndimension",
    "element_size", "is_floating_point", "is_complex", "get_device", "untyped_storage", "__len__", "__hash__",
    "__repr__", "__format__", "is_same_size", "has_names", "__dir__", "sym_size", "sym_numel", "sym_stride",
}  # fmt: skip
_QUERY_GETTERS = {
    "shape", "dtype", "device", "ndim", "is_cuda", "is_nested", "requires_grad", "grad_fn", "grad", "layout",
    "is_sparse", "is_quantized", "is_leaf", "is_mkldnn", "is_meta", "is_mps", "itemsize", "nbytes", "names",
}  # fmt: skip
_BAKING = {
    "__bool__", "__int__", "__float__", "__index__", "__complex__", "item", "tolist", "numpy", "__array__",
    "_local_scalar_dense",
}  # fmt: skip
_READS = {
    torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default, torch.ops.aten.allclose.default,
    torch.ops.aten.is_nonzero.default,
}  # fmt: skip
NEW = {"new_zeros", "new_ones", "new_empty", "new_full"}
LIKE = {"zeros_like", "ones_like", "empty_like", "full_like"}
UNINITIALISED = {
    "empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided",
}  # fmt: skip

_OF_INFINITE = {"isnan", "isinf", "isposinf", "isneginf", "isfinite", "isreal", "fmax", "fmin"}

# What they give is not told by the elements of what they are given.
_OF_MEMORY = {"set_", "resize_", "resize_as_", "resize", "as_strided_"}
_BY_SIZE = {"contiguous", "broadcast_tensors"}
_PYTORCHS = {"aten", "prim", "prims"}
_RANDOM = {
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "bernoulli", "bernoulli_",
    "normal", "normal_", "uniform_", "exponential_", "cauchy_", "geometric_", "log_normal_", "random_", "multinomial",
    "poisson", "binomial", "_standard_gamma", "_sample_dirichlet", "dropout", "dropout_", "dropout1d", "dropout2d",
    "dropout3d", "alpha_dropout", "alpha_dropout_", "feature_dropout", "feature_dropout_", "feature_alpha_dropout",
    "feature_alpha_dropout_", "native_dropout", "gumbel_softmax", "rrelu", "rrelu_", "fractional_max_pool2d",
    "fractional_max_pool3d",
}  # fmt: skip


def name_of(func: Any) -> str:
    """The name of a function of PyTorch's; of a getter, what Python calls it; of an ATen overload, the operation's.

    Nothing for a function or an operation of somebody else's, which may bear such a name and do another thing.
    """
    if isinstance(func, torch._ops.OpOverload):
        return func._schema.name.rpartition("::")[2] if func.namespace in _PYTORCHS else ""
    of_others = is_traceable(func) or (isinstance(func, FunctionType) and not is_library(func.__code__.co_filename))
    return "" if of_others else getattr(func, "__name__", "")


def is_query(func: Any) -> bool:
    """Whether a call only asks about a tensor: nothing to record."""
    if type(func).__name__ == "method-wrapper":
        return name_of(func.__self__) in _QUERY_GETTERS
    return name_of(func) in _QUERIES


def is_baking(func: Any, calls: Collection[Any] = ()) -> bool:
    """Whether a call takes a tensor's elements into Python; `calls` are the ATen calls that it made."""
    return name_of(func) in _BAKING or not _READS.isdisjoint(calls)


def gives_shape_alone(func: Any) -> bool:
    """Whether a call makes a tensor of the shape and the type of what it is given, whatever the elements."""
    return name_of(func) in NEW | LIKE


def question(func: Any) -> Callable[..., torch.Tensor] | None:
    """What a call asks that gives Python a truth value, as a tensor, so that it is recorded; None for other calls."""
    return _QUESTIONS.get(name_of(func))


def _equal(input: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return input.eq(other).all() if input.shape == other.shape else torch.tensor(False)


_QUESTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "equal": _equal,
    "allclose": lambda *args, **kwargs: torch.isclose(*args, **kwargs).all(),
    "is_nonzero": lambda input: input != 0,
    "__contains__": lambda input, element: (element == input).any(),
}


def counting(func: Any, arguments: Any) -> list[Value]:
    """Of what a call is given, the values that tell how many tensors it gives, or how large they are.

    That is a number that Python then holds: how many classes `one_hot` finds, how many parts `tensor_split` makes.
    """
    if name_of(func) == "one_hot" and (*arguments[0][1:], *arguments[1].values()) in ((), (-1,)):
        return list(values(arguments))
    return [value for value in values(arguments) if not value.rank] if name_of(func) == "tensor_split" else []


def is_uninitialised(func: Any) -> bool:
    """Whether what a call gives is whatever its memory held."""
    return name_of(func) in UNINITIALISED


def gives_back_by_size(func: Any) -> bool:
    """Whether it depends on sizes if a function gives back the very tensor that it is given."""
    return name_of(func) in _BY_SIZE


def is_decision(func: Any, result: Any) -> bool:
    """Whether a call has given Python a truth value to decide by."""
    return isinstance(result, bool) and name_of(func) in ("__bool__", "item")


def only_aten_is_meaningful(func: Any) -> bool:
    """Whether the ATen calls of a call tell what it does, and it does not.

    So it is inside `torch.vmap` and `torch.func.grad`, whose tensors are not what they seem, and in a backward pass.
    """
    return func in _BACKWARD or torch._C._functorch.peek_interpreter_stack() is not None


_BACKWARD = (torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward)


def placeless(func: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a call; of an ATen call those without a meaning for the converted model left out.

    That is where a tensor lives and how it lies in memory. Public calls name it only where somebody wrote it.
    """
    of_aten = isinstance(func, torch._ops.OpOverload)
    return {name: value for name, value in kwargs.items() if not (of_aten and name in _PLACEMENT)}


_PLACEMENT = {"device", "layout", "pin_memory", "memory_format", "non_blocking"}


def overload_of(func: Any, arguments: Any = ()) -> Any:
    """A function; in place of an operation that has one overload only, that overload.

    `x.view(torch.int32)`, which reads the bits of x as another type, is another operation than `x.view(3, 4)`.
    """
    if name_of(func) == "view" and any(isinstance(leaf, torch.dtype) for leaf in arguments):
        return torch.ops.aten.view.dtype
    if isinstance(func, torch._ops.OpOverloadPacket) and len(func.overloads()) == 1:
        return getattr(func, func.overloads()[0])
    return func


def original_of(func: Any, caller: FrameType) -> Any:
    """What PyTorch means by the function that it says was called, from the frame `caller`.

    It looks that up by its name; where somebody has put their own function there, which calls PyTorch's, it is theirs.
    """
    if not isinstance(func, FunctionType) or is_library(func.__code__.co_filename):
        return func
    if caller.f_code is handle_torch_function.__code__ and caller.f_back is not None:
        code = caller.f_back.f_code
        callers = (f for f in gc.get_referrers(code) if isinstance(f, FunctionType) and is_library(code.co_filename))
        return next(callers, func)
    replaced = (name for name, member in vars(torch.Tensor).items() if member is func)
    return getattr(torch._C.TensorBase, next(replaced, ""), func)


def speaking(types: Sequence[type]) -> Any:
    """The class among those of a call's tensors that says by `__torch_function__` what the call does; None: PyTorch."""
    if not torch._C._is_torch_function_enabled():  # it has handed the call on
        return None
    silent = (torch.Tensor.__torch_function__.__func__, torch._C._disabled_torch_function_impl)  # type: ignore[attr-defined]
    return next((kind for kind in types if _way_of(kind) not in silent), None)


def _way_of(kind: type) -> Any:
    way = kind.__torch_function__  # type: ignore[attr-defined]
    return getattr(way, "__func__", way)


# Those whose own parameter is called so.
_OWN_AXIS = {"segment_reduce", "quantize_per_channel", "fake_quantize_per_channel_affine"}


def torch_spelled(func: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """NumPy's `axis` and `keepdims`, which PyTorch's own parser of arguments takes too, as `dim` and `keepdim`."""
    if hasattr(func, "__code__") or name_of(func) in _OWN_AXIS:
        return dict(kwargs)
    spelled = {"axis": "dim", "keepdims": "keepdim"}
    return {spelled.get(name, name): value for name, value in kwargs.items()}


def asks_after_nan(node: Node) -> bool:
    """Whether NaN, or an infinity, is something of its own to a call, as to `nan_to_num` and to `x != x`."""
    name = name_of(node.op)
    given = values(node.args)
    is_of_itself = name.strip("_") in ("eq", "ne") and len(given) == 2 and given[0] is given[1]
    return name in _OF_INFINITE or name.startswith("nan") or is_of_itself


def is_random(node: Node) -> bool:
    """Whether chance has a part in what a call gives."""
    return draws(node.op)


def draws(func: Any) -> bool:
    """Whether a function draws random numbers by what it is, whatever its arguments."""
    if isinstance(func, torch._ops.OpOverload):
        return torch.Tag.nondeterministic_seeded in func.tags
    return name_of(func) in _RANDOM


def is_repeatable(func: Any, call: Any) -> bool:
    """Whether a call, `(args, kwargs)`, of PyTorch's gives the same each time, and writes to no place that it is given.

    Of some calls only their arguments tell whether they draw: see then what becomes of the generators.
    """
    if name_of(func) in _OF_MEMORY:
        return False
    made_for_it = "out" in call[1] or any(isinstance(leaf, torch.Generator) for leaf in leaves(call))
    return bool(name_of(func)) and not (draws(func) or is_uninitialised(func) or made_for_it)
