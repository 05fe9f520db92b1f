"""One operation under many callables: which converter they have, and what its function gets of their arguments."""

import inspect

import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F

import nobuco
from nobuco.builtin import find_converter, registered_converters
from nobuco.converters import sizes
from nobuco.ir import Node, Site, Value, ValueKind
from nobuco.ops.forms import is_in_place, name_of
from nobuco.ops.schema import PLACEMENT, overloads, rest_of, signatures, targets
from nobuco.registry import operation_name
from nobuco.select.binding import by_position
from nobuco.trace import trace
from tests.older import fails_before

aten, Tensor = torch.ops.aten, torch.Tensor
SERVED = [
    (operation, found.function)
    for found in registered_converters()
    if found.is_built_in and found.function.__module__ != sizes.__name__
    for operation in found.callables
]


def ways(operation, function):
    """The ways to call an operation, as far as its converter has parameters for all that they tell of the result."""
    for way in signatures(operation, name_of(operation)):
        own = [argument for argument in way if argument.name not in PLACEMENT]
        takes_dtype = operation == Tensor.view and way[1].name == "dtype"  # which makes it another operation
        if rest_of(function) in ("", "_") and None not in targets(own, function) and not takes_dtype:
            yield way


def example(argument, number):
    """Something that an argument may be, another for each."""
    kind = argument.type
    kind = kind.removeprefix("Optional[").removesuffix("]") if kind.startswith("Optional") else kind
    tensor = Value(number, ValueKind.RESULT, (2, 2, 2), "float32")
    known = {
        "Tensor": tensor, "": tensor, "number": 0.5 + number, "float": 0.5 + number, "int": number, "bool": True,
        "str": str(number), "ScalarType": torch.float32, "List[int]": (number, 1), "List[Tensor]": (tensor,),
    }  # fmt: skip
    return known.get(kind, kind)


def bound(operation, function, args, kwargs):
    node = by_position(Node(0, operation, tuple(args), kwargs, None, Site("", 0)), function)
    return node.args, node.kwargs


def calls(operation, function):
    """For each way to call an operation: the same arguments, none of them by position, one, two, and so on."""
    for way in ways(operation, function):
        own = sorted(way, key=lambda a: a.name != "self") if hasattr(operation, "__objclass__") else way
        values = {argument.name: example(argument, number) for number, argument in enumerate(own, 1)}
        places = [argument.name for argument in own if argument.place is not None]
        yield [
            ([values[name] for name in places[:count]], {n: values[n] for n in reversed(values) if n not in given})
            for count in range(len(places) + 1)
            for given in [places[:count]]
        ]


@fails_before("torch", "2.13", "two overloads of squeeze and count_nonzero take the same words")
def test_arguments_mean_the_same_by_position_and_by_name():
    different = {
        operation_name(operation)
        for operation, function in SERVED
        for spoken in calls(operation, function)
        if any(bound(operation, function, *call) != bound(operation, function, *spoken[0]) for call in spoken)
    }
    assert not different


def test_a_function_gets_its_own_parameters():
    asked = 0
    for operation, function in SERVED:
        for spoken in calls(operation, function):
            args, kwargs = bound(operation, function, *spoken[0])
            inspect.signature(function).bind(*args, **kwargs)
            asked += 1
    assert asked > 1500


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x: x.view(2, -1), ("x", (2, -1))),
        (lambda x: x.permute(dims=(1, 0)), ("x", (1, 0))),
        (lambda x: x.squeeze(0), ("x", 0)),
        (lambda x: 2 - x, (2, "x")),
        (lambda x: torch.rsub(input=x, other=2, alpha=3), (2, "x")),
        (lambda x: x.where(x > 0, 1.0), ("x > 0", "x", 1.0)),
        (lambda x: x.var(False), ("x",)),
        (lambda x: x.var(0, False), ("x", 0, False)),
        (lambda x: torch.split(split_size_or_sections=2, tensor=x, dim=1), ("x", 2, 1)),
        (lambda x: aten.add.Scalar(x, 2, 3), ("x", 2)),
        (lambda x: torch.mm(mat2=x, input=x), ("x", "x")),
        (lambda x: F.embedding(weight=x, input=x.long()), ("x.long()", "x")),
        (lambda x: aten.embedding.default(x, x.long()), ("x.long()", "x")),
    ],
)
def test_arguments_in_the_converters_order(call, expected):
    x = torch.rand(2, 2)
    node = trace(call, (x,), {}).nodes[-1]
    args, _ = bound(node.op, find_converter(node.op).function, node.args, node.kwargs)
    args = args[: len(expected)]
    values = [arg for arg in args if isinstance(arg, Value)]
    assert [arg for arg in args if not isinstance(arg, Value)] == [arg for arg in expected if not isinstance(arg, str)]
    assert [isinstance(arg, Value) for arg in args] == [isinstance(arg, str) for arg in expected]
    inner = [value for value, word in zip(values, [w for w in expected if isinstance(w, str)]) if word != "x"]
    assert all(value.dtype != "float32" for value in inner)


def test_what_is_in_place_by_name_is_so_by_schema():
    spoken = [(operation, overloads(name_of(operation))) for operation, _ in SERVED]
    assert all(
        all(bool(op._schema.arguments[0].is_write) == is_in_place(operation) for op in found)
        for operation, found in spoken
    )


def test_all_forms_of_an_operation_have_one_converter():
    subtraction = (
        torch.sub, Tensor.sub, Tensor.sub_, Tensor.__sub__, Tensor.__isub__, Tensor.__rsub__, torch.rsub,
        aten.sub.Tensor, aten.sub.Scalar, aten.sub_.Tensor, aten.rsub.Scalar, torch.subtract, Tensor.subtract_,
    )  # fmt: skip
    assert len({id(find_converter(operation)) for operation in subtraction}) == 1
    activation = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu_, aten.relu.default, aten.relu_.default)
    assert len({id(find_converter(operation)) for operation in activation}) == 1


def test_what_bears_the_same_name_and_is_another_operation_has_another_converter():
    assert find_converter(F.unfold) is not find_converter(Tensor.unfold)
    assert find_converter(aten.tensordot.default) is None  # whose dimensions are two lists
    assert find_converter(aten.mse_loss.default) is not find_converter(F.mse_loss)  # whose reduction is a word


def test_a_converter_of_the_users_serves_only_what_it_is_registered_for(restored_registry):
    before = find_converter(torch.sub)

    @nobuco.converter(Tensor.sub)
    def halved(self, other):
        return lambda self, other: (self - other) / 2

    nobuco.unregister_converter(Tensor.sub_)
    assert find_converter(Tensor.sub).function is halved
    assert find_converter(Tensor.sub_) is None
    assert find_converter(Tensor.__sub__) is find_converter(torch.sub) is before


def test_a_converter_of_the_users_receives_what_the_call_had(restored_registry):
    seen = []

    @nobuco.converter(Tensor.__rsub__, Tensor.view, torch.sub)
    def noted(*args, **kwargs):
        seen.append((len(args), kwargs.keys()))
        return lambda *args, **kwargs: tf.zeros([2, 2])

    def program(x):
        return 2 - x, x.view(2, 2), torch.sub(other=x, input=x)

    with pytest.warns(nobuco.NobucoWarning):  # it gives zeros
        nobuco.pytorch_to_keras(program, [torch.rand(2, 2)], verbose=False)
    assert seen[0] == (2, set()) and (3, set()) in seen and (0, {"other", "input"}) in seen


def test_a_tensor_that_is_written_to_keeps_its_dtype():
    def program(x, n):
        y, m = x * 1, n * 1
        y.ge_(0.5).add_(n)
        m.__imul__(3)
        return y, m, (n * 1).cumsum_(1)

    _, report = nobuco.pytorch_to_keras(
        program, [torch.rand(2, 3).half(), torch.arange(6, dtype=torch.int32).view(2, 3)],
        return_report=True, verbose=False,
    )  # fmt: skip
    assert report.ok
