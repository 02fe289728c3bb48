"""Numbers as people read them."""

from __future__ import annotations

import pytest

from eptreplay.report.read import numbers


def test_counts_are_grouped_and_words_agree() -> None:
    assert numbers.count(1_234_567) == "1,234,567"
    assert numbers.count(1, "exit") == "1 exit"
    assert numbers.count(2000, "exit") == "2,000 exits"
    assert numbers.count(2, "access", "accesses") == "2 accesses"
    assert numbers.count(0, "IPI") == "0 IPIs"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.5, "0.5"), (999, "999"), (1500, "1.5k"), (2e7, "20M"), (3e9, "3G"), (4e12, "4T")],
)
def test_axis_numbers_are_short(value: float, text: str) -> None:
    assert numbers.short(value) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (1, 4, "25 %"),
        (1, 1e6, "under 0.01 %"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (3, 2, "150 %"),
        (50, 1, "5,000 %"),
        (1, 0, "-"),
    ],
)
def test_shares_are_percent_with_three_digits(part: float, whole: float, text: str) -> None:
    assert numbers.percent(part, whole) == text


@pytest.mark.parametrize(
    ("base", "value", "text"),
    [(100, 150, "+50.0 %"), (100, 50, "-50.0 %"), (1, 12, "x12"), (0, 5, ""), (5, 5, "")],
)
def test_changes_are_percent_until_they_are_many_times(base: float, value: float, text: str) -> None:
    assert numbers.change(base, value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 s"), (3e-9, "3 ns"), (2.5e-5, "25 us"), (0.3, "300 ms"), (7.64, "7.64 s"), (12345, "12,345 s")],
)
def test_times_have_the_unit_they_are_read_in(value: float, text: str) -> None:
    assert numbers.seconds(value) == text


def test_pages_are_told_as_a_size() -> None:
    assert numbers.memory(256) == "1 MiB"
    assert numbers.memory(0) == "0 B"


def test_times_of_a_trace_become_seconds_unless_they_are_no_times() -> None:
    assert numbers.in_seconds(1_500_000, "ns") == 0.0015
    assert numbers.in_seconds(2, "min") == 120
    assert numbers.in_seconds(7, "cycles") is None


def test_what_is_no_number_has_no_place_in_json() -> None:
    assert numbers.finite(float("nan")) is None
    assert numbers.finite(float("inf")) is None
    assert numbers.finite(1.5) == 1.5
