"""An object that is open for reading: few requests, each for a range of bytes, and bounded memory.

A trace is read in jumps: its footer, then the chunks of a few columns of one row group after the other. `expect` says which come
next, and they are fetched at once, some at a time, each once. Chunks too large for that are fetched piece by piece as they are read.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.ingest.trace.remote_path import RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Read = Callable[[int, int], bytes]

HEAD_BYTES = 4096
TAIL_BYTES = 64 << 10
"""Most footers are shorter."""

PIECE_BYTES = 8 << 20
"""The most bytes of one request."""

AT_ONCE_BYTES = 64 << 20
"""The most bytes of expected ranges that are fetched before they are read."""

GAP_BYTES = 32 << 10
"""Ranges that are no farther apart are fetched by one request, with what lies between them."""

REQUESTS_AT_A_TIME = 4


class Ends(NamedTuple):
    """The beginning and the end of an object, and its size in bytes."""

    size: int
    head: bytes
    tail: bytes


class _Part(NamedTuple):
    """Bytes of an object from an offset on."""

    begin: int
    data: bytes

    def has(self, begin: int, end: int) -> bool:
        return self.begin <= begin and end <= self.begin + len(self.data)


class OpenObject(RemoteFile):
    """An object that is open; not for several threads at once."""

    def __init__(self, read: Read, ends: Ends) -> None:
        """Open an object.

        Args:
            read: fetches bytes, from and up to.
            ends: what is known of it.
        """
        self._read = read
        self._size = ends.size
        self._at = 0
        self._ends = (_Part(0, ends.head), _Part(ends.size - len(ends.tail), ends.tail))
        self._fetched: list[_Part] = []
        self._expected: tuple[tuple[int, int], ...] = ()
        self._ahead: dict[int, _Part] = {}
        self._last_end = -1

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the number of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a byte, and return its number."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"byte {base + offset}")
        self._at = base + offset
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        data = self.read_at(self._size if size is None or size < 0 else size, self._at)
        self._at += len(data)
        return data

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # they have a length
        """Fill a buffer with the next bytes, and return how many there were."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read_at(self, length: int, offset: int) -> bytes:
        """Return bytes from an offset on; see `RemoteFile.read_at`."""
        begin, end = offset, min(offset + length, self._size)
        if begin >= end:
            return b""
        part = next((part for part in self._parts() if part.has(begin, end)), None)
        if part is None:
            part = self._read_ahead(begin, end)
        self._last_end = end
        return part.data[begin - part.begin : end - part.begin]

    def expect(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Take what will be read next; see `RemoteFile.expect`."""
        wanted = sorted((max(0, begin), min(end, self._size)) for begin, end in ranges)
        if all(any(part.has(*each) for part in self._parts()) for each in wanted if each[0] < each[1]):
            return
        self._fetched, self._ahead = [], {}
        self._expected = tuple(wanted)
        joined = _joined(wanted)
        if sum(end - begin for begin, end in joined) <= AT_ONCE_BYTES:
            self._fetched = self._fetch(joined)

    def _parts(self) -> tuple[_Part, ...]:
        return (*self._ends, *self._fetched, *self._ahead.values())

    def _read_ahead(self, begin: int, end: int) -> _Part:
        """Fetch bytes, and what will be read after them: the rest of what is expected, or of what is read from end to end."""
        inside = next((each for each in self._expected if each[0] <= begin < each[1]), None)
        if inside is not None:
            slot, most = inside
        elif begin == self._last_end:
            slot, most = -1, self._size
        else:
            slot, most = -1, end
        (part,) = self._fetch([(begin, max(end, min(begin + PIECE_BYTES, most)))])
        self._ahead[slot] = part
        return part

    def _fetch(self, ranges: Sequence[tuple[int, int]]) -> list[_Part]:
        """Fetch ranges, several at a time, each in requests of PIECE_BYTES."""
        pieces = [
            (at, min(at + PIECE_BYTES, end)) for begin, end in ranges for at in range(begin, end, PIECE_BYTES)
        ]
        if len(pieces) == 1:
            return [_Part(pieces[0][0], self._read(*pieces[0]))]
        pool = ThreadPoolExecutor(REQUESTS_AT_A_TIME, thread_name_prefix="eptreplay-store")
        try:
            data = dict(zip(pieces, pool.map(lambda piece: self._read(*piece), pieces), strict=True))
        finally:
            pool.shutdown(cancel_futures=True)
        return [
            _Part(begin, b"".join(data[piece] for piece in pieces if begin <= piece[0] < end))
            for begin, end in ranges
        ]


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ascending ranges with those joined that overlap or nearly touch; empty ones are left out."""
    found: list[tuple[int, int]] = []
    for begin, end in ranges:
        if begin >= end:
            continue
        if found and begin - found[-1][1] <= GAP_BYTES:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found
