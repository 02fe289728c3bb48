"""How values are distributed, in the five numbers that every table shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERCENTILES = (0, 25, 50, 75, 100)


def percentiles(values: NDArray[Any]) -> list[Any]:
    """Return the values at PERCENTILES, each one that occurs: the smallest that so many percent do not exceed."""
    return [value.item() for value in np.percentile(values, PERCENTILES, method="inverted_cdf")]


def window_lengths(intervals: int) -> list[int]:
    """Return 1, 2, 4 ... intervals, and all of them."""
    return [*(1 << power for power in range((intervals - 1).bit_length())), intervals]
