"""What values a parameter is tried with, by its name, or else by its kind.

A row is a list of choices. Of each choice the first value is taken that PyTorch accepts and that makes a difference:
`(2, 1)` before `2`, since unequal numbers tell the dimensions apart. A choice of several parameters at once stands
where one alone makes no difference, as `align_corners` without an interpolating mode.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch


@dataclass(frozen=True)
class Together:
    """Values of several parameters at once."""

    values: Mapping[str, Any]


def _with(**values: Any) -> Together:
    return Together(MappingProxyType(values))


Choice = tuple[Any, ...]

_PER_DIMENSION: Choice = ((2, 1), (1, 2, 1), 2)
_FLAG: tuple[Choice, ...] = ((True, False),)


def _modes(*modes: str) -> tuple[Choice, ...]:
    """Modes of padding, of an operation that has amounts, and of one that has none."""
    return tuple((mode, _with(padding=1, padding_mode=mode)) for mode in modes)


_SMOOTH = ("bilinear", "linear", "trilinear", "bicubic")

DOMAINS: Mapping[str, tuple[Choice, ...]] = MappingProxyType(
    {
        # windows
        "stride": (
            (*_PER_DIMENSION, 1),
            (_with(kernel_size=1, stride=2),),
        ),
        "padding": (((1, 0), (0, 1, 1), 1), ("same",)),
        "dilation": (_PER_DIMENSION,),
        "groups": ((2, _with(groups=2, out_channels=6), _with(groups=2, out_channels=6, bias=True)),),
        "output_padding": ((1, _with(stride=2, output_padding=1)),),
        "kernel_size": (((3, 2), (2, 3, 2), 3, 2),),
        "output_size": (((3, 5), (3, 5, 2), 3),),
        "pad_mode": (("constant",), ("replicate",), ("circular",)),
        "padding_mode": _modes("reflect", "circular", "replicate", "border", "reflection"),
        "ceil_mode": ((True, _with(stride=2, ceil_mode=True), _with(kernel_size=2, stride=2, ceil_mode=True)),),
        "count_include_pad": ((_with(padding=1, count_include_pad=False, divisor_override=None), False),),
        "divisor_override": ((3,),),
        "return_indices": _FLAG,
        # modes
        "mode": (
            *((mode, _with(mode=mode, pad=(1, 2), value=None),
                _with(mode=mode, pad=(1, 2, 2, 1), value=None))
              for mode in ("reflect", "circular", "replicate")),
            *((mode,) for mode in (*_SMOOTH, "area", "nearest-exact", "nearest", "sum", "mean", "max",
                                       "complete", "r")),
        ),
        "align_corners": (
            (True, *(_with(mode=mode, align_corners=True) for mode in ("bilinear", "linear", "trilinear"))),
            (_with(mode="bicubic", align_corners=True),),
        ),
        "antialias": tuple((_with(mode=mode, antialias=True, size=(3, 2), scale_factor=None),)
                           for mode in ("bilinear", "bicubic")),
        "scale_factor": ((_with(scale_factor=(1.7, 0.6), size=None), _with(scale_factor=1.7, size=None)),),
        "recompute_scale_factor": (
            (_with(scale_factor=1.7, size=None, mode="bilinear", recompute_scale_factor=True),
             _with(scale_factor=1.7, size=None, mode="linear", recompute_scale_factor=True)),
        ),
        "reduction": (("none",), ("sum",), ("mean",), (0,), (2,)),
        "reduce": (("sum",), ("prod",), ("mean",), ("amax",), ("amin",)),
        "rounding_mode": (("floor",), ("trunc",)),
        "approximate": (("tanh",),),
        "nonlinearity": (("relu",),),
        "indexing": (("xy",), ("ij",)),
        "side": (("right",), ("left",)),
        "interpolation": (("lower",), ("higher",), ("nearest",), ("midpoint",)),
        # numbers
        "eps": ((20.0, 0.3, 0.05, 1e5),),
        "alpha": ((0.3, 2),),
        "beta": ((0.3, 2.5, 2), (0,)),
        "value": ((0.7, 3),),
        "scale": ((0.3,),),
        "sorted": ((_with(k=1, sorted=False),),),
        "p": ((1.0, 1), (3.0,), (math.inf,), (0.0,)),
        "ord": ((1,), (3,), (math.inf,), (-math.inf,), (0,)),
        "norm_type": ((1.0, _with(max_norm=0.5, norm_type=1.0)), (3.0,)),
        "threshold": ((0.5, -0.2),),
        "max_norm": ((0.5,),),
        "decimals": ((1,), (-1,)),
        "correction": ((0,), (2,)),
        "unbiased": _FLAG,
        "rtol": ((0.3,),),
        "atol": ((0.5,),),
        "nan": ((0.7,),),
        "posinf": ((2.5,),),
        "neginf": ((-2.5,),),
        "min": ((-0.3, 0),),
        "max": ((0.4, 1),),
        "bins": ((7,),),
        "minlength": ((20,),),
        # places
        "dim": ((0, _with(dim=0)), (1,), (-1,), (-2,), ((0, -1), (-2, -1))),
        "dims": ((0,), ((0, 1),), (1,), ((-1,), -1)),
        "end_dim": ((1, _with(start_dim=0, end_dim=1)), (-2,)),
        **dict.fromkeys(
            ("source", "destination"),
            ((_with(source=0, destination=-1),), (_with(source=(0, 1), destination=(1, -1)),)),
        ),
        "dim1": ((_with(dim1=1, dim2=0), 1),),
        "diagonal": ((1,), (-1,)),
        "offset": ((1,), (-1,)),
        "padding_idx": ((1,), (-1,)),
        "keepdim": ((True, _with(dim=0, keepdim=True), _with(dim=-1, keepdim=True)),),
        "dtype": ((torch.int32, torch.float16),),
        # layers
        "bias": ((False, True, None),),
        "num_layers": ((2, 1),),
        "num_heads": ((1, 2),),
        "proj_size": ((2, 1),),
        "kdim": ((None,),),
    }
)  # fmt: skip

# What changes no value: why it is not varied.
IDLE: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("device", "layout", "pin_memory", "memory_format", "non_blocking", "out"), "where it lies"),
        **dict.fromkeys(("requires_grad", "sparse_grad", "sparse", "scale_grad_by_freq"), "concerns gradients"),
        **dict.fromkeys(("size_average", "reduce_"), "deprecated"),
        "inplace": "another spelling",
    }
)
# And of a module's constructor.
OF_MODULES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("in_channels", "in_features", "in1_features", "in2_features"), "the input's size"),
        **dict.fromkeys(("num_features", "input_size", "embed_dim", "normalized_shape"), "the input's size"),
        "num_embeddings": "how many rows there are",
        "num_parameters": "the input's size or one",
        "dropout": "at rest nothing is dropped",
        "momentum": "at rest nothing is counted",
        "init": "what weights begin as",
        "_weight": "another way to give the weights",
        "_freeze": "concerns gradients",
        "dtype": "items of their own",
    }
)

# Taken from samples that have it alone: what makes a call random, which would hide the rest, and what PyTorch trusts
# to go with the other arguments.
GIVEN = frozenset({"dropout_p", "training", "train", "blank", "include_last_offset"})
# What leaves open more than the default does: another value has to give the same where there is but one answer.
UNCHANGING = frozenset({"sorted"})


def choices_for(name: str, default: Any, current: Any) -> tuple[Choice, ...]:
    """The choices for a parameter; of one without a row those of its kind."""
    if name in DOMAINS:
        return DOMAINS[name]
    known = current if default is None or isinstance(default, type) else default
    if isinstance(known, bool):
        return ((not known,),)
    if isinstance(known, int):
        return ((known + 1, 2, 3, 1),)
    if isinstance(known, float):
        return ((0.3, 0.7, 2.5),)
    if isinstance(known, (tuple, list)) and len(known) > 1 and all(type(n) is int for n in known):
        return ((*known[:-1], known[-1] + 1),), ((*known[:-1], 1),)
    return ()
