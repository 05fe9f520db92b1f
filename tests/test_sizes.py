"""Sizes keep where they come from: arithmetic, unpacking, and every call that takes one, against PyTorch."""

from __future__ import annotations

import inspect
import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nobuco
from nobuco import ChannelOrder
from nobuco.errors import NobucoWarning
from tests.sizes import check_sizes, converted

FEEDS = ((torch.randn(2, 4, 6, 8),), (torch.randn(3, 4, 9, 7),), (torch.randn(1, 4, 12, 5),))
FREE = ((0, 2, 3),)
TENSORFLOW = (ChannelOrder.TENSORFLOW,)

ARITHMETIC = {
    "add": lambda x: x.new_ones(x.shape[2] + x.shape[3] + 1),
    "sub": lambda x: x[:, :, : x.shape[2] - 2],
    "mul": lambda x: x.reshape(x.shape[0], 4, x.shape[2] * x.shape[3]),
    "floordiv": lambda x: x[..., x.size(3) // 2 :],
    "mod": lambda x: F.pad(x, (0, -x.shape[3] % 4, 0, (4 - x.shape[2] % 4) % 4)),
    "truediv": lambda x: x * (x.shape[2] / x.shape[3]),
    "pow": lambda x: x * x.shape[2] ** -0.5,
    "neg": lambda x: x[..., -(x.shape[3] - 1) :],
    "abs": lambda x: x[..., : abs(2 - x.shape[3])],
    "round": lambda x: x[..., : round(x.shape[3] / 2)],
    "divmod": lambda x: x[..., : sum(divmod(x.shape[3], 2))],
    "ceil": lambda x: x.new_zeros(math.ceil(x.shape[2] / 4), math.floor(x.shape[3] * 0.5)),
    "max": lambda x: F.pad(x, (0, max(x.shape[2:]) - x.shape[3], 0, max(x.shape[2:]) - x.shape[2])),
    "min": lambda x: x[..., : min(x.shape[2], x.shape[3]), : min(x.shape[2:])],
    "min with a number": lambda x: x[..., : min(7, x.shape[2])],
    "sum and prod": lambda x: x.new_ones(sum(x.shape[2:])).sum() + x.reshape(math.prod(x.shape[:2]), -1),
    "square root": lambda x: x[:, :, : int(x.shape[2] ** 0.5)],
    "math.sqrt": lambda x: x / math.sqrt(x.shape[2] * x.shape[3]),
    "math.log": lambda x: x * math.log(x.shape[2]) + 1.5 * math.log2(x.shape[3]),
    "a float of numpy's": lambda x: x * float(np.sqrt(x.shape[2])),
    "int of a half": lambda x: x[:, :, : int(x.shape[2] / 2)],
    "remainder of two": lambda x: x * ((x.shape[2] & 1) * 0.5) + (x.shape[3] >> 1),
    "the larger of ten times": lambda x: x[..., : max(x.shape[2] * 10, x.shape[3])],
    "length less one": lambda x: x[..., : len(x[0, 0, :, 0]) - 1],
    "nothing at the example": lambda x: x[:, :, x.shape[2] // 8 :].roll(x.shape[3] // 100),
    "range over a static one": lambda x: sum(x[:, i] * i for i in range(x.shape[1])),
}


def unpacked(x):
    b, c, h, w = x.size()
    return x.view(b, c * h, w)


def heads(x):
    b, c, h, w = x.shape
    return x.view(b, 2, 2, h, w).transpose(1, 2).reshape(b, c, h, w)


def there_and_back(x):
    b, c, h, w = x.shape
    return x.flatten(2).transpose(1, 2).softmax(1).transpose(1, 2).reshape(b, c, h, w)


def columns(x):
    b, c, h, w = x.shape
    return x.permute(0, 2, 3, 1).reshape(b * h, w, c).softmax(1).reshape(b, h, w, c).permute(0, 3, 1, 2)


def windows(x):
    b, c, h, w = x.shape
    x = F.pad(x, (0, (4 - w % 4) % 4, 0, (4 - h % 4) % 4))
    height, width = x.shape[2:]
    x = x.permute(0, 2, 3, 1).view(b, height // 4, 4, width // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
    x = x.softmax(1).view(b, height // 4, width // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(b, height, width, c)[:, :h, :w].permute(0, 3, 1, 2)


MOVEMENTS = {
    "unpacked": unpacked,
    "heads": heads,
    "there and back": there_and_back,
    "columns": columns,
    "windows": windows,
    "slice of torch.Size": lambda x: x.view(*x.shape[:2], -1),
    "torch.Size and a tuple": lambda x: x.new_ones(x.shape[:1] + (3,)) + x.mean(),
    "view and -1": lambda x: x.view(x.shape[0], -1),
    "all in one": lambda x: x.reshape(x.numel()),
    "view_as": lambda x: x.flatten(1).view_as(x),
    "unflatten": lambda x: x.flatten(2).unflatten(2, (x.shape[2], x.shape[3])),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(F.interpolate(x, scale_factor=2), 2),
    "expand": lambda x: x[:, :1].expand(-1, 5, x.shape[2], x.shape[3]),
    "expand a constant": lambda x: torch.arange(4.0)[None, :, None].expand(x.shape[0], 4, x.shape[2]),
    "expand to a shape": lambda x: x.mean((2, 3), keepdim=True).expand(x.shape),
    "expand_as": lambda x: x.mean((2, 3), keepdim=True).expand_as(x),
    "repeat": lambda x: x[:, :, :1].repeat(1, 1, x.shape[2], 1),
}

CALLS = {
    "arange": lambda x: torch.arange(1, x.shape[3], 2, dtype=torch.float32),
    "grid": lambda x: torch.arange(x.shape[2]).view(-1, 1) + torch.arange(x.shape[3]),
    "zeros": lambda x: torch.cat([x, torch.zeros(x.shape[0], 1, x.shape[2], x.shape[3])], 1),
    "ones": lambda x: torch.ones(x.shape) * x,
    "full": lambda x: torch.full((x.shape[0], x.shape[2]), 2.5) + x[:, 0, :, 0],
    "mask": lambda x: torch.ones(x.shape[3], x.shape[3], dtype=torch.bool).tril(),
    "tensor": lambda x: torch.tensor(x.shape[2:]) * 2,
    "linspace": lambda x: torch.linspace(-1, 1, x.shape[3]),
    "interpolate to a size": lambda x: F.interpolate(x, size=(x.shape[2] * 2, x.shape[3] + 1), mode="bilinear"),
    "interpolate to a shape": lambda x: F.interpolate(x[:, :, ::2, ::2], size=x.shape[-2:], mode="bicubic"),
    "interpolate by a factor": lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
    "index": lambda x: x[:, :, x.shape[2] - 1],
    "narrow": lambda x: x.narrow(2, 1, x.shape[2] - 2),
    "split": lambda x: x.split((x.shape[3] + 1) // 2, 3)[0],
    "roll": lambda x: x.roll(x.shape[2] // 2, 2),
    "masked_fill": lambda x: x.masked_fill(torch.arange(x.shape[3]) > x.shape[3] // 2, 0.0),
    "adaptive pooling": lambda x: F.adaptive_avg_pool2d(x, (x.shape[2] // 2, 1)),
    "pooling over all": lambda x: (F.avg_pool2d(x, x.shape[2:]), F.max_pool2d(x, (x.size(2), x.size(3)))),
    "numel": lambda x: x.sum() / x.numel(),
    "nobuco.shape": lambda x: x[:, :, nobuco.shape(x)[2] // 3 :],
    "nobuco.length": lambda x: x.sum(0) / nobuco.length(x),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic(name):
    check_without_warning(ARITHMETIC[name])


@pytest.mark.parametrize("name", MOVEMENTS)
def test_movement(name):
    check_without_warning(MOVEMENTS[name])


@pytest.mark.parametrize("name", CALLS)
def test_call(name):
    check_without_warning(CALLS[name])


def check_without_warning(function):
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        check_sizes(function, *FEEDS, free=FREE, orders=TENSORFLOW)


def written(x):
    y = x.clone()
    y[:, :, : x.shape[2] // 2] = 0
    y[:, 1:3, x.shape[2] // 2 :, 1::2].mul_(3)
    y[:, 2:].transpose(1, 2)[:, 3:].add_(1)
    y.flatten(2)[:, 0].neg_()
    return y


def test_writes_through_views_of_dynamic_length():
    check_without_warning(written)


def test_channels_first():
    check_sizes(windows, *FEEDS, free=FREE, orders=(ChannelOrder.PYTORCH,), tflite=False)


def test_sizes_that_cannot_be_told_apart_by_their_lengths():
    check_sizes(heads, (torch.randn(4, 4, 4, 4),), FEEDS[0], FEEDS[1], free=FREE, orders=TENSORFLOW, tflite=False)


def compared(x):
    if x.shape[2] > 4:  # baked
        return x + 1
    return x


def asked(x):
    if x.shape[2] - 1:  # baked
        return x + 1
    return x


def looked_up(x):
    return x * [1.0, 2.5, 0.5][x.shape[2] % 3]  # baked


@pytest.mark.parametrize("function", [compared, asked, looked_up])
def test_what_python_bakes_is_reported_with_its_line(function):
    lines, first = inspect.getsourcelines(function)
    line = first + next(i for i, text in enumerate(lines) if "# baked" in text)
    with pytest.warns(NobucoWarning) as caught:
        converted(function, FEEDS[0], FREE)
    messages = [str(w.message) for w in caught if isinstance(w.message, NobucoWarning)]
    assert messages and all(f'File "{__file__}", line {line}:' in message for message in messages), messages


def test_lengths_are_followed():
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        check_sizes(
            lambda x: x[..., : len(x[0, 0, :, 0])] + torch.zeros(int(x.shape[2])).sum(),
            *FEEDS, free=FREE, orders=TENSORFLOW, tflite=False,
        )  # fmt: skip


def test_pytorch_looking_at_a_size_is_not_reported():
    def program(x):
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.interpolate(F.unfold(padded, 3).unsqueeze(1), scale_factor=2.0, mode="bilinear")

    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        check_sizes(program, *FEEDS, free=FREE, orders=TENSORFLOW, tflite=False)


def test_comparing_a_static_size_is_not_reported():
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        converted(lambda x: x * 2 if x.shape[1] == 4 and x.dim() == 4 else x, FEEDS[0], FREE)


def test_a_program_that_insists_on_its_size_is_reported():
    weight = torch.randn(8, 3)
    with pytest.warns(NobucoWarning, match="could not be run at sizes other than those"):
        converted(lambda x: x @ weight, FEEDS[0], ((3,),))


def test_axes_are_dynamic_beside_one_that_the_program_insists_on():
    weight = torch.randn(8, 3)
    check_sizes(lambda x: x @ weight, FEEDS[0], (torch.randn(3, 4, 9, 8),), free=FREE, orders=TENSORFLOW)
