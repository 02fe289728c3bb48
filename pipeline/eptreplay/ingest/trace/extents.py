"""Where the pages of a column stand in a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

ReadAt = Callable[[int, int], bytes]
"""Reads so many bytes of an open file from an offset on; fewer where the file ends."""


class Extent(NamedTuple):
    """Where the pages of a chunk are: first byte, bytes as stored, bytes once unpacked."""

    start: int
    packed: int
    plain: int

    @property
    def span(self) -> tuple[int, int]:
        """The bytes of the file from and up to which it stands."""
        return self.start, self.start + self.packed


class IndexPlaces(NamedTuple):
    """Where the page index of a chunk is, in bytes of the file: where pages begin, and what values they hold."""

    offsets_start: int
    offsets_bytes: int
    values_start: int
    values_bytes: int

    @property
    def spans(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The bytes of the file from and up to which its two parts stand."""
        offsets = (self.offsets_start, self.offsets_start + self.offsets_bytes)
        return offsets, (self.values_start, self.values_start + self.values_bytes)
