"""Converters that are wrong for rare arguments only: what hardly anybody writes first, and so hardly anybody tries.

A row is an operation, what is rare, and a condition with PyTorch's own signature.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conformance.mutants.asking import Condition, each, is_mask, repeats
from conformance.mutants.rules import Mutant, of_rows


def rare() -> Iterator[Mutant]:
    """All of them."""
    for rows in (_keys, _places, _numbers, _ranges_and_norms, _shapes, _windows, _networks):
        yield from of_rows(rows())


def _twice(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, (tuple, list)) else (values, values)


def _are_places(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype in (torch.int32, torch.int64)


def _has_nan(x: Any, *_: Any, **__: Any) -> bool:
    return isinstance(x, Tensor) and bool(x.isnan().any())


def _has_infinity(x: Any, *_: Any, **__: Any) -> bool:
    return isinstance(x, Tensor) and bool(x.isinf().any())


def _has_zero_row(x: Tensor, *_: Any, **__: Any) -> bool:
    return x.dim() > 1 and bool((x == 0).all(-1).any())


def _keys() -> Iterator[tuple[Any, Mapping[str, Condition]]]:
    yield (
        Tensor.__getitem__,
        {
            "a tensor that counts from the end": lambda x, key: any(
                _are_places(k) and bool((k < 0).any()) for k in each(key)
            ),
            "tensors apart": lambda x, key: _are_places(key[0]) and isinstance(key[1], slice) and _are_places(key[2]),
            "None beside an ellipsis": lambda x, key: any(k is None for k in key) and any(k is ... for k in key),
            "a mask": lambda x, key: any(map(is_mask, each(key))),
            "True": lambda x, key: any(k is True for k in each(key)),
            "a step": lambda x, key: any(isinstance(k, slice) and (k.step or 1) > 1 for k in each(key)),
            "a list": lambda x, key: any(isinstance(k, list) for k in each(key)),
            "nothing": lambda x, key: any(isinstance(k, slice) and (k.start or 0) > (k.stop or 9) for k in each(key)),
        },
    )
    yield (
        Tensor.__setitem__,
        {
            "a mask and a tensor": lambda x, key, value: is_mask(key) and value.dim() > 0,
            "places from the end": lambda x, key, value: any(_are_places(k) and bool((k < 0).any()) for k in each(key)),
            "another dtype": lambda x, key, value: value.dtype != x.dtype,
            "a step": lambda x, key, value: any(isinstance(k, slice) and (k.step or 1) > 1 for k in each(key)),
        },
    )
    yield (
        torch.index_put,
        {
            "places from the end": lambda x, at, *_, **__: any(k is not None and bool((k < 0).any()) for k in at),
            "one place twice, added up": lambda x, at, values, accumulate=False: accumulate and any(map(repeats, at)),
        },
    )


def _places() -> Iterator[tuple[Any, Mapping[str, Condition]]]:
    yield torch.take, {"places from the end": lambda x, at: bool((at < 0).any())}
    yield torch.gather, {"fewer places": lambda x, dim, at, **_: at.shape != x.shape}
    yield (
        torch.scatter_add,
        {"one place twice": lambda x, dim, at, src: bool((at.sort(dim).values.diff(dim=dim) == 0).any())},
    )
    yield torch.scatter_reduce, {
        f"{name}, {'with' if own else 'without'} what is there":
            lambda x, dim, at, src, reduce, include_self=True, name=name, own=own: (reduce, include_self) == (name, own)
        for name in ("sum", "prod", "mean", "amax", "amin") for own in (True, False)
    }  # fmt: skip
    yield torch.index_add, {"one place twice": lambda x, dim, at, *_, **__: repeats(at)}
    yield torch.select, {"a place from the end": lambda x, dim, at: at < 0}
    yield (
        torch.roll,
        {
            "less than nothing": lambda x, shifts, dims=(): any(n < 0 for n in each(shifts)),
            "two dimensions": lambda x, shifts, dims=(): len(each(dims)) > 1,
        },
    )
    yield (
        torch.einsum,
        {
            "three operands": lambda text, *operands: text.count(",") == 2,
            "capital letters": lambda text, *operands: text != text.lower(),
            "an ellipsis": lambda text, *operands: "..." in text,
            "no arrow": lambda text, *operands: "->" not in text,
            "no letter behind the arrow": lambda text, *operands: text.endswith("->"),
            "a letter twice": lambda text, *operands: any(len(set(t)) < len(t) for t in text.split("->")[0].split(",")),
        },
    )


def _numbers() -> Iterator[tuple[Any, Mapping[str, Condition]]]:
    for operation in (
        torch.amax,
        torch.amin,
        torch.argmax,
        torch.nansum,
        torch.nanmean,
        torch.cumsum,
        torch.prod,
        torch.all,
    ):
        yield operation, {"NaN": _has_nan}
    for operation in (torch.logsumexp, torch.logcumsumexp, torch.amax, torch.cumsum):
        yield operation, {"infinity": _has_infinity}
    for operation in (torch.addmm, torch.addmv, torch.baddbmm, torch.addbmm, torch.addr):
        yield operation, {"no part of the first": lambda *_, beta=1, **__: beta == 0}
    yield torch.cosine_similarity, {"a row of zeros": _has_zero_row}
    yield F.normalize, {"a row of zeros": _has_zero_row}
    yield torch.linalg.vector_norm, {"a row of zeros": _has_zero_row}
    yield (
        torch.cdist,
        {
            **{f"p={p}": lambda a, b, p=2.0, *_, wanted=p, **__: p == wanted for p in (0.0, 1.0, math.inf)},
            "equal rows": lambda a, b, *_, **__: bool((torch.cdist(a, b) == 0).any()),
        },
    )
    yield (
        torch.diff,
        {
            "two at once": lambda x, n=1, *_, **__: n > 1,
            "something in front": lambda x, n=1, dim=-1, prepend=None, *_, **__: prepend is not None,
            "nothing to do": lambda x, n=1, *_, **__: n == 0,
        },
    )
    yield (
        torch.div,
        {
            "zero, rounded down": lambda x, y, rounding_mode=None: rounding_mode == "floor" and bool((y == 0).any()),
            "no dimensions": lambda x, y, **_: x.dim() == 0,
        },
    )
    yield torch.dist, {f"p={p}": lambda a, b, p=2, wanted=p: p == wanted for p in (1, math.inf)}


def _ranges_and_norms() -> Iterator[tuple[Any, Mapping[str, Condition]]]:
    yield (
        torch.histc,
        {
            "numbers outside": lambda x, bins=100, min=0, max=0: bool((x < min).any() or (x > max).any()) and min < max,
            "no range": lambda x, bins=100, min=0, max=0: min == max,
        },
    )
    yield torch.isclose, {"sides that differ": lambda a, b, *rest, **kw: not torch.equal(
        torch.isclose(a, b, *rest, **kw), torch.isclose(b, a, *rest, **kw))}  # fmt: skip
    yield torch.median, {"an even count": lambda x, dim=None, *_: (x.numel() if dim is None else x.shape[dim]) % 2 == 0}
    yield torch.cummax, {"equal ones": lambda x, dim: bool((x.sort(dim).values.diff(dim=dim) == 0).any())}
    yield (
        torch.clamp,
        {
            "the least above the most": lambda x, min=None, max=None: bool(
                (torch.as_tensor(min) > torch.as_tensor(max)).any()
            )
        },
    )
    yield torch.norm, {f"p={p}": lambda x, p="fro", *_, wanted=p, **__: p == wanted for p in (0, 1, -math.inf, "nuc")}
    yield (
        torch.linalg.matrix_norm,
        {f"ord={p}": lambda x, ord="fro", *_, wanted=p, **__: ord == wanted for p in (1, -1, 2, -2, math.inf, "nuc")},
    )
    yield (
        torch.searchsorted,
        {
            "equal ones, from the right": lambda s, x, right=False, side=None, **_: (
                (right or side == "right") and bool(torch.isin(x, s).any())
            ),
            "a row for all": lambda s, x, **_: s.dim() == 1 and x.dim() > 1,
        },
    )


def _shapes() -> Iterator[tuple[Any, Mapping[str, Condition]]]:
    yield (
        torch.diagonal,
        {
            "dimensions in the other order": lambda x, offset=0, dim1=0, dim2=1: dim1 % x.dim() > dim2 % x.dim(),
            "a place below": lambda x, offset=0, *_, **__: offset < 0,
        },
    )
    yield torch.diag_embed, {"a place below": lambda x, offset=0, *_, **__: offset < 0}
    yield torch.flip, {"dimensions from the end": lambda x, *dims: any(d < 0 for d in (*dims[1:], *each(dims[0])))}
    yield (
        torch.rot90,
        {"three quarters": lambda x, k=1, *_, **__: k % 4 == 3, "one half": lambda x, k=1, *_, **__: k % 4 == 2},
    )
    yield torch.chunk, {"a rest": lambda x, chunks, dim=0: x.shape[dim] % chunks != 0}
    yield torch.tensor_split, {"places": lambda x, at, *_, **__: isinstance(at, (tuple, list))}
    yield torch.tile, {"fewer dimensions": lambda x, *n: len(each(n[0]) if len(n) == 1 else n) < x.dim()}
    yield (
        torch.repeat_interleave,
        {"a number for each": lambda x, n=None, *_, **__: isinstance(n, Tensor) and n.numel() > 1},
    )
    yield torch.meshgrid, {"the other order": lambda *_, indexing=None: indexing == "xy"}
    yield (
        torch.matmul,
        {
            "a vector in front": lambda x, y: x.dim() == 1 < y.dim(),
            "a vector behind": lambda x, y: y.dim() == 1 < x.dim(),
            "batches that broadcast": lambda x, y: x.shape[:-2] != y.shape[:-2] and min(x.dim(), y.dim()) > 2,
        },
    )
    yield torch.tensordot, {"pairs of dimensions": lambda a, b, dims=2, **_: not isinstance(dims, int)}
    yield torch.where, {"one argument": lambda condition, x=None, y=None: x is None}
    yield torch.bincount, {"no number below": lambda x, weights=None, minlength=0: minlength > int(x.max()) + 1}
    yield torch.masked_fill, {"a smaller mask": lambda x, mask, value: mask.shape != x.shape}
    yield F.pad, {
        "less than nothing": lambda x, pad, *_, **__: any(n < 0 for n in pad),
        "three dimensions, reflected": lambda x, pad, mode="constant", *_, **__: mode == "reflect" and len(pad) == 6,
        "the batch": lambda x, pad, *_, **__: len(pad) == 2 * x.dim(),
    }  # fmt: skip
    yield Tensor.unfold, {"parts apart": lambda x, dim, size, step: step > size}


def _windows() -> Iterator[tuple[Any, Mapping[str, Condition]]]:
    for operation in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d):
        yield (
            operation,
            {
                "bins of two sizes": lambda x, size, *_, **__: any(
                    n and m % n for m, n in zip(x.shape[-2:], _twice(size))
                ),
                "a size that stays": lambda x, size, *_, **__: None in _twice(size),
                "no batch": lambda x, *_, **__: x.dim() == 3,
            },
        )
    yield (
        F.max_pool2d,
        {
            "edges, all below zero": lambda x, k, stride=None, padding=0, *_, **__: (
                padding and bool((x.amax((-1, -2)) < 0).any())
            ),
            "no batch": lambda x, *_, **__: x.dim() == 3,
        },
    )
    yield F.grid_sample, {
        f"{mode}, {edge}, {'aligned' if align else 'not aligned'}":
            lambda x, grid, mode="bilinear", padding_mode="zeros", align_corners=None, wanted=(mode, edge, align):
            (mode, padding_mode, bool(align_corners)) == wanted
        for mode in ("bilinear", "nearest", "bicubic") for edge in ("zeros", "border", "reflection")
        for align in (True, False)
    }  # fmt: skip
    yield F.interpolate, {
        f"{mode} to {'more' if grows else 'less'}":
            lambda x, size=None, scale_factor=None, mode="nearest", *_, wanted=mode, grows=grows, **__:
            mode == wanted and (max(each(size)) > x.shape[-1] if size else max(each(scale_factor)) > 1) is grows
        for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area", "linear", "trilinear")
        for grows in (True, False)
    }  # fmt: skip
    yield (
        torch.conv2d,
        {
            "a filter for each channel": lambda x, w, *rest, groups=1: 1 < groups == x.shape[-3],
            "'valid'": lambda x, w, b=None, stride=1, padding=0, *_, **__: padding == "valid",
            "no batch": lambda x, *_, **__: x.dim() == 3,
        },
    )
    yield F.fold, {"no batch": lambda x, *_, **__: x.dim() == 2}
    yield (
        F.ctc_loss,
        {
            "targets in a row": lambda x, targets, *_, **__: targets.dim() == 1,
            "no batch": lambda x, *_, **__: x.dim() == 2,
        },
    )


def _networks() -> Iterator[tuple[Any, Mapping[str, Condition]]]:
    yield (
        F.embedding_bag,
        {
            "a bag without elements": lambda x, w, offsets=None, *_, **__: bool((offsets.diff() == 0).any()),
            "bags in rows": lambda x, *_, **__: x.dim() == 2,
            "the most": lambda x, w, at=None, most=None, norm=2.0, scaled=False, mode="mean", *_, **__: mode == "max",
        },
    )
    yield (
        nn.LSTM,
        {
            "projected in both directions": lambda m, *_: m.proj_size and m.bidirectional,
            "a batch in front": lambda m, x, *_: m.batch_first and x.dim() == 3,
            "states in both directions": lambda m, x, hx=None: hx is not None and m.bidirectional,
        },
    )
    yield nn.GRU, {"states in both directions": lambda m, x, hx=None: hx is not None and m.bidirectional}
    yield nn.MultiheadAttention, {
        "padding": lambda m, q, k, v, key_padding_mask=None, *_, **__: key_padding_mask is not None,
        "both masks": lambda m, q, k, v, key_padding_mask=None, need_weights=True, attn_mask=None, **_: (
            attn_mask is not None and key_padding_mask is not None),
        "a key of its own width": lambda m, *_, **__: not m._qkv_same_embed_dim,
        "weights of each head": lambda m, *_, average_attn_weights=True, **__: not average_attn_weights,
        "no batch": lambda m, q, *_, **__: q.dim() == 2,
    }  # fmt: skip
    yield (
        F.scaled_dot_product_attention,
        {
            "a mask of numbers": lambda q, k, v, attn_mask=None, *_, **__: attn_mask.is_floating_point(),
            "causal, other lengths": lambda q, k, v, mask=None, p=0.0, is_causal=False, **_: (
                is_causal and q.shape[-2] != k.shape[-2]
            ),
            "three dimensions": lambda q, *_, **__: q.dim() == 3,
        },
    )
    yield (
        F.instance_norm,
        {
            "statistics that are kept": lambda x, mean=None, *_, use_input_stats=True, **__: (
                use_input_stats and mean is not None
            )
        },
    )
    yield F.layer_norm, {"two dimensions": lambda x, shape, *_, **__: len(shape) > 1}
    yield F.group_norm, {"a group for each channel": lambda x, groups, *_, **__: groups == x.shape[1]}
    yield (
        F.one_hot,
        {"more classes than there are": lambda x, n=-1: n > int(x.max()) + 1, "no count": lambda x, n=-1: n < 0},
    )
