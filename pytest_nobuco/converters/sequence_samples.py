"""Samples of recurrent layers, packed sequences, losses of sequences, and control flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nobuco.ops.names import F, Tensor, torch
from nobuco.registry import Sample
from pytest_nobuco.converters.drawing import Make, image


def _ctc() -> Sequence[Sample]:
    x, labels = torch.randn(9, 2, 5).log_softmax(2), torch.randint(1, 5, (2, 3))
    return [
        Sample((x, labels, torch.tensor([9, 7]), torch.tensor([3, 2]), 0, 0)),
        Sample((x, labels.flatten(), torch.tensor([9, 9]), torch.tensor([2, 4]), 0, 1)),
    ]


def _ctc_of_blank() -> Sequence[Sample]:
    """PyTorch trusts that the blank is none of the labels; more labels than steps make an infinite loss."""
    x, labels = torch.randn(9, 2, 5).log_softmax(2), torch.randint(0, 4, (2, 3))
    lengths = torch.tensor([3, 2])
    return [
        Sample((x, labels, torch.tensor([9, 7]), lengths), {"blank": 4}),
        Sample((x, labels, torch.tensor([9, 1]), lengths), {"blank": 4, "zero_infinity": True}),
        Sample((x, torch.tensor([1, 2, 2, 3, 0]), torch.tensor([9, 8]), torch.tensor([3, 2])), {"blank": 4}),
        Sample((x[:, 0], labels[0], torch.tensor(9), torch.tensor(3)), {"blank": 4}),
    ]


def _recurrent(gates: int, is_lstm: bool = False) -> Make:
    """One layer with biases, and two in two directions without."""

    def make() -> Sequence[Sample]:
        found = []
        for has_biases, layers, directions in ((True, 1, 1), (False, 2, 2)):
            params = []
            for features in [4, 3 * directions][:layers]:
                weights = [image(3 * gates, features), image(3 * gates, 3)]
                params += (weights + [image(3 * gates)] * (2 * has_biases)) * directions
            state = torch.zeros(layers * directions, 2, 3)
            given = [state, state] if is_lstm else state
            found.append(
                Sample((image(5, 2, 4), given, params, has_biases, layers, 0.0, False, directions == 2, False))
            )
        return found

    return make


def _cond() -> Sequence[Sample]:
    def program(op: Any, x: Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda x: (x.sin(), x + 1), lambda x: (x.cos() * 2, x - 1), (x,))

    return [Sample((torch.rand(2, 3, 4, 5),), program=program), Sample((-torch.rand(3, 4),), program=program)]


def _while_loop() -> Sequence[Sample]:
    from torch._higher_order_ops.while_loop import while_loop

    def program(op: Any, x: Tensor) -> Any:
        return while_loop(lambda i, y: i < 4, lambda i, y: (i + 1, y * 0.5 + i), (torch.tensor(0), x * 1))

    return [Sample((image(),), program=program), Sample((image(3),), program=program)]


def _map() -> Sequence[Sample]:
    from torch._higher_order_ops.map import map as torch_map

    def program(op: Any, xs: Tensor, y: Tensor) -> Any:
        return torch_map(lambda x, y: torch.relu(x) * y, xs, y)  # type: ignore[arg-type]

    return [Sample((image(4, 3, 5), image(5)), program=program), Sample((image(3, 2), image(2)), program=program)]


def _scan() -> Sequence[Sample]:
    from torch._higher_order_ops.scan import scan

    def program(op: Any, init: Tensor, xs: Tensor) -> Any:
        return scan(lambda carry, x: (carry * 0.5 + x, carry + x), init, xs)

    return [
        Sample((image(3), image(4, 3)), program=program),
        Sample((image(2, 3), image(5, 2, 3)), program=program),
    ]


def _packed(op: Any, x: Tensor, lengths: Tensor) -> Any:
    """Packed and padded again, since what is between is laid out in another way than PyTorch's."""
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)


def _packed_and_filled(op: Any, x: Tensor, lengths: Tensor) -> Any:
    """Batch in front or behind, longer than need be, and filled with another number."""
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    return torch.nn.utils.rnn.pad_packed_sequence(packed, padding_value=0.5, total_length=9)


def _sequences() -> list[Sample]:
    return [
        Sample((torch.randn(5, 3, 2), torch.tensor([5, 3, 1])), program=_packed_and_filled),
        Sample((torch.randn(3, 5, 2), torch.tensor([5, 3, 1])), program=_packed),
        Sample((torch.randn(4, 6, 3), torch.tensor([2, 6, 4, 6])), program=_packed),
    ]


def _rows() -> list[Sample]:
    rows = [torch.randn(n, 2) for n in (5, 3, 1)]
    return [
        Sample((rows,)),
        Sample((rows, True, 0.5)),
        Sample((rows,), {"padding_value": -1.0, "padding_side": "left"}),
    ]


SAMPLES: Mapping[Any, Make] = MappingProxyType(
    {
        torch.ctc_loss: _ctc,
        F.ctc_loss: _ctc_of_blank,
        torch._pack_padded_sequence: _sequences,
        torch._pad_packed_sequence: _sequences,
        torch._C._nn.pad_sequence: _rows,
        torch.lstm: _recurrent(4, is_lstm=True),
        torch.gru: _recurrent(3),
        torch.rnn_tanh: _recurrent(1),
        torch.rnn_relu: _recurrent(1),
        torch.ops.higher_order.cond: _cond,
        torch.ops.higher_order.while_loop: _while_loop,
        torch.ops.higher_order.map_impl: _map,
        torch.ops.higher_order.scan: _scan,
    }
)
