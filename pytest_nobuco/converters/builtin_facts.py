"""What the items have to know of some built-in converters: which axes are never free, what is left out, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from nobuco.ops.names import Tensor

# An operation that does nothing to float32, or nothing but fail, is tried in this first.
MAIN_DTYPES: Mapping[str, str] = MappingProxyType(
    {
        "torch.Tensor.float": "int64",
        "torch.conj": "complex64",
        "torch.real": "complex64",
        "torch.adjoint": "complex64",
        "torch.vdot": "complex64",
    }
)

# In each of these the sizes alone are arithmetic, or shape what is made of nothing: static, it is a constant.
ONLY_DYNAMIC = (
    "nobuco.trace.sizes.numbers.size_of", "operator.*", "builtins.*", "math.*",
    "torch.zeros", "torch.ones", "torch.full", "torch.arange", "torch.eye", "torch.linspace", "torch.tensor",
    "torch.ops.aten.empty_strided.default",
    "torch.*_window", "torch.fft.*freq",
    "torch.scalar_tensor", "torch.rand", "torch.randn", "torch.randint", "torch.randperm",
    "torch.Tensor.new_zeros", "torch.Tensor.new_ones", "torch.Tensor.new_full",
    "torch.zeros_like", "torch.ones_like", "torch.full_like", "torch.tril_indices", "torch.triu_indices",
)  # fmt: skip

# In PyTorch they return the very tensor, so no converter is asked; what comes out is compared all the same.
PASSIVE = (
    "torch.Tensor.contiguous", "torch.Tensor.cpu", "torch.Tensor.requires_grad_", "torch.Tensor.data",
    "torch.resolve_conj", "torch.Tensor.resolve_conj", "torch.resolve_neg", "torch.Tensor.resolve_neg",
    "torch.detach_", "torch.Tensor.detach_", "torch.positive", "torch.Tensor.positive",
)  # fmt: skip

# Which of equal elements comes first, PyTorch leaves open in these, unless they are told to be stable.
UNTIED = ("torch.sort", "torch.argsort", "torch.topk", "torch.kthvalue")

# What this machine's PyTorch need not be able to call.
NOT_CALLED = ("torch.Tensor.cuda",)

Limit = Callable[[Sequence[Tensor], int, int], bool]


def _batch_and_space(inputs: Sequence[Tensor], i: int, dim: int) -> bool:
    """Weights and channels are as large as the model was built."""
    return i == 0 and dim != 1


def _batch(inputs: Sequence[Tensor], i: int, dim: int) -> bool:
    """Only how many matrices there are: one driver's pivots are unset memory, so larger ones have no one answer."""
    return dim < inputs[i].dim() - 2


def _no_index(inputs: Sequence[Tensor], i: int, dim: int) -> bool:
    """Twice the same indices would write to one place twice, in an order that is not defined."""
    return inputs[i].is_floating_point()


def _bags(inputs: Sequence[Tensor], i: int, dim: int) -> bool:
    """The table is as large as the model was built, and where bags begin cannot be told by repeating it."""
    return inputs[i].dim() == 2 and not inputs[i].is_floating_point()


def _none(inputs: Sequence[Tensor], i: int, dim: int) -> bool:
    """Where groups end cannot be told by repeating it."""
    return False


def _little_of_a_volume(inputs: Sequence[Tensor], i: int, dim: int) -> bool:
    """Not all axes of a volume, which other runs of the trace make hundreds of elements long: that takes 12 GB."""
    return inputs[i].dim() < 5 or dim < 2


# Which axes may be free, by the names of operations; all where nothing is said.
FREE_AXES: Mapping[str, Limit] = MappingProxyType(
    {
        "torch.conv*": _batch_and_space,
        "torch.ops.aten.convolution.default": _batch_and_space,
        "torch.ops.aten.linalg_lstsq.default": _batch,
        # PyTorch itself reads beyond the statistics, and dies, if there are fewer than channels.
        "torch.ops.aten.*batch_norm*": _batch_and_space,
        "torch.group_norm": _batch_and_space,
        "torch.nn.functional.group_norm": _batch_and_space,
        "torch.nn.functional.local_response_norm": _batch_and_space,
        "torch.nn.functional.embedding_bag": _bags,
        "torch.Tensor.__setitem__": _no_index,
        "torch.index_put": _no_index,
        "torch.index_copy": _no_index,
        "torch.scatter": _no_index,
        "torch.*grouped_mm": _none,
        "torch.scatter_reduce": _no_index,
        "torch.Tensor.put": _no_index,
        "torch.nn.functional.max_unpool*": _no_index,
        "torch.grid_sampler*": _little_of_a_volume,
        "torch.nn.functional.grid_sample": _little_of_a_volume,
    }
)

# What is grown along the diagonal, since a matrix that repeats itself is singular, or next to it.
IN_BLOCKS = (
    *(f"torch.ops.aten.{name}.default" for name in (
        "_linalg_det", "_linalg_slogdet", "_linalg_solve_ex", "linalg_inv_ex", "linalg_cholesky_ex", "cholesky_inverse",
        "cholesky_solve", "linalg_lu", "linalg_lu_factor_ex", "linalg_lu_solve", "linalg_matrix_exp",
        "linalg_solve_triangular", "triangular_solve", "geqrf",
    )),
    "torch.ops.aten.linalg_pinv.*",
)  # fmt: skip

# PyTorch trusts the numbers that these are given, and reads beyond their tensors if they are others.
TRUSTING = (
    "torch._weight_norm", "torch.ops.aten.native_group_norm.*", "torch.ops.aten.*weight_norm*",
    "torch.lstm", "torch.gru", "torch.rnn_tanh", "torch.rnn_relu", "torch.ops.aten._fft_*",
)  # fmt: skip

# Values and forms that are left out, by names: TensorFlow's one operation treats them in another way, and several
# in its place would cost every model.
LEFT_OUT: Mapping[str, tuple[tuple[str, ...], str]] = MappingProxyType(
    {
        **{f"torch.{name}": (("not finite",), "infinite beside NaN") for name in ("hypot", "Tensor.hypot_")},
        "torch.instance_norm": (("rank 2",), "without a spatial axis PyTorch gives what rounding leaves"),
        "torch.nn.functional.adaptive_avg_pool3d": (("rank 3",), "PyTorch takes it for one output size alone"),
        "torch.as_strided": (("apart",), "it reads the memory, and how an input's lies a model is not told"),
        "torch.pdist": (("rank 1", "rank 3"), "PyTorch trusts its inner form to be given a matrix"),
        "torch.Tensor.to": (
            ("a number", "an odd number", "an even number", "a number in front"),
            "PyTorch takes it for a dtype's own number",
        ),
        "torch.Tensor.normal_": (("two dtypes",), "a tensor in a number's place is one to PyTorch's parser alone"),
        "torch.native_dropout": (("nothing",), "the mask of nothing is a float in PyTorch"),
        "torch.nn.functional.gelu": (("not finite",), "NaN at infinity, in PyTorch's in place alone"),
        **{
            f"torch.*{name}": (("infinite", "NaN"), why)
            for name, why in (
                ("softm*", "TensorFlow's largest element passes over NaN"),
                ("max_pool*", "which element of a window that holds NaN"),
            )
        },
        **{
            f"torch.*{name}": (("infinite", "masked", "NaN"), why)
            for name, why in (
                ("adaptive_*_pool*", "windows of two sizes are a product with a matrix"),
                ("upsample*", "a product with a matrix"),
                ("interpolate", "a product with a matrix"),
                ("mode", "PyTorch's depends on where NaN stands"),
                ("Tensor.mode", "PyTorch's depends on where NaN stands"),
                ("var_mean*", "the mean of infinity is NaN in PyTorch's"),
                ("std_mean*", "the mean of infinity is NaN in PyTorch's"),
            )
        },
        **{
            f"torch.ops.aten.{name}.default": (
                ("zeros", "infinite", "masked", "NaN"),
                "singular matrices have no one answer",
            )
            for name in ("linalg_qr", "linalg_eigh", "_linalg_eigh", "linalg_lstsq", "_linalg_svd", "linalg_matrix_exp")
        },
        **{
            f"torch.{name}": (("from the end",), "PyTorch trusts where groups end")
            for name in ("_grouped_mm", "nn.functional.grouped_mm")
        },
        "torch.ops.aten.special_airy_ai.default": (("not finite",), "NaN at infinity"),
        **{
            f"torch.ops.aten.{name}.default": (("numbers", "not finite", "small"), "outside of what it is defined for")
            for name in ("igamma", "igammac")
        },
        **{
            f"torch{name}": (("small",), "TensorFlow's ELU is exp(x) - 1")
            for name in (".celu", ".celu_", ".selu", ".selu_", ".nn.functional.elu", ".nn.functional.elu_")
        },
    }
)

# Bounds of operations that are ill-conditioned on OpInfo's samples, by name and dtype.
BOUNDS: Mapping[tuple[str, str], tuple[float, str]] = MappingProxyType(
    {
        (name, "float32"): (1e-3, "next to a pole an error of the angle grows by the tangent's square")
        for name in (
            "torch.tan",
            "torch.tan_",
            "torch.Tensor.tan",
            "torch.Tensor.tan_",
            "torch.ops.aten.tan.default",
            "torch.ops.aten.tan_.default",
        )
    }
)
