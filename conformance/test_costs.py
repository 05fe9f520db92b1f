"""The forms whose costs are compared come to the same."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from conformance.cost_forms import SHAPE, Movement, movements


@pytest.mark.parametrize("movement", movements(), ids=lambda movement: movement.name)
def test_forms_of_a_movement_agree(movement: Movement) -> None:
    x = tf.constant(np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32))
    expected, *others = (form(x).numpy() for form in movement.forms.values())
    assert movement.ours in movement.forms
    for got in others:
        np.testing.assert_array_equal(got, expected)
