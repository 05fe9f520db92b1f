"""What PyTorch tells of a model, and what follows: bounds of small outputs, ties, chance, and the call to blame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco.parity import compare
from pytest_nobuco.gate import Bound
from pytest_nobuco.models.backend import Form, NobucoBackend, default_bound
from pytest_nobuco.models.culprit import imprecise_calls
from pytest_nobuco.models.judging import judged, names_of

BACKEND = NobucoBackend()
DEFAULT = Bound(None, None, "default of the dtype")
ANY_ORDER = nobuco.ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS

pytestmark = pytest.mark.usefixtures("restored_registry")


@nobuco.traceable
def step(x):
    """What a test converts wrongly."""
    return x * 1.0


def wrongly(change):
    nobuco.converter(step, channel_ordering_strategy=ANY_ORDER, override=True)(lambda x: change)


class Around(nn.Module):
    """A function behind a layer."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.function = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3), function

    def forward(self, x):
        return self.function(self.second(self.first(x).relu()))


IMAGE = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))


def subject_of(function, *args, kwargs=None):
    model = Around(function) if not args else function
    return BACKEND.subject(model, list(args or [IMAGE]), kwargs or {}, 0)


def tried(function, *args, bound=DEFAULT, runtime="keras"):
    """A model's outputs, judged."""
    subject = subject_of(function, *args)
    converted = BACKEND.convert(subject, Form("nhwc", "nhwc"), {})
    got = BACKEND.run(converted, subject, runtime)
    return list(judged(BACKEND, subject, got, lambda *_: bound, lambda: BACKEND.imprecise(converted)))


def blamed(function, *args, bound=DEFAULT, runtime="keras"):
    """Who is said to be the culprit."""
    subject = subject_of(function, *args)
    converted = BACKEND.convert(subject, Form("nhwc", "nhwc"), {})
    return BACKEND.culprit(converted, subject, bound, runtime)


class TestSmallOutputs:
    @pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9, 1e-30])
    @pytest.mark.parametrize("runtime", ["keras", "tflite"])
    def test_of_any_size_may_not_be_a_percent_off(self, size, runtime):
        wrongly(lambda x: x * 1.01)
        (wrong,) = tried(lambda y: step(y) * size, runtime=runtime)
        (right,) = tried(lambda y: y * 1.01 * size, runtime=runtime)
        assert not wrong.fits
        assert right.fits
        assert right.difference.peak < size * 10

    @pytest.mark.parametrize(
        "function",
        [
            lambda y: y.softmax(1).sum(1) - 1,
            lambda y: y.sin() ** 2 + y.cos() ** 2 - 1,
            lambda y: y.exp().log() - y,
            lambda y: (y - y.mean()).mean(),
            lambda y: y.tanh() - (2 * (2 * y).sigmoid() - 1),
            lambda y: y.var((2, 3), unbiased=False) - (y * y).mean((2, 3)) + y.mean((2, 3)) ** 2,
            lambda y: F.normalize(y, dim=1).norm(dim=1) - 1,
            lambda y: (y * y).sqrt() - y.abs(),
        ],
    )
    @pytest.mark.parametrize("runtime", ["keras", "tflite"])
    def test_that_are_what_is_left_of_larger_numbers_are_rounding(self, function, runtime):
        (output,) = tried(function, runtime=runtime)
        assert output.fits
        assert output.difference.max_abs < 1e-6

    def test_below_the_least_normal_number_are_zero(self):
        (output,) = tried(lambda y: y * 1e-40)
        assert output.fits

    def test_a_default_is_never_looser_than_it_was(self):
        expected = np.float32([3e-7])
        for noise in (None, 1.0):
            assert default_bound("float32", noise).smallest == 1e-2
            assert not compare(expected + np.float32(2e-6), expected, default_bound("float32", noise)).matches
        assert default_bound("float16", 0.0).smallest == 1e-2

    def test_noise_is_that_of_rounding(self):
        exact, rounded, cancelled = subject_of(lambda y: (y * 0 + 3, y, (y + 64) - 64)).witness.noise
        assert exact == 0
        assert 1e-8 < rounded < 2e-6
        assert 2**-18 / 4 < cancelled < 2**-14  # numbers near 64 are 2**-17 apart


@dataclass
class Detections:
    boxes: torch.Tensor
    scores: torch.Tensor


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


class TestNames:
    @pytest.mark.parametrize(
        ("outputs", "names"),
        [
            (lambda y: y, ("0",)),
            (lambda y: [y, y.max(1)], ("0", "1.0", "1.1")),
            (lambda y: {"boxes": y, "more": [y.mean(), {"z": y}]}, ("boxes", "more.0", "more.1.z")),
            (lambda y: Detections(y, y.mean()), ("boxes", "scores")),
            (lambda y: Pair(y, y.mean()), ("left", "right")),
        ],
    )
    def test_are_keys_fields_and_numbers(self, outputs, names):
        found = subject_of(outputs)
        assert names_of(found) == names
        assert len(found.expected) == len(names)


SCORES = torch.tensor([[1.0, 3.0, 3.0, 2.0], [0.5, 0.5, 0.5, 0.5]])


def converted_as(change, function):
    """The output of a model whose last step is wrong."""
    wrongly(change)
    return tried(function, SCORES)


class TestTies:
    """`step` moves what is compared by a little, as rounding does, so that of equal elements another is found."""

    nudge = tf.constant([[0.0, 0.0, 1e-6, 0.0]])

    def test_of_equal_elements_any_index_is_right(self):
        for function in (
            lambda x: step(x).argmax(-1),
            lambda x: step(x).max(-1),
            lambda x: step(x).topk(2),
            lambda x: step(x).sort(descending=True),
            lambda x: step(x).argsort(-1, descending=True),
            lambda x: torch.argmax(step(x), dim=-1, keepdim=True),
            lambda x: step(x)[0].argmax(),
        ):
            outputs = converted_as(lambda x: x + self.nudge[:, : x.shape[-1]], function)
            assert all(output.fits for output in outputs)
            assert "Indices differ" in outputs[-1].difference.describe()

    def test_an_index_to_another_value_is_wrong(self):
        for function in (lambda x: step(x).argmax(-1), lambda x: step(x).argsort(-1), lambda x: step(x).topk(2)[1]):
            (output,) = converted_as(lambda x: -x, function)
            assert not output.fits

    def test_the_same_index_twice_is_wrong(self):
        pointed = subject_of(lambda x: x.sort(-1)[1], SCORES).witness.pointed[0]
        assert pointed.at(np.array([[0, 3, 2, 1], [3, 2, 1, 0]])) is not None
        assert pointed.at(np.array([[0, 3, 1, 1], [3, 2, 1, 0]])) is None
        assert pointed.at(np.array([[0, 3, 2, 4], [3, 2, 1, 0]])) is None

    def test_indices_that_are_computed_with_are_integers(self):
        (output,) = converted_as(lambda x: x + self.nudge, lambda x: step(x).argmax(-1) + 1)
        assert not output.fits

    def test_a_call_whose_ties_are_open_is_not_imprecise(self):
        subject = subject_of(lambda x: (x.sort(-1)[1], x.topk(3)[1], x.argsort(-1)), SCORES.repeat(1, 16))
        converted = BACKEND.convert(subject, Form("", ""), {})
        assert imprecise_calls(converted.report) == {}

    def test_a_value_that_is_an_integer_is_no_index(self):
        """0 and 1, taken for indices of [1, 1, 5], would point to equal elements."""

        def zero(x, dim, keepdim=False):
            return lambda x, dim, keepdim=False: (tf.constant([0], tf.int64), tf.constant([0], tf.int64))

        nobuco.converter(torch.median, channel_ordering_strategy=ANY_ORDER, override=True)(zero)
        subject = subject_of(lambda x: torch.median(x * 1, 1), torch.tensor([[1, 1, 5]]))
        report = BACKEND.convert(subject, Form("", ""), {}).report
        assert not report.ok and "median" in next(iter(imprecise_calls(report)))

    def test_an_argmax_that_takes_the_last_is_wrong(self):
        def last(x, dim=None, keepdim=False):
            return lambda x, dim=None, keepdim=False: tf.constant([2, 3], tf.int64)

        nobuco.converter(torch.Tensor.argmax, channel_ordering_strategy=ANY_ORDER, override=True)(last)
        (output,) = tried(lambda x: (x * 1.0).argmax(-1), SCORES)
        assert not output.fits


class TestChance:
    def test_two_runs_that_differ_say_so(self):
        found = subject_of(lambda y: (y, F.dropout(y, 0.5, True))).witness.randomness
        assert found.startswith("output 1 by ")
        assert subject_of(lambda y: y).witness.randomness is None
        assert subject_of(lambda x: (x.bfloat16() / x, x / x), torch.arange(3.0)).witness.randomness is None

    def test_what_a_model_remembers_is_no_chance(self):
        model = nn.BatchNorm2d(3).train()
        subject = BACKEND.subject(model, [IMAGE], {}, 0)
        assert subject.witness.randomness is None
        assert model.num_batches_tracked == 0

    def test_outputs_that_are_empty_or_constant_say_so(self):
        assert "is empty" in subject_of(lambda x: x[:0], torch.ones(3)).witness.emptiness
        assert "same for other inputs" in subject_of(lambda y: (y * 0 + 1).relu()).witness.emptiness
        assert subject_of(lambda y: (y * 0, y)).witness.emptiness is None
        assert subject_of(lambda x: x.sum(), torch.ones(3)).witness.emptiness is None
        assert "same for other" in subject_of(lambda x: x.bool().bfloat16(), torch.arange(1.0, 4)).witness.emptiness
        ids = torch.zeros(2, 3, dtype=torch.int64)  # no other values can be made of these
        assert subject_of(nn.Embedding(1, 4), ids).witness.emptiness is None


class TestTheSession:
    """The same as a user meets it."""

    NETS = """
        import torch
        from torch import nn
        import torch.nn.functional as F

        class Random(nn.Module):
            def forward(self, x):
                return F.dropout(x, 0.5, True)

        class Empty(nn.Module):
            def forward(self, x):
                return x[:0]

        class Constant(nn.Module):
            def forward(self, x):
                return (x * 0 + 1).relu()
    """

    @pytest.mark.full
    def test_says_what_is_the_model_s_own(self, pytester):
        pytester.makepyfile(nets=self.NETS)
        models = [f"--nobuco-model=nets.{name}" for name in ("Random", "Empty", "Constant")]
        chosen = ["--nobuco-order=nhwc", "--nobuco-runtime=keras", "--nobuco-dynamic=none", "--nobuco-input=2,9"]
        result = pytester.runpytest_subprocess(*models, *chosen)
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(
            [
                "Random[[]*]: the model itself is random: two runs in PyTorch on the same inputs differ, output 0 by *",
                "✓ nets.Constant *",
                "  ! the outputs are the same for other inputs, so a wrong conversion may not show",
                "✓ nets.Empty *",
                "  ! every output is empty, so nothing was compared",
            ]
        )
        assert "culprit" not in result.stdout.str()

    @pytest.mark.full
    @pytest.mark.parametrize(("bound", "passed"), [((), 2), (("--nobuco-max-abs-diff=1e-5",), 0)])
    def test_float16_made_wider_is_held_to_what_float16_can_be(self, pytester, bound, passed):
        pytester.makepyfile(
            nets="""
            import torch
            from torch import nn

            class Narrow(nn.Module):
                def __init__(self):
                    super().__init__()
                    torch.manual_seed(0)
                    self.linear = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)).half()

                def forward(self, x):
                    return self.linear(x.half()).float()
            """
        )
        chosen = [
            "--nobuco-order=nhwc",
            "--nobuco-runtime=keras",
            "--nobuco-runtime=savedmodel",
            "--nobuco-dynamic=none",
        ]
        result = pytester.runpytest_subprocess("--nobuco-model=nets.Narrow", *chosen, "--nobuco-input=4,64", *bound)
        result.assert_outcomes(passed=passed, failed=2 - passed)

    def test_names_the_operation_that_a_converter_of_a_module_is_of(self, pytester):
        pytester.makepyfile(
            mypkg="""
            import torch
            from torch import nn
            import nobuco
            from nobuco.registry import Sample

            class Half(nn.Module):
                def forward(self, x):
                    return x / 2

            def samples():
                return [Sample((Half(), torch.ones(2, 3)))]

            strategy = nobuco.ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS

            @nobuco.converter(Half, channel_ordering_strategy=strategy, samples=samples)
            def half(self, x):
                return lambda x: x / 3
            """
        )
        options = ["--nobuco-converters=mypkg.*", "--nobuco-converters-from=mypkg", "-k", "nhwc-static-keras"]
        result = pytester.runpytest_subprocess(*options)
        result.stdout.fnmatch_lines(["  culprit: mypkg.Half, off by 1.7e-01 (3.3e-01 of the peak 0.5) on PyTorch's *"])
        assert "calls.0" not in result.stdout.str()


class TestTheCulprit:
    def test_is_the_first_that_is_off_by_itself_not_the_furthest_off(self):
        wrongly(lambda x: x * 1.01)
        found = blamed(lambda y: step(y).exp().exp())
        assert "test_judging.step, off by " in found
        assert "test_judging.py" in found

    def test_of_a_small_output_is_found_at_its_scale(self):
        # Off by 1e-8 in numbers of 1e-6: within what a call's own check lets pass.
        wrongly(lambda x: x * 1.01)
        assert "test_judging.step, off by " in blamed(lambda y: step(y * 1e-6) * 1e-3)

    def test_is_not_one_that_is_off_by_rounding(self):
        wrongly(lambda x: x * 1.01)
        found = blamed(lambda y: step(y + ((y + 100) - 100 - y) * 1e-9))
        assert "test_judging.step, off by " in found

    def test_is_in_the_unit_of_the_bound(self):
        wrongly(lambda x: x + 2e-4)
        bound = Bound(0.01, None, "test")
        nobuco.converter(torch.sinh, channel_ordering_strategy=ANY_ORDER, override=True)(lambda x: lambda x: x * 0.5)
        assert "torch.sinh, off by " in blamed(lambda y: torch.sinh(step(y)), bound=bound)
        assert "test_judging.step, off by " in blamed(lambda y: torch.sinh(step(y)))

    def test_is_none_where_rounding_adds_up(self):
        found = blamed(lambda y: y.exp(), bound=Bound(1e-9, None, "test"))
        assert found.startswith("no call by itself: rounding adds up; of it most in ")

    def test_is_what_runs_the_model_where_keras_is_right(self):
        assert blamed(lambda y: y, runtime="tflite").startswith("no call: the Keras model is within the bound")
        assert "tflite" not in blamed(lambda y: y, runtime="keras")

    def test_in_tflite_alone_is_the_first_call_that_is_off_there(self):
        wrongly(lambda x: x if tf.executing_eagerly() else 2 * x)
        found = blamed(lambda y: step(y.exp()) * 3, runtime="tflite")
        assert "test_judging.step, in TFLite alone: " in found

    def test_at_other_sizes_is_the_call_that_leaves_its_bound_there(self):
        width = IMAGE.shape[-1]
        wrongly(lambda x: tf.where(tf.shape(x)[-2] == width - 4, x, 2 * x))
        model = Around(lambda y: step(y).exp())
        subject = BACKEND.subject(model, [IMAGE], {}, 0)
        converted = BACKEND.convert(subject, Form("nhwc", "nhwc", ((2, 3),)), {})
        elsewhere = BACKEND.resized(subject, [(2, 3, 11, 12)])
        assert "test_judging.step, at these sizes" in BACKEND.culprit(converted, elsewhere, DEFAULT, "keras")
        assert "test_judging.step, at these sizes" in BACKEND.culprit(converted, elsewhere, DEFAULT, "tflite")

    def test_at_other_sizes_it_is_the_runtime_where_keras_is_right_there(self):
        subject = BACKEND.subject(Around(lambda y: y.exp()), [IMAGE], {}, 0)
        converted = BACKEND.convert(subject, Form("nhwc", "nhwc", ((2, 3),)), {})
        elsewhere = BACKEND.resized(subject, [(2, 3, 11, 12)])
        assert BACKEND.culprit(converted, elsewhere, DEFAULT, "tflite").startswith("no call: the Keras model is within")

    def test_imprecise_calls_are_listed(self):
        wrongly(lambda x: x * 1.01)
        subject = subject_of(lambda y: step(y))
        converted = BACKEND.convert(subject, Form("nhwc", "nhwc"), {})
        (told,) = imprecise_calls(converted.report).values()
        assert "test_judging.step, off by " in told
