"""Axes: round ticks, and where on the axis a value is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.report.read.scales import LOG_FROM, Scale, from_zero, nice_step, nice_values


@pytest.mark.parametrize(("rough", "step"), [(0.03, 0.05), (1, 1), (1.1, 2), (3, 5), (6, 10), (70, 100)])
def test_steps_are_1_2_or_5_times_a_power_of_ten(rough: float, step: float) -> None:
    assert nice_step(rough) == pytest.approx(step)


@given(st.floats(0, 1e9), st.floats(1e-6, 1e9), st.integers(2, 8))
def test_ticks_are_few_and_within_the_axis(low: float, span: float, wanted: int) -> None:
    values = nice_values(low, low + span, wanted)
    assert len(values) <= 2 * wanted + 1
    assert all(low - 1e-6 * (low + span) <= value <= (low + span) * (1 + 1e-6) for value in values)


def test_an_axis_of_no_length_has_one_tick() -> None:
    assert nice_values(3, 3, 5) == [3]


def test_a_linear_axis_places_by_proportion() -> None:
    assert Scale(0, 200).place(np.array([0.0, 50, 200])).tolist() == [0, 0.25, 1]


def test_a_logarithmic_axis_has_zero_at_its_foot_and_decades_as_ticks() -> None:
    scale = Scale(0, 9999, log=True)
    assert scale.place(np.array([0.0, 99, 9999])).tolist() == pytest.approx([0, 0.5, 1])
    assert [tick.text for tick in scale.ticks()] == ["0", "1", "10", "100", "1k"]


def test_a_scale_from_zero_leaves_room_above_and_is_never_empty() -> None:
    assert from_zero(100).high > 100
    assert from_zero(0) == Scale(0, 1)
    assert from_zero(float("nan")) == Scale(0, 1)


def test_a_scale_is_logarithmic_only_where_values_have_the_range_for_it() -> None:
    assert not from_zero(LOG_FROM - 1, log=True).log
    assert from_zero(LOG_FROM, log=True).log


def test_an_axis_of_counts_has_whole_ticks() -> None:
    assert [tick.text for tick in from_zero(1, whole=True).ticks()] == ["0", "1"]
    assert [tick.text for tick in from_zero(1).ticks()] == ["0", "0.5", "1"]
