"""Writing through views: the base as it is after its view has changed, as plain calls without side effects."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from nobuco.ir import leaves, map_leaves
from nobuco.trace.calls import name_of
from nobuco.trace.memory import View
from nobuco.trace.sizes import TracedInt, plain

Rewrite = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def rewriting(views: Sequence[View], changed: torch.Tensor, symbolic: bool) -> Rewrite:
    """What makes the new base from the old one and the changed view, without a side effect.

    Where the views cover their base (permute, reshape, detach) the move is inverted; where they come down to basic
    indexing the slice is assigned; for all else the elements are scattered to the places they were taken from.

    Args:
        views: how the changed tensor was taken, the one nearest to the base first.
        changed: the tensor that was written.
        symbolic: whether sizes may differ from run to run, so that a slice must stay what it says.
    """
    base = views[0].base.tensor
    by_value = any(_is_by_value(view) for view in views)
    key = _key(views[0]) if len(views) == 1 and (symbolic or by_value) else None
    if key is not None:
        return lambda base, changed: _assigned(base, key(base.shape), changed)
    if base.dtype != changed.dtype:
        return _reinterpreted(views[-1], base.dtype)
    if base.is_conj() != changed.is_conj():
        return lambda base, changed: torch.conj_physical(changed)
    if by_value:
        return _scattered(lambda base: counted(views, base))
    with torch.no_grad():
        # At the sizes that it is probed with, a view such as `squeeze` may keep dimensions that it drops here.
        turns = len(views) == 1 and symbolic and changed.dim() == base.dim()
        order = _turned_back(views[0]) if turns else None
        if order is not None:
            return lambda base, changed: torch.permute(changed, order)
        places = places_of(views)
        return _moved_back(places, base.shape, (lambda base: counted(views, base)) if symbolic else lambda _: places)


def is_onto_itself(tensor: torch.Tensor, index: Any, value: Any) -> bool:
    """Whether `tensor[index] = value` writes what lies there already, as behind `tensor[index] *= 2` it does."""
    if not (is_basic(index) and isinstance(value, torch.Tensor) and value.dtype == tensor.dtype):
        return False
    return _meaning(tensor[index]) == _meaning(value)


def _meaning(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Which elements a tensor shows, and as what: PyTorch conjugates and negates by a flag alone."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.is_conj(), tensor.is_neg()


def overlaps(tensor: torch.Tensor) -> bool:
    """Whether several elements of a tensor may be one place in memory, as after `expand`."""
    reach = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape)):
        if size > 1 and stride < reach:
            return True
        reach += (size - 1) * stride
    return False


def is_basic(key: Any) -> bool:
    """Whether `x[key]` is a view of x."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or part is ... or type(part) in (int, slice, TracedInt) for part in parts)


def fill(part: torch.Tensor, value: Any) -> None:
    """Give all elements of a tensor a value, as `x[key] = value` does to the part that the key selects."""
    if isinstance(value, torch.Tensor):
        part.copy_(value.reshape(value.shape[max(value.dim() - part.dim(), 0) :]))
    else:
        part.fill_(value)


def aliasing(base: torch.Tensor, tensor: torch.Tensor) -> tuple[Any, ...] | None:
    """The arguments of `torch.as_strided` that take a tensor from another one in the same memory, if it holds it."""
    start = tensor.storage_offset() - base.storage_offset()
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    if base.dtype != tensor.dtype or not base.is_contiguous() or start < 0 or start + reach >= base.numel():
        return None
    return (base, tuple(tensor.shape), tensor.stride(), tensor.storage_offset())


def _reinterpreted(view: View, dtype: torch.dtype) -> Rewrite:
    """For views that read the same bits as another type."""
    name = name_of(view.function)
    getter = getattr(getattr(view.function, "__self__", None), "__name__", name)
    by_name: dict[str, Rewrite] = {
        "real": lambda base, changed: torch.complex(changed, torch.imag(base)),
        "imag": lambda base, changed: torch.complex(torch.real(base), changed),
        "view_as_real": lambda base, changed: torch.view_as_complex(changed),
        "view_as_complex": lambda base, changed: torch.view_as_real(changed),
    }
    return by_name.get(getter, lambda base, changed: changed.view(dtype))


def _moved_back(places: torch.Tensor, shape: torch.Size, places_in: Callable[[torch.Tensor], torch.Tensor]) -> Rewrite:
    """The rewrite for a view of these places; `places_in` counts them in a base of another size."""
    if places.numel() == math.prod(shape):
        order = _as_permutation(places, shape)
        if order == list(range(len(shape))):
            return lambda base, changed: changed.clone()
        if order is not None:
            return lambda base, changed: torch.permute(changed, order)
        if torch.equal(places.flatten(), torch.arange(places.numel())):
            return lambda base, changed: torch.reshape(changed, base.shape)
    region = _as_slices(places, shape)
    if region is not None:
        return lambda base, changed: _assigned(base, region, _shaped(changed, base[region]))
    return _scattered(places_in)


def _scattered(places_in: Callable[[torch.Tensor], torch.Tensor]) -> Rewrite:
    return lambda base, changed: torch.reshape(
        torch.reshape(base, (-1,)).scatter(0, torch.reshape(places_in(base), (-1,)), torch.reshape(changed, (-1,))),
        base.shape,
    )


def _is_by_value(view: View) -> bool:
    """Whether a tensor says which part is taken: `x[n]`."""
    is_part = name_of(view.function) == "__getitem__" or name_of(view.function) in _PARTS
    return is_part and any(isinstance(leaf, torch.Tensor) for leaf in leaves((view.args[1:], dict(view.kwargs))))


def _is_key(key: Any) -> bool:
    """Whether what `x[key] = value` writes is what the view `x[key]` shows."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(is_basic(part) or (isinstance(part, torch.Tensor) and part.dtype != torch.bool) for part in parts)


def _shaped(tensor: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    return (
        tensor
        if tuple(map(plain, tensor.shape)) == tuple(map(plain, part.shape))
        else torch.reshape(tensor, part.shape)
    )


def _key(view: View) -> Callable[[torch.Size], Any] | None:
    """What gives, for a base of some shape, the key by which `x[key]` takes this view; None where no key does."""
    name, (_, *args), kwargs = name_of(view.function), view.args, view.kwargs
    if name == "__getitem__":
        return (lambda shape: args[0]) if _is_key(args[0]) else None
    part = _PARTS.get(name)
    if part is None or any(isinstance(leaf, torch.Tensor) for leaf in leaves((args, kwargs))):
        return None

    def key(shape: torch.Size) -> tuple[Any, ...]:
        dim, taken = part(shape, view.index, *args, **kwargs)
        return (*[slice(None)] * (dim % len(shape)), taken)

    return key


def _selected(shape: torch.Size, _: int, dim: int, index: int) -> tuple[int, Any]:
    return dim, index


def _narrowed(shape: torch.Size, _: int, dim: int, start: int, length: int) -> tuple[int, Any]:
    first = start if plain(start) >= 0 else shape[dim] + start
    return dim, slice(first, first + length)


def _sliced(
    shape: torch.Size, _: int, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> tuple[int, Any]:
    return dim, slice(start, end, step)


def _unbound(shape: torch.Size, number: int, dim: int = 0) -> tuple[int, Any]:
    return dim, number


def _split(shape: torch.Size, number: int, split_size_or_sections: Any, dim: int = 0) -> tuple[int, Any]:
    if isinstance(split_size_or_sections, int):
        return dim, slice(number * split_size_or_sections, (number + 1) * split_size_or_sections)
    first = sum(split_size_or_sections[:number])
    return dim, slice(first, first + split_size_or_sections[number])


def _chunked(shape: torch.Size, number: int, chunks: int, dim: int = 0) -> tuple[int, Any]:
    return _split(shape, number, (shape[dim] + chunks - 1) // chunks, dim)


# By name: the part of a dimension that a view is, from the base's shape, its number among several, its arguments.
_PARTS: dict[str, Callable[..., tuple[int, Any]]] = {
    "select": _selected,
    "narrow": _narrowed,
    "slice": _sliced,
    "unbind": _unbound,
    "split": _split,
    "chunk": _chunked,
}


def counted(views: Sequence[View], base: torch.Tensor) -> torch.Tensor:
    """The places of the last view, counted by calls on a base of whatever size it has."""
    counted = torch.reshape(torch.arange(base.numel()), base.shape)
    for view in views:
        counted = _taken(view, counted)
    return counted


def _assigned(base: torch.Tensor, region: Any, changed: torch.Tensor) -> torch.Tensor:
    result = base.clone()
    result[region] = changed
    return result


def places_of(views: Sequence[View]) -> torch.Tensor:
    """For each element of the last view, its number in the base; found by taking the views of a counting tensor."""
    base = views[0].base.tensor
    # Memory like the base's own: `as_strided` and `view` depend on offset and strides.
    memory = torch.zeros(base.untyped_storage().nbytes() // base.element_size(), dtype=torch.int64)
    counted = memory.as_strided(base.shape, base.stride(), base.storage_offset())
    counted.copy_(torch.arange(base.numel()).view(base.shape))
    for view in views:
        counted = _taken(view, counted)
    return counted


def _taken(view: View, counted: torch.Tensor) -> torch.Tensor:
    base = view.base.tensor
    args, kwargs = map_leaves(lambda leaf: counted if leaf is base else leaf, (view.args, dict(view.kwargs)))
    return [t for t in leaves(view.function(*args, **kwargs)) if isinstance(t, torch.Tensor)][view.index]


def _turned_back(view: View) -> list[int] | None:
    """The permutation that takes back a view which turns dimensions, whatever their sizes; None for other views."""
    rank = view.base.tensor.dim()
    probe = torch.empty(tuple(range(2, 2 + rank)), dtype=view.base.tensor.dtype)
    try:
        turned = _taken(view, probe)
    except Exception:  # it insists on the sizes that it was given
        return None
    steps = list(turned.stride())
    if turned.numel() != probe.numel() or sorted(steps, reverse=True) != list(probe.stride()):
        return None
    return [steps.index(step) for step in probe.stride()]


def _as_permutation(places: torch.Tensor, shape: torch.Size) -> list[int] | None:
    """The permutation that takes the view's dimensions back to the base's, if the view is one."""
    if places.dim() != len(shape) or not places.numel():
        return None
    everything = torch.arange(math.prod(shape)).view(shape)
    steps = [_step(places, d) for d in range(places.dim())]
    order = sorted(range(places.dim()), key=lambda d: (-steps[d], -places.shape[d]))
    back = places.permute(order)
    return order if back.shape == shape and torch.equal(back, everything) else None


def _step(places: torch.Tensor, dim: int) -> int:
    """How far apart in the base two neighbours along a dimension are."""
    line = places.transpose(0, dim).flatten(1)[:, 0] if places.dim() > 1 else places
    return int(line[1] - line[0]) if len(line) > 1 else 0


def _as_slices(places: torch.Tensor, shape: torch.Size) -> tuple[slice, ...] | None:
    """A slice per dimension of the base that selects the view's elements in their order, if such there are."""
    flat, region = places.flatten(), []
    if not flat.numel():
        return None
    for size, stride in zip(shape, torch.empty(shape, device="meta").stride()):
        taken = torch.unique(flat // stride % size).tolist()
        step = taken[1] - taken[0] if len(taken) > 1 else 1
        whole = len(taken) == size  # however long it is when the model runs
        region.append(slice(None) if whole else slice(taken[0], taken[-1] + 1, step))
    everything = torch.arange(math.prod(shape)).view(shape)
    return tuple(region) if torch.equal(everything[tuple(region)].flatten(), flat) else None
