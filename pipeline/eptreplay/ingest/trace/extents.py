"""Where the pages of a column stand in a file."""

from __future__ import annotations

from typing import NamedTuple


class Extent(NamedTuple):
    """Where the pages of a chunk are: first byte, bytes as stored, bytes once unpacked."""

    start: int
    packed: int
    plain: int


class IndexPlaces(NamedTuple):
    """Where the page index of a chunk is, in bytes of the file: where pages begin, and what values they hold."""

    offsets_start: int
    offsets_bytes: int
    values_start: int
    values_bytes: int
