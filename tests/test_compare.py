"""`nobuco.parity.compare`: every figure here is worked out by hand in the test that claims it."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from nobuco.parity import Difference, Tolerance, compare, default_tolerance, worst

STRICT = Tolerance(1e-3, None, "this test")
EXACTLY = Tolerance(0.0, None, "this test")


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


class TestFigures:
    def test_of_values_that_are_worked_out_by_hand(self) -> None:
        expected = np.array([[1.0, -4.0], [0.5, 2.0]])
        got = np.array([[1.0, -4.5], [0.75, 2.0]])
        found = compare(got, expected, STRICT)
        assert found.max_abs == 0.5  # |-4.5 + 4|
        assert found.peak == 4.0
        assert found.relative_to_peak == 0.125  # 0.5 / 4
        assert found.max_rel == 0.5  # 0.25 / 0.5, at another element than the worst absolute one
        assert (found.worst_index, found.got, found.expected) == ((0, 1), -4.5, -4.0)
        assert found.outside == 2
        assert not found.matches

    def test_of_equal_tensors_are_zero(self) -> None:
        found = compare(f32(1, 2), f32(1, 2), EXACTLY)
        assert found.matches
        assert found.problems == ()
        assert (found.max_abs, found.relative_to_peak, found.max_rel, found.outside) == (0, 0, 0, 0)
        assert found.describe() == "Matches exactly."

    def test_are_infinite_ratios_where_zeros_were_expected(self) -> None:
        found = compare(f32(0, 0.5), f32(0, 0), STRICT)
        assert found.relative_to_peak == math.inf
        assert found.max_rel == math.inf
        assert found.severity == 0.5

    def test_leave_out_what_is_not_finite(self) -> None:
        found = compare(f32(np.nan, np.inf, 1.5), f32(np.nan, np.inf, 2.0), STRICT)
        assert (found.max_abs, found.peak, found.relative_to_peak) == (0.5, 2.0, 0.25)
        assert found.worst_index == (2,)

    def test_do_not_round_in_the_dtype_compared(self) -> None:
        # 2049 is no float16, so a difference taken in float16 would come out as 2048.
        found = compare(np.float16([-1.0]), np.float16([2048.0]), STRICT)
        assert found.max_abs == 2049.0

    def test_survive_a_difference_that_overflows(self) -> None:
        found = compare(np.array([1.7e308]), np.array([-1.7e308]), STRICT)
        assert found.max_abs == math.inf
        assert not found.matches

    @pytest.mark.parametrize("shape", [(0,), (2, 0, 3)])
    def test_of_empty_tensors(self, shape: tuple[int, ...]) -> None:
        found = compare(np.zeros(shape), np.zeros(shape), EXACTLY)
        assert found.matches
        assert found.worst_index is None
        assert found.max_abs == 0

    def test_of_a_scalar(self) -> None:
        found = compare(np.float32(3.0), np.float32(2.0), STRICT)
        assert found.worst_index == ()
        assert (found.got, found.expected) == (3.0, 2.0)
        assert "worst: expected 2, got 3" in found.describe()

    def test_of_complex_numbers_are_moduli(self) -> None:
        found = compare(np.complex64([3 + 4j]), np.complex64([0j]), STRICT)
        assert found.max_abs == 5.0
        assert found.got == 3 + 4j
        assert "got 3+4j" in found.describe()

    def test_of_bfloat16(self) -> None:
        brain = ml_dtypes.bfloat16
        found = compare(np.array([1.0, 2.0], brain), np.array([1.0, 2.5], brain), STRICT)
        assert found.got_dtype == "bfloat16"
        assert found.max_abs == 0.5
        assert found.got == 2.0


class TestLargeTensors:
    """Large tensors are measured piece by piece, which nothing may show."""

    shape = (3, 300, 200)

    def test_figures_come_from_all_pieces(self) -> None:
        expected = np.ones(self.shape, np.float32)
        got = expected.copy()
        expected[0, 0, 0] = got[0, 0, 0] = 8.0
        got[0, 5, 7] += 0.25
        got[2, 299, 199] += 0.5
        found = compare(got, expected, STRICT)
        assert (found.max_abs, found.peak, found.relative_to_peak, found.max_rel) == (0.5, 8.0, 0.0625, 0.5)
        assert (found.outside, found.worst_index, found.got) == (2, (2, 299, 199), 1.5)

    def test_the_first_of_equals_is_the_worst(self) -> None:
        expected = np.zeros(self.shape)
        got = expected.copy()
        got[1, 2, 3] = got[2, 0, 0] = 1.0
        assert compare(got, expected, STRICT).worst_index == (1, 2, 3)

    def test_special_values_are_counted_over_all_pieces(self) -> None:
        expected = np.zeros(self.shape)
        expected[0, 0, 0] = expected[2, 1, 1] = np.nan
        expected[1] = np.inf
        got = expected.copy()
        got[2, 1, 1] = 7.0
        found = compare(got, expected, STRICT)
        assert (found.nan.got, found.nan.expected, found.nan.differing, found.nan.first) == (
            1,
            2,
            1,
            (2, 1, 1),
        )
        assert (found.nan.got_there, np.isnan(found.nan.expected_there)) == (7.0, True)
        assert (found.inf.got, found.inf.differing) == (300 * 200, 0)

    def test_a_view_that_is_not_contiguous(self) -> None:
        expected = np.arange(60_000.0).reshape(300, 200).T
        got = expected.copy()
        got[150, 250] += 1
        assert compare(got, expected, STRICT).worst_index == (150, 250)

    def test_any_tensor_is_measured_as_numpy_would(self) -> None:
        random = np.random.default_rng(0)
        expected = random.normal(size=self.shape)
        got = expected + random.normal(size=self.shape) * 1e-3
        apart = np.abs(got - expected)
        found = compare(got, expected, STRICT)
        assert found.max_abs == apart.max()
        assert found.outside == (apart > 1e-3).sum()
        assert found.max_rel == (apart / np.abs(expected)).max()
        assert found.worst_index == np.unravel_index(apart.argmax(), self.shape)


class TestShapeAndDtype:
    def test_another_shape_cannot_be_compared(self) -> None:
        found = compare(np.zeros((1, 3)), np.zeros((3, 1)), Tolerance(math.inf, None, "anything goes"))
        assert not found.matches
        assert found.max_abs == math.inf
        assert found.severity == math.inf
        assert found.describe() == "Shape is (1, 3), expected (3, 1)."

    def test_a_shape_never_broadcasts(self) -> None:
        assert not compare(np.zeros((1,)), np.zeros((4,)), STRICT).matches

    def test_the_channel_order_is_suspected_when_the_sizes_are_the_same(self) -> None:
        found = compare(np.zeros((1, 8, 8, 3)), np.zeros((1, 3, 8, 8)), STRICT)
        assert "is the channel order right?" in found.describe()

    def test_another_dtype_is_a_mismatch_with_its_values_measured(self) -> None:
        found = compare(np.float16([1.0]), np.float32([1.5]), Tolerance(1.0, None, "this test"))
        assert not found.matches
        assert found.max_abs == 0.5
        assert found.outside == 0
        assert found.describe() == "Dtype is float16, expected float32."

    def test_what_holds_no_numbers_is_refused(self) -> None:
        with pytest.raises(TypeError, match="only numbers"):
            compare(np.array(["a"]), np.array(["a"]), STRICT)


class TestSpecialValues:
    def test_nan_in_equal_places_matches(self) -> None:
        found = compare(f32(np.nan, 1), f32(np.nan, 1), EXACTLY)
        assert found.matches
        assert (found.nan.got, found.nan.expected, found.nan.differing) == (1, 1, 0)

    def test_all_nan_matches(self) -> None:
        found = compare(f32(np.nan), f32(np.nan), EXACTLY)
        assert found.matches
        assert found.worst_index is None

    def test_nan_elsewhere_is_counted_and_located(self) -> None:
        found = compare(f32(1, np.nan, np.nan, 4), f32(1, 2, np.nan, np.nan), STRICT)
        assert (found.nan.got, found.nan.expected, found.nan.differing) == (2, 2, 2)
        assert found.nan.first == (1,)
        assert found.severity == math.inf
        assert found.describe() == (
            "NaN in 2 elements where 2 expected, 2 in the wrong place, first at (1,): expected 2, got nan."
        )

    def test_an_infinity_of_the_other_sign_does_not_match(self) -> None:
        found = compare(f32(np.inf, np.inf), f32(np.inf, -np.inf), STRICT)
        assert (found.inf.differing, found.inf.first) == (1, (1,))
        assert "Infinity in 2 elements" in found.describe()
        assert "expected -inf, got inf" in found.describe()

    def test_a_large_number_in_place_of_infinity_does_not_match(self) -> None:
        assert not compare(f32(3e38), f32(np.inf), Tolerance(math.inf, None, "anything goes")).matches

    def test_nan_in_place_of_infinity_is_told_once(self) -> None:
        found = compare(f32(np.nan), f32(np.inf), STRICT)
        assert len(found.problems) == 1
        assert found.problems[0].startswith("NaN")

    def test_each_kind_of_mismatch_has_its_sentence(self) -> None:
        found = compare(np.float64([np.nan, 1, 5]), f32(0, np.inf, 1), STRICT)
        assert [p.split()[0] for p in found.problems] == ["Dtype", "NaN", "Infinity", "Values"]
        assert found.describe() == " ".join(found.problems)


class TestExact:
    @pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
    def test_integers_match_only_when_equal(self, dtype: str) -> None:
        ones, twos = np.ones(3, dtype), np.array([1, 1, 2], dtype)
        loose = Tolerance(10.0, None, "this test")
        assert compare(ones, ones, loose).matches
        found = compare(ones, twos, loose)
        assert not found.matches
        assert found.max_abs == 1
        assert found.worst_index == (2,)
        assert found.describe() == (
            "Values differ in 1 of 3 elements, worst at (2,): expected 2, got 1; integers must be equal."
        )

    def test_integers_beyond_the_precision_of_doubles(self) -> None:
        found = compare(np.array([2**53 + 1]), np.array([2**53]), EXACTLY)
        assert found.max_abs == 1
        assert not found.matches

    def test_integers_over_their_whole_range(self) -> None:
        low, high = -(2**63), 2**63 - 1
        assert compare(np.array([high]), np.array([low]), EXACTLY).max_abs == float(2**64 - 1)

    def test_booleans(self) -> None:
        found = compare(np.array([True, False]), np.array([True, True]), Tolerance(1.0, None, "this test"))
        assert not found.matches
        assert (found.got, found.expected) == (False, True)
        assert found.describe().endswith("expected True, got False; booleans must be equal.")

    def test_a_small_integer_type_of_an_extension(self) -> None:
        four = ml_dtypes.int4
        found = compare(np.array([-8], four), np.array([7], four), EXACTLY)
        assert found.max_abs == 15
        assert not found.matches


class TestTolerance:
    def test_a_bound_is_the_sum_of_both(self) -> None:
        expected = f32(100.0, 1.0)
        bound = Tolerance(0.25, 0.01, "t")  # 0.25 + 0.01 · 100 for each element
        assert compare(expected + 1.25, expected, bound).matches
        assert not compare(expected + f32(0, 1.375), expected, bound).matches
        found = compare(expected - 1.5, expected, bound)
        assert found.bound == 1.25
        assert found.describe().endswith(
            "off by 1.5e+00 (1.5% of the peak 100); allowed 1.2e+00: max abs 2.5e-01 + max rel 1.0e-02 · peak 100 (t)."
        )

    def test_a_relative_bound_says_nothing_of_zeros(self) -> None:
        assert compare(f32(1e-6), f32(0), Tolerance(1e-3, 1e-3, "t")).matches
        assert not compare(f32(1e-2), f32(0), Tolerance(1e-3, 1e-3, "t")).matches

    def test_an_error_on_the_bound_is_allowed(self) -> None:
        assert compare(f32(1.25), f32(1.0), Tolerance(0.25, None, "t")).matches

    @pytest.mark.parametrize("bad", [-1.0, math.nan])
    def test_a_bound_that_is_none_is_refused(self, bad: float) -> None:
        with pytest.raises(ValueError, match=r"max_abs is .* \(the marker\)"):
            Tolerance(bad, None, "the marker")

    def test_the_sentence_names_bound_and_source(self) -> None:
        found = compare(f32(1.0, 2.0), f32(1.0, 4.0), Tolerance(0.5, None, "marker of test_net"))
        assert found.describe() == (
            "Values differ in 1 of 2 elements, worst at (1,): expected 4, got 2, off by 2.0e+00 "
            "(50.0% of the peak 4); allowed 5.0e-01: max abs 5.0e-01 (marker of test_net)."
        )

    def test_a_match_says_by_how_much(self) -> None:
        found = compare(f32(4.5), f32(4.0), Tolerance(1.0, 0.5, "t"))
        assert found.describe() == (
            "Matches: max abs difference 5.0e-01, 1.2e-01 of the peak 4; allowed max abs 1.0e+00 + max rel 5.0e-01 (t)."
        )


class TestWords:
    def test_digits_are_as_many_as_it_takes_to_see_a_difference(self) -> None:
        found = compare(np.float32([1.0000001]), f32(1.0), Tolerance(1e-8, None, "t"))
        assert "expected 1, got 1.00000012, off by 1.2e-07 (1.2e-07 of the peak 1)" in found.describe()

    def test_a_bound_below_what_the_dtype_can_tell_is_told(self) -> None:
        # From 4 to 8 the numbers of float32 are 2**-21 apart.
        found = compare(np.float32([5.0 + 2**-21]), f32(5.0), Tolerance(1e-7, None, "t"))
        assert found.resolution == 2**-21
        hint = "The bound is below float32's resolution here: numbers near 5 are 4.8e-07 apart."
        assert found.describe().endswith(hint)
        assert "resolution" not in compare(f32(5.5), f32(5.0), Tolerance(1e-6, None, "t")).describe()


class TestScaledTolerance:
    scaled = Tolerance(1e-4, None, "t", scaled=True)

    def test_grows_with_an_element_beyond_one(self) -> None:
        # Allowed at 1000 is 0.1, at 1 it is 1e-4.
        assert compare(np.array([1000.05, 1.0]), np.array([1000.0, 1.0]), self.scaled).matches
        found = compare(np.array([1000.05, 1.01]), np.array([1000.0, 1.0]), self.scaled)
        assert not found.matches
        assert found.outside == 1
        assert found.worst_index == (1,), "the worst element is the one furthest beyond its own bound"
        assert found.max_abs == pytest.approx(0.05)
        assert found.bound == pytest.approx(1e-4)

    def test_is_not_blinded_by_a_mask_of_huge_numbers(self) -> None:
        scores = np.array([-3.4e38, 0.5])
        assert not compare(np.array([-3.4e38, 0.6]), scores, self.scaled).matches

    def test_a_mask_over_half_of_the_scores_hides_little(self) -> None:
        scores = np.where(np.tri(64, dtype=bool), 0.5, -1e9)
        assert not compare(scores + 1e-3 * (scores > 0), scores, self.scaled).matches
        mostly_masked = np.where(np.eye(64, dtype=bool), 0.5, -1e9)
        assert not compare(mostly_masked + 2e-2 * (scores > 0), mostly_masked, self.scaled).matches

    def test_grows_for_small_elements_among_large_ones(self) -> None:
        # A sum of 4,608 terms, most results about 30: float32 leaves 1e-5 of that in all of them.
        large = np.random.default_rng(0).normal(0, 30, 10_000)
        assert compare(large + 5e-4, large, self.scaled).matches
        assert not compare(large + 5e-3, large, self.scaled).matches

    def test_shrinks_with_a_small_tensor(self) -> None:
        # A softmax over many classes: 1e-5 off is 1 % of its peak, though far below 1e-4.
        assert not compare(np.array([0.1, 0.1 - 2e-5]), np.array([0.1, 0.1]), self.scaled).matches
        assert compare(np.array([0.1, 0.1 - 0.5e-5]), np.array([0.1, 0.1]), self.scaled).matches

    def test_does_not_take_rounding_noise_for_an_error(self) -> None:
        assert compare(np.array([3e-7]), np.array([1e-7]), self.scaled).matches

    def test_how_small_a_tensor_it_shrinks_with_can_be_said(self) -> None:
        tight = Tolerance(1e-4, None, "t", scaled=True, smallest=1e-20)
        expected = np.array([1e-9, -2e-9])
        assert compare(expected * (1 + 0.5e-4), expected, tight).matches
        found = compare(expected * 1.01, expected, tight)
        assert found.outside == 2
        assert found.describe().endswith(
            "(1.0% of the peak 2e-09); allowed 2.0e-13: max abs 1.0e-04 · scale 2.0e-09 (t)."
        )
        assert not compare(np.array([1e-20]), np.array([0.0]), tight).matches
        assert compare(np.zeros(2), np.zeros(2), tight).matches

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
    def test_default_allows_a_few_units_in_the_last_place(self, dtype: str) -> None:
        expected = np.array([1.0, 123.0, 1e-3], dtype)
        got = (expected * (1 + 4 * np.finfo(dtype).eps)).astype(dtype)
        assert compare(got, expected, default_tolerance(dtype)).matches
        assert not compare(expected * np.array(1.1, dtype), expected, default_tolerance(dtype)).matches

    def test_default_of_integers_is_exact(self) -> None:
        assert default_tolerance("int64").max_abs == 0
        assert default_tolerance("bool").max_abs == 0

    def test_default_names_its_source(self) -> None:
        assert str(default_tolerance("bfloat16")) == "max abs 5.0e-02 scaled (default of bfloat16)"

    def test_default_of_an_unknown_dtype_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="'str128'"):
            default_tolerance("str128")


class TestWorst:
    def of(self, got: float, expected: float, bound: float = 1e-3) -> Difference:
        return compare(np.array([got]), np.array([expected]), Tolerance(bound, None, "t"))

    def test_is_the_largest_relative_error(self) -> None:
        small, large = self.of(100.5, 100.0), self.of(1.1, 1.0)
        assert worst([small, large]) is large

    def test_prefers_one_that_does_not_match(self) -> None:
        fine, bad = self.of(2.0, 1.0, bound=10), self.of(1.01, 1.0)
        assert worst([fine, bad]) is bad

    def test_puts_what_cannot_be_compared_first(self) -> None:
        shape = compare(np.zeros((2, 1)), np.zeros((1, 2)), STRICT)
        assert worst([self.of(9.0, 1.0), shape]) is shape

    def test_of_none_is_none(self) -> None:
        assert worst([]) is None


def test_a_difference_is_plain_frozen_data() -> None:
    found = compare(f32(1.0), f32(1.0), STRICT)
    assert found == compare(f32(1.0), f32(1.0), STRICT)
    assert hash(found) == hash(compare(f32(1.0), f32(1.0), STRICT))
    with pytest.raises(AttributeError):
        found.max_abs = 1.0  # type: ignore[misc]
