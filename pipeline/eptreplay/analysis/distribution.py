"""How values are distributed, in the five numbers that every table shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERCENTILES = (0, 25, 50, 75, 100)


def percentiles(values: NDArray[Any], unit: str) -> dict[str, Any]:
    """Return the values at PERCENTILES, as p0_UNIT and so on.

    Each is a value that occurs: the smallest that so many percent do not exceed.
    """
    found = np.percentile(values, PERCENTILES, method="inverted_cdf")
    return {f"p{share}_{unit}": value.item() for share, value in zip(PERCENTILES, found, strict=True)}


def window_lengths(intervals: int) -> list[int]:
    """Return 1, 2, 4 ... intervals, and all of them."""
    return [*(1 << power for power in range((intervals - 1).bit_length())), intervals]
