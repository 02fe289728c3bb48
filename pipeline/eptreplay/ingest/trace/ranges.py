"""The smallest and largest value of a column."""

from __future__ import annotations

from typing import NamedTuple

LAST_TIME = (1 << 63) - 1
"""The latest time that result tables have room for."""


class ColumnRange(NamedTuple):
    """Smallest and largest value of a column in a row group."""

    low: int
    high: int
