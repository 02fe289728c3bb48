"""Which rows have to go so that time never goes back in the rest: the fewest.

A stamp that is far ahead costs its own row and not all that follow; one that is behind likewise. Among equally few,
the later rows go. The choice is made within a window of rows, so that memory does not grow with the trace.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from eptreplay.ingest.native.rows import Mask, Values

BLOCK_ROWS = 96 << 10
"""Rows that are decided at a time, with at least as many after them in view."""

T = TypeVar("T")


def in_order(parts: Iterable[tuple[T, Values]], block_rows: int = BLOCK_ROWS) -> Iterator[tuple[T, Mask]]:
    """Tell the rows of a trace to keep from the fewest that have to go so that time never goes back.

    Args:
        parts: consecutive parts of a trace, each with the times of its rows, shape (n,), n >= 0.
        block_rows: rows that are decided at a time; so many, or all there are, are seen ahead.

    Yields:
        Each part with a mask of shape (n,): which rows to keep.
    """
    last_time = 0
    block: _Block[T] | None = None
    for ahead in chain(_blocks(parts, block_rows), [None]):
        if block is not None:
            keep = block.kept(ahead, last_time)
            kept = block.time[keep]
            last_time = int(kept[-1]) if len(kept) else last_time
            yield from block.split(keep)
        block = ahead


def fewest_left_out(time: Values, last_time: int) -> Mask:
    """Return which rows to keep so that the fewest go.

    Args:
        time: shape (n,).
        last_time: time of the row before; earlier rows go in any case.
    """
    keep: Mask = time >= np.uint64(last_time)
    at = np.flatnonzero(keep)
    rest = time[at]
    # A row that is neither before a smaller nor after a greater one is in order whatever becomes of the others.
    latest = np.maximum.accumulate(rest)
    earliest = np.minimum.accumulate(rest[::-1])[::-1]
    loose = np.flatnonzero((rest < latest) | (rest > earliest))
    keep[at[loose]] = False
    keep[at[loose[_longest(rest[loose].tolist())]]] = True
    return keep


@dataclass(frozen=True, slots=True)
class _Block(Generic[T]):
    """Several parts, decided together.

    Args:
        parts: as they came.
        rows: of each part.
        time: shape (n,), n > 0, times of all their rows.
        ascending: whether time never goes back in them.
    """

    parts: Sequence[T]
    rows: Sequence[int]
    time: Values
    ascending: bool

    def kept(self, ahead: _Block[T] | None, last_time: int) -> Mask:
        """Return which rows to keep, in view of those ahead."""
        if self.follows(last_time) and (ahead is None or ahead.follows(int(self.time[-1]))):
            return np.ones(len(self.time), np.bool_)
        seen = self.time if ahead is None else np.concatenate([self.time, ahead.time])
        return fewest_left_out(seen, last_time)[: len(self.time)]

    def follows(self, last_time: int) -> bool:
        """Return whether time goes back neither at the first row nor later."""
        return self.ascending and int(self.time[0]) >= last_time

    def split(self, keep: Mask) -> Iterator[tuple[T, Mask]]:
        """Yield every part with its own rows of a mask."""
        begin = 0
        for part, rows in zip(self.parts, self.rows, strict=True):
            yield part, keep[begin : begin + rows]
            begin += rows


def _blocks(parts: Iterable[tuple[T, Values]], block_rows: int) -> Iterator[_Block[T]]:
    """Yield blocks of at least so many rows, but for the last."""
    gathered: list[tuple[T, Values]] = []
    rows = 0
    for part, time in parts:
        gathered.append((part, time))
        rows += len(time)
        if rows >= block_rows:
            yield _block(gathered)
            gathered, rows = [], 0
    if rows:
        yield _block(gathered)


def _block(gathered: Sequence[tuple[T, Values]]) -> _Block[T]:
    times = [time for _, time in gathered]
    time = times[0] if len(times) == 1 else np.concatenate(times)
    return _Block(
        [part for part, _ in gathered],
        [len(each) for each in times],
        time,
        bool((time[1:] >= time[:-1]).all()),
    )


def _longest(values: list[int]) -> list[int]:
    """Return the positions of the longest part of a list that never descends; of several the one that begins first."""
    ends: list[int] = []  # for each length, the (negated) value that the best part of this length begins with
    begins: list[int] = []  # and where that stands
    then = [-1] * len(values)
    for position in range(len(values) - 1, -1, -1):
        value = -values[position]
        length = bisect_right(ends, value)
        if length == len(ends):
            ends.append(value)
            begins.append(position)
        else:
            ends[length], begins[length] = value, position
        then[position] = begins[length - 1] if length else -1
    found = []
    position = begins[-1] if begins else -1
    while position >= 0:
        found.append(position)
        position = then[position]
    return found
