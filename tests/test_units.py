"""Quantities as people write them."""

from __future__ import annotations

import pytest

from eptreplay.errors import UsageError
from eptreplay.units import Every, binary_size, parse_every


@pytest.mark.parametrize(
    ("text", "every"),
    [
        ("1000000", Every(1_000_000, timed=False)),
        ("1_000", Every(1000, timed=False)),
        ("1,000", Every(1000, timed=False)),
        ("1.5M", Every(1_500_000, timed=False)),
        ("2k", Every(2000, timed=False)),
        ("10ms", Every(10_000_000, timed=True)),
        ("1.5 s", Every(1_500_000_000, timed=True)),
        ("500us", Every(500_000, timed=True)),
        ("2min", Every(120_000_000_000, timed=True)),
    ],
)
def test_distances_are_read(text: str, every: Every) -> None:
    assert parse_every(text) == every


@pytest.mark.parametrize("text", ["", "0", "-1", "ms", "10 parsecs", "1e6", "0.1ns", "nan"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no distance along a trace"):
        parse_every(text)


@pytest.mark.parametrize("text", ["1 rows", "10 ms", "1500 us", "7 ns", "2 min"])
def test_a_distance_reads_back_as_it_is_written(text: str) -> None:
    every = parse_every(text)
    assert parse_every(str(every)) == every


def test_time_turns_into_the_units_of_a_trace() -> None:
    assert parse_every("10ms").in_units_of("us") == 10_000


@pytest.mark.parametrize("unit", ["cycles", "s"])
def test_time_that_does_not_fit_the_units_of_a_trace_is_refused(unit: str) -> None:
    with pytest.raises(UsageError):
        parse_every("10ms").in_units_of(unit)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (4 << 20, "4 MiB"), (3 << 29, "1.5 GiB"), (1 << 42, "4 TiB")],
)
def test_sizes_are_written_in_binary_units(count: int, text: str) -> None:
    assert binary_size(count) == text
