"""Which tensor of a file is which of PyTorch's, and how it lies."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_nobuco.backends.artifact import Opened
from pytest_nobuco.backends.held import Held, Tensors
from pytest_nobuco.backends.matching import Slot, match
from pytest_nobuco.errors import SuiteError


def places(theirs, ours):
    return [
        (place.index, place.orders) for place in match([Slot(*t) for t in theirs], [Slot(*o) for o in ours], "input")
    ]


@pytest.mark.parametrize(
    ("shape", "orders"),
    [
        ((1, 3, 8, 9), ("nchw",)),
        ((1, 8, 9, 3), ("nhwc",)),
        ((None, None, None, 3), ("nchw", "nhwc")),  # 3 may be a width
        ((1, 3, None, None), ("nchw", "nhwc")),
    ],
)
def test_the_shape_tells_the_order(shape, orders):
    pytorch = (1, 3, 8, 9) if None not in shape else (1, 3, 3, 3)
    assert places([("x", shape)], [("x", pytorch)]) == [(0, orders)]


def test_a_size_that_neither_order_has_is_refused_with_both_sides():
    with pytest.raises(
        SuiteError, match=r"the inputs of the file \(x 1×8×8×4\) are not those of the model \(x 1×3×8×8\)"
    ):
        places([("x", (1, 8, 8, 4))], [("x", (1, 3, 8, 8))])


def test_another_number_of_tensors_is_refused():
    with pytest.raises(SuiteError, match=r"\(x 2, y 2\) are not those of the model \(x 2\)"):
        places([("x", (2,)), ("y", (2,))], [("x", (2,))])


@pytest.mark.parametrize("names", [["c", "a"], ["p", "q"]])
def test_an_input_that_is_not_used_may_be_lacking(names):
    theirs = [(names[0], (5,)), (names[1], (2, 3))]
    assert [index for index, _ in places(theirs, [("a", (2, 3)), ("b", (4,)), ("c", (5,))])] == [2, 0]
    with pytest.raises(SuiteError, match="the outputs of the file"):
        match([Slot("a", (2, 3))], [Slot("a", (2, 3)), Slot("b", (4,))], "output")


@pytest.mark.parametrize("form", ["{}", "serving_default_{}:0"])
def test_names_count_before_shapes(form):
    theirs = [(form.format("b"), (2, 4)), (form.format("a"), (2, 4))]
    assert [index for index, _ in places(theirs, [("a", (2, 4)), ("b", (2, 4))])] == [1, 0]


@pytest.mark.parametrize(
    "names",
    [
        ["args_1", "args_10", "args_2"],
        ["StatefulPartitionedCall:0", "StatefulPartitionedCall:2", "StatefulPartitionedCall:1"],
        ["Identity", "Identity_2", "Identity_1"],
    ],
)
def test_numbers_behind_a_stem_are_an_order(names):
    theirs = [(name, (2, 4)) for name in names]
    assert [index for index, _ in places(theirs, [("", (2, 4))] * 3)] == [0, 2, 1]


def test_without_names_shapes_tell_and_then_the_order():
    theirs = [("p", (7,)), ("q", (2, 4)), ("r", (2, 4))]
    assert [index for index, _ in places(theirs, [("", (2, 4)), ("", (2, 4)), ("", (7,))])] == [2, 0, 1]


def last(array):
    return np.moveaxis(array, 1, -1)


def first(array):
    return np.moveaxis(array, -1, 1)


def held(run, shape, **orders):
    slot = (Slot("x", shape),)
    return Held(None, lambda: Opened(run, slot, slot), **orders)


def run(file, given, expected):
    return file.run(Tensors([given], ["x"], [expected]))[0]


CUBE = np.random.default_rng(0).standard_normal((1, 4, 4, 4)).astype("float32")
SCALE = np.array([1, 2, 3, 4], "float32")
EXPECTED = CUBE * SCALE[:, None, None]


@pytest.mark.parametrize(
    ("runs", "orders"),
    [
        (lambda x: [x[0] * SCALE], "inputs nhwc (tried), outputs nhwc (tried)"),
        (lambda x: [x[0] * SCALE[:, None, None]], "inputs nchw (tried), outputs nchw (tried)"),
        (lambda x: [last(x[0] * SCALE[:, None, None])], "inputs nchw (tried), outputs nhwc (tried)"),
        (lambda x: [first(x[0] * SCALE)], "inputs nhwc (tried), outputs nchw (tried)"),
    ],
)
def test_orders_that_no_shape_tells_are_tried_and_told(runs, orders):
    file = held(runs, (1, 4, 4, 4))
    np.testing.assert_array_equal(run(file, CUBE, EXPECTED), EXPECTED)
    assert file.orders == orders


def test_trying_makes_no_wrong_file_right():
    file = held(lambda x: [x[0] * SCALE + 0.1], (1, 4, 4, 4))
    assert np.abs(run(file, CUBE, EXPECTED) - EXPECTED).max() > 0.09


def test_an_order_that_is_given_holds():
    file = held(lambda x: [x[0] * SCALE], (1, 4, 4, 4), inputs="nchw", outputs="nchw", strict=True)
    assert np.abs(run(file, CUBE, EXPECTED) - EXPECTED).max() > 0.1
    file = held(lambda x: [x[0]], (1, 4, 5, 3), inputs="nchw", outputs="nchw", strict=True)
    image = np.zeros((1, 3, 4, 5), "float32")
    with pytest.raises(SuiteError, match="input 0 of the file does not lie nchw: its shape says nhwc"):
        run(file, image, image)


def test_integers_of_another_width_are_compared_by_value():
    slot = (Slot("x", (2,)),)
    file = Held(None, lambda: Opened(lambda x: [x[0] + 1], slot, slot, ("int32",)))
    got = run(file, np.array([1, 2], "int64"), np.array([2, 3], "int64"))
    assert got.dtype == "int64" and got.tolist() == [2, 3]


def test_another_number_of_outputs_is_refused():
    file = held(lambda x: [], (2, 3))
    with pytest.raises(SuiteError, match="it gives 0 outputs, PyTorch 1"):
        run(file, np.zeros((2, 3)), np.zeros((2, 3)))


@pytest.mark.parametrize("names", [("scores", "boxes"), ("q", "p")])
def test_outputs_are_matched_by_their_keys(names):
    """Two of one shape, in another order than PyTorch's; without the keys they are taken in order."""
    slots = tuple(Slot(name, (2, 3)) for name in names)
    file = Held(None, lambda: Opened(lambda x: [x[0] * 2, x[0]], (Slot("x", (2, 3)),), slots))
    x = np.ones((2, 3), "float32")
    got = file.run(Tensors([x], ["x"], [x, x * 2], ["boxes", "scores"]))
    assert [float(array[0, 0]) for array in got] == ([1.0, 2.0] if names[0] == "scores" else [2.0, 1.0])
