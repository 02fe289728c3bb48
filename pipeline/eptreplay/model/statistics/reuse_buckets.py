"""Buckets of reuse distances: one each below 16, then eight per octave."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int

FINE = 16  # distances below have a bucket each
FINE_SHIFT = 4  # log2 of it
PARTS_SHIFT = 3
PARTS = 1 << PARTS_SHIFT  # buckets per octave
OCTAVES_END = 48  # log2 of what no distance reaches
BUCKETS = FINE + PARTS * (OCTAVES_END - FINE_SHIFT)


@kernel
def bucket(distance: Int) -> Int:
    """Return the number of the bucket that a distance falls into."""
    if distance < FINE:
        return distance
    octave: Int = FINE_SHIFT
    while distance >> (octave + 1) != 0:
        octave += 1
    return FINE + (octave - FINE_SHIFT) * PARTS + ((distance >> (octave - PARTS_SHIFT)) & (PARTS - 1))


def bucket_starts() -> NDArray[np.int64]:
    """Return the smallest distance of every bucket, shape [BUCKETS]."""
    octaves = np.arange(FINE_SHIFT, OCTAVES_END)[:, None]
    parts = np.arange(PARTS, 2 * PARTS)[None, :]
    return np.concatenate([np.arange(FINE), (parts << (octaves - PARTS_SHIFT)).reshape(-1)])


@kernel
def _start(number: Int) -> Int:
    """Return the smallest distance of a bucket."""
    if number < FINE:
        return number
    octave, part = divmod(number - FINE, PARTS)
    return (PARTS + part) << (octave + FINE_SHIFT - PARTS_SHIFT)
