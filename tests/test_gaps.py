"""Operations that have no converter and cannot be opened: what is said of them, and what closes the gap."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf
import torch

import nobuco
from nobuco import ChannelOrderingStrategy
from nobuco.builtin import registered_converters
from nobuco.registry import registry
from tests.custom_operations import both, holds_sealed, sealed, swirl
from tests.parity import assert_converts, convert

ROW = torch.rand(2, 4) - 0.4


class TestGaps:
    def test_not_to_be_opened(self):
        with pytest.raises(nobuco.ConversionError) as caught:
            convert(lambda x: swirl(x) + both(x)[0], ROW, decompose=False)
        message = str(caught.value)
        assert message.startswith("2 operation(s) have no converter:")
        assert "@nobuco.converter(torch.ops.nobuco_tests.swirl.default, " in message
        assert caught.value.gaps == ("nobuco_tests.swirl.default", "nobuco_tests.both.default")
        stub = re.findall(r"    (@nobuco.converter.*?# the same, on TensorFlow tensors)", message, re.S)[0]
        compile(stub.replace("\n    ", "\n"), "stub", "exec")

    def test_what_it_is_opened_into_may_have_none(self):
        with pytest.raises(nobuco.ConversionError) as caught:
            convert(lambda x: holds_sealed(x), ROW)
        message = str(caught.value)
        assert message.startswith("1 operation(s) have no converter:")
        assert "torch.ops.nobuco_tests_closed.sealed.default, called 1 time(s):" in message
        assert "in torch.ops.nobuco_tests.holds_sealed.default  (%" in message
        assert "@nobuco.converter(torch.ops.nobuco_tests_closed.sealed.default, " in message

    def test_the_stub_once_filled_in_converts(self):
        registered_converters()
        with registry.restoring():
            options = {"channel_ordering_strategy": ChannelOrderingStrategy.FORCE_PYTORCH_ORDER}
            nobuco.converter(sealed.default, **options)(lambda arg0: lambda arg0: arg0 * 2)
            assert_converts(lambda x: holds_sealed(x) + sealed(x), ROW)

    def test_a_kernel_alone_is_a_gap_of_its_own(self):
        with pytest.raises(
            nobuco.ConversionError, match=r"nobuco_tests_closed\.sealed\.default, called 2 time"
        ) as caught:
            convert(lambda x: sealed(x) + sealed(x * 2), ROW)
        assert " in torch.ops" not in str(caught.value)

    def test_why_it_cannot_be_opened_is_told(self):
        @torch.library.custom_op("nobuco_tests::stubborn", mutates_args=())
        def stubborn(x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(np.sin(x.numpy()))

        with pytest.raises(nobuco.ConversionError) as caught:
            convert(lambda x: stubborn(x), ROW)
        message = str(caught.value)
        assert "torch.ops.nobuco_tests.stubborn.default, called 1 time(s):" in message
        assert re.search(r"\nPyTorch cannot open it into ATen calls: RuntimeError: .*numpy", message)
        assert "@nobuco.converter(torch.ops.nobuco_tests.stubborn.default, " in message

    def test_a_value_taken_into_python_is_warned_about(self):
        @torch.library.custom_op("nobuco_tests::scaled_by_first", mutates_args=())
        def scaled_by_first(x: torch.Tensor) -> torch.Tensor:
            return x * float(x[0, 0])

        with pytest.warns(
            nobuco.NobucoWarning, match="scaled_by_first.default takes a value that depends on the input"
        ):
            convert(lambda x: scaled_by_first(x), ROW)


class TestConverters:
    """A custom operation takes a converter in each of its spellings."""

    @pytest.mark.parametrize("registered", ["definition", "packet", "overload"])
    @pytest.mark.parametrize("called", ["definition", "packet", "overload"])
    def test_of_a_custom_operation(self, registered, called):
        spelled = {
            "definition": swirl,
            "packet": torch.ops.nobuco_tests.swirl,
            "overload": torch.ops.nobuco_tests.swirl.default,
        }
        registered_converters()

        def make(x, turns=2.0):
            return lambda x, turns=2.0: tf.sin(x * turns) + tf.reduce_mean(x, -1, keepdims=True)

        with registry.restoring():
            nobuco.converter(
                spelled[registered], channel_ordering_strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER
            )(make)
            _, report = convert(lambda x: spelled[called](x, 1.5), ROW, return_report=True)
        assert report.ok and not any(node.opened for node in report.walk())


def test_what_no_output_needs_is_no_gap():
    """A check by Python: PyTorch's own `torch._check_tensor_all` asks by an operation that opens into itself."""

    def checked(x):
        torch._check_tensor_all(x > -100)
        return x + 1

    x = torch.randn(2, 3)
    with pytest.warns(nobuco.NobucoWarning, match="into Python"):
        model = convert(checked, x)
    np.testing.assert_allclose(model(x.numpy()), x.numpy() + 1)
