"""Operations along axes whose size only the running model knows, in Keras and TFLite, at sizes never seen before."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nobuco import ChannelOrder
from tests.sizes import check_sizes

FULL = slice(None)
LAST = (ChannelOrder.TENSORFLOW,)
PYTORCHS = (ChannelOrder.PYTORCH,)
TABLE = torch.randn(7, 3)
SQUARES = torch.randn(2, 3, 5), torch.randn(4, 7, 9), torch.randn(3, 1, 1)


def check_cubes(function, **options):
    check_sizes(function, *((x,) for x in SQUARES), free=[(0, 1, 2)], orders=LAST, **options)


@pytest.mark.parametrize("name", ["cumprod", "cummax", "cummin", "logcumsumexp", "mode"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_running(name, dim):
    check_cubes(lambda x: getattr(torch, name)(x, dim))


def test_running_extremes_of_equals_and_nan():
    x = torch.tensor([2.0, 1.0, 1.0, 3.0, 3.0, float("nan"), 4.0])
    check_sizes(lambda x: (x.cummax(0), x.cummin(0)), (x,), (x.repeat(3),), (x[:1],), free=[(0,)], orders=LAST)


def test_mode_of_equals():
    x = torch.tensor([[3.0, 1, 3, 1], [2, 2, 5, 1], [2, 1, 3, 0]])
    check_sizes(lambda x: x.mode(0, True), (x,), (x.T.repeat(2, 1),), free=[(0, 1)], orders=LAST)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (torch.atleast_3d(x[0]), torch.dstack([x[0], x[0] + 1])),
        lambda x: torch.diag_embed(x, 1, 0, 2),
        lambda x: torch.diag(x[0, 0]),
        lambda x: torch.diagonal_scatter(x, torch.zeros_like(x.diagonal(1, 0, 2)), 1, 0, 2),
        lambda x: torch.as_strided_scatter(x, torch.zeros(2), (2,), (1,), 1),
        lambda x: torch.nonzero_static(x > 0, size=3),
        lambda x: torch.lgamma(x * 9),
        lambda x: (x.median(), x.long().median(), x.nanmedian()),
        lambda x: x[0] @ x[-1].mT,
    ],
)
def test_movement_and_elements(function):
    check_cubes(function)


def test_lgamma_at_its_poles_and_far_out():
    x = torch.tensor([-2.0, 0.0, 1.0, 2.0, 0.5, -0.5, -3.75, 1e-6, 40.0, 1e6, torch.inf, -torch.inf, torch.nan])
    check_sizes(torch.lgamma, (x,), (x[3:],), free=[(0,)], orders=LAST)


def test_a_hash():  # for which TFLite has no operation
    check_cubes(lambda x: (torch.hash_tensor(x, 1), torch.hash_tensor(x, (0, 2), keepdim=True)), tflite=False)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_grid_sample(mode):
    def feed(*sizes):
        return torch.randn(2, 3, *sizes), torch.rand(2, *reversed(sizes), 2) * 2.2 - 1.1

    def function(x, grid):
        return F.grid_sample(x, grid, mode, align_corners=False)

    check_sizes(function, feed(4, 5), feed(7, 3), free=[(0, 2, 3), (0, 1, 2)], orders=LAST)


def test_bins_and_segments():
    def feed(rows, columns, segments):
        lengths = torch.full((rows, segments), columns // segments)
        return torch.randn(rows, columns), torch.linspace(-1, 1, segments), lengths

    def function(x, edges, lengths):
        return torch.histogram(x, edges), torch.segment_reduce(x, "mean", lengths=lengths, axis=1)

    check_sizes(function, feed(2, 6, 3), feed(5, 8, 4), free=[(0, 1), (0,), (0, 1)], orders=LAST)


@pytest.mark.parametrize("height", [3, 8])
def test_the_larger_of_two_sizes_whichever_is_the_larger(height):
    def function(x):
        return x * max(x.shape[2], x.shape[3]) + min(x.shape[1], x.shape[2])

    feeds = [(torch.randn(1, 4, *sizes),) for sizes in ((height, 6), (2, 9), (9, 2))]
    check_sizes(function, *feeds, free=[(1, 2, 3)], orders=LAST)


def test_scan_and_map_over_rows_of_dynamic_length():
    scan = pytest.importorskip("torch._higher_order_ops").scan
    map_rows = pytest.importorskip("torch._higher_order_ops.map").map

    def function(init, xs):
        return scan(lambda c, a: (c * 0.5 + a, c + a), init, xs), map_rows(lambda a, c: a.relu() * c, xs, init)

    feeds = [(torch.randn(n, 3), torch.randn(m, n, 3)) for n, m in ((2, 4), (5, 7), (3, 1))]
    check_sizes(function, *feeds, free=[(0,), (0, 1)], orders=LAST)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.as_strided((x.shape[0] - 1, x.shape[1]), (x.shape[1], 1), 2),
        lambda x: x.as_strided((x.shape[1] // 2, 2), (2, 1)),
        lambda x: x.as_strided((x.shape[1],), (3,)) * 2,
    ],
)
def test_strides_over_a_dynamic_size(function):
    check_sizes(
        function,
        *((torch.arange(12.0).view(3, 4).repeat(1, k),) for k in (1, 2, 5)),
        free=[(1,)],
        orders=LAST,
    )


def test_a_dynamic_step():
    x = torch.randn(2, 3, 8)
    others = (torch.randn(2, 3, 3),), (torch.randn(2, 3, 1),)
    check_sizes(lambda x: (x[:, :: x.shape[2] // 2 + 1], x.sum()), (x,), *others, free=[(2,)], orders=LAST)


def test_a_view_of_nothing_at_all():
    x = torch.randn(3, 4)
    others = (x[:2],), (x.repeat(3, 1),)
    check_sizes(lambda x: (x[:, :0].flatten(1), x), (x,), *others, free=[(0,)], orders=LAST, tflite=False)


@pytest.mark.parametrize(
    "key",
    [
        (FULL, slice(0)),
        (FULL, slice(2, 0)),
        (slice(0), 1),
        (1, slice(0), None),
        (slice(1, None, 2), slice(4, None)),
        (slice(0), slice(3, 1)),
    ],
)
def test_a_slice_of_nothing(key):
    x = torch.randn(3, 4)
    check_sizes(lambda x: x[key], (x,), (x[:2],), free=[(0,)], orders=LAST)


def unshuffled_after_a_resize(x):
    """Of what is resized to one known size and one that is not, TensorFlow knows neither."""
    b, c, h, w = x.shape
    x = F.interpolate(x, scale_factor=2)
    return x.view(b, c, h, 2, w, 2).permute(0, 1, 3, 5, 2, 4).reshape(b, 4 * c, h, w)


def test_a_size_that_is_always_the_same_is_no_dynamic_one():
    shapes = [(1, 2, 8, 4), (1, 2, 8, 1), (1, 2, 8, 9)]
    check_sizes(unshuffled_after_a_resize, *[(torch.randn(shape),) for shape in shapes], free=[(3,)])


def test_a_size_of_nothing_that_is_split():
    program = lambda x: x[:, : x.shape[1] // 4 * 4].unflatten(1, (-1, 4)).mean(2)  # noqa: E731
    check_sizes(program, *[(torch.randn(2, n, 3),) for n in (3, 4, 9, 1)], free=[(1,)], tflite=False)


@pytest.mark.parametrize("groups", [2, None], ids=["two", "pairs"])
def test_group_norm_of_as_many_channels_as_there_are(groups):
    program = lambda x: F.group_norm(x, groups or x.shape[1] // 2)  # noqa: E731
    shapes = [(2, 4, 5), (1, 8, 3), (3, 6, 4)]
    check_sizes(program, *[(torch.randn(shape),) for shape in shapes], free=[(0, 1, 2)])


def written(key):
    def function(x, y):
        x = F.pad(x, (0, 1, 0, 1))
        x[key] = y
        return x

    return function


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: (F.cosine_similarity(x, y, 0), F.cosine_similarity(x, y, 1)),
        lambda x, y: x.clone().copy_(y),
        lambda x, y: x.masked_select(y > 0),
        torch.broadcast_tensors,
        lambda x, y: torch.take_along_dim(x, (y > 0).long(), 1),
        lambda x, y: torch.view_as_real(torch.complex(x, y)),
        written((slice(1, None), slice(1, None))),
        written((slice(0, -1), slice(None, -1))),
    ],
    ids=["similarity", "copy", "selection", "broadcast", "along", "complex", "rows written", "first rows written"],
)
def test_sizes_that_are_one_only_at_run_time(function):
    shapes = (4, 3), (1, 3), (4, 1), (1, 1)
    feeds = [(torch.randn(4, 3), torch.randn(shape)) for shape in shapes]
    check_sizes(function, *feeds, free=[(0, 1), (0, 1)], orders=LAST)


def test_tensors_that_grow_together_in_turn():
    feeds = [(torch.randn(n, 3), torch.randn(m, 3)) for n, m in ((1, 4), (5, 1), (2, 2))]
    check_sizes(torch.broadcast_tensors, *feeds, free=[(0,), (0,)], orders=LAST)


@pytest.mark.parametrize("reduce", ["sum", "amax", None])
def test_a_scatter_of_fewer_elements_than_there_are(reduce):
    def function(x, index, source):
        return x.scatter_reduce(0, index, source, reduce) if reduce else x.scatter(0, index, source)

    def feed(n, m):
        return torch.randn(5, m), torch.stack([torch.randperm(5)[:n] for _ in range(m)], 1), torch.randn(n + 1, m + 2)

    check_sizes(function, feed(3, 2), feed(2, 4), feed(5, 1), free=[(1,), (0, 1), (0, 1)], orders=LAST)


def test_products_over_several_dynamic_axes():
    def feed(n, m, k):
        return torch.randn(n, m, k), torch.randn(k, 2, m)

    def function(x, y):
        return torch.tensordot(x, y, dims=([1, 2], [2, 0])), torch.inner(x, y[:, 0, :1] @ y[:, 0, :1].mT)

    check_sizes(function, feed(2, 3, 4), feed(3, 5, 2), feed(1, 1, 1), free=[(0, 1, 2), (0, 2)], orders=LAST)


def test_masks_that_choose_nothing():
    def function(x, mask):
        return x.masked_scatter(mask[:, None], x[mask] * 2), x[mask].roll(1, 0)

    x, mask = torch.randn(4, 3), torch.tensor([True, False, True, False])
    check_sizes(function, (x, mask), (x, mask & False), (x, mask | True), free=[(), ()], orders=LAST)


def test_new_axes_behind_several_dynamic_ones():
    def function(indices, weights):
        bags = F.embedding_bag(indices, TABLE, mode="sum", per_sample_weights=weights)
        return bags, F.embedding_bag(indices, TABLE, padding_idx=2), weights[..., None] * weights[:, None]

    feeds = [(torch.randint(0, 7, shape), torch.randn(shape)) for shape in ((2, 3), (4, 1), (1, 5))]
    check_sizes(function, *feeds, free=[(0, 1), (0, 1)], orders=LAST)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,kj->ik", [((2, 1), (5, 4)), ((2, 4), (5, 1)), ((1, 1), (1, 1))]),
        ("bij,bjk->bik", [((1, 4, 2), (3, 2, 5)), ((3, 4, 1), (3, 6, 5)), ((3, 2, 6), (1, 1, 5))]),
        ("...ij,...jk->ik", [((3, 4, 1), (3, 6, 5)), ((3, 2, 6), (1, 1, 5))]),
    ],
)
def test_an_axis_is_stretched_in_einsum(equation, shapes):
    """In PyTorch an axis of one in either operand goes with any size, summed over or not."""
    x, y = (torch.randn(shape) for shape in (((3, 4), (5, 4)) if equation[0] == "i" else ((3, 4, 2), (3, 2, 5))))
    others = [tuple(map(torch.randn, pair)) for pair in shapes]
    free = [range(x.dim()), range(y.dim())]
    check_sizes(lambda x, y: torch.einsum(equation, x, y), (x, y), *others, free=free, orders=PYTORCHS)


def test_sums_to_a_size_that_the_running_model_knows():
    def function(x, y):
        return x.sum_to_size(1, y.shape[1]), x.sum_to_size(y.shape), x.sum_to_size(y.shape[1])

    shapes = ((3, 4), (1, 4)), ((2, 6), (2, 1)), ((2, 6), (1, 6)), ((2, 6), (2, 6)), ((1, 1), (1, 1))
    traced, *others = (tuple(map(torch.randn, pair)) for pair in shapes)
    check_sizes(function, traced, *others, free=[(0, 1), (0, 1)], orders=PYTORCHS)


def test_a_cross_product_along_an_axis_that_is_free():
    x, y = torch.randn(2, 3), torch.randn(5, 3)
    check_sizes(lambda x: torch.linalg.cross(x, x.flip(1)), (x,), (y,), free=[(0, 1)], orders=PYTORCHS)
