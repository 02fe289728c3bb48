from __future__ import annotations

import io
import struct
from typing import BinaryIO, cast

import numpy as np
import pytest

from eptreplay.ingest.importers.qemu_plugin import FORMAT, opened_with, read
from eptreplay.ingest.importing.dropped import BadRecordError, Dropped
from eptreplay.ingest.trace.schema import Segment

RAM, BELOW = 5 << 30, 3 << 30
HEADER = struct.pack("<8sIIQQ32x", b"EPTRGPA1", 16, 2, RAM, BELOW)


def record(when: int, vcpu: int, gpa: int, op: int, size: int) -> bytes:
    return struct.pack("<QQ", when | vcpu << 48, gpa | op << 48 | size << 50)


def end(count: int) -> bytes:
    return struct.pack("<QQ", 2**64 - 1, count)


GOOD = [
    (0, 0, 0x1000, 0, 8),
    (5, 1, BELOW - 1, 1, 1),
    (5, 0, 4 << 30, 2, 4096),
    ((1 << 48) - 1, 1, (6 << 30) - 8, 0, 8),
]


class Dribble(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 7))


def rows(data: bytes, dropped: Dropped | None = None) -> list[tuple[int, ...]]:
    found = []
    for chunk in read(cast("BinaryIO", Dribble(data)), dropped or Dropped()):
        assert chunk.time is not None
        assert chunk.vcpu is not None
        assert chunk.size is not None
        columns = (chunk.time, chunk.vcpu, chunk.address, chunk.op, chunk.size)
        found += [tuple(map(int, row)) for row in zip(*columns, strict=True)]
    return found


def test_records_are_read_as_they_were_written() -> None:
    assert rows(HEADER + b"".join(record(*row) for row in GOOD) + end(4)) == GOOD
    assert rows(HEADER + end(0)) == []


def test_many_blocks_are_read_in_order() -> None:
    count = 1 << 20
    words = np.zeros((count, 2), "<u8")
    words[:, 0] = np.arange(count)
    words[:, 1] = np.arange(count) % 1000 * 4096 | 1 << 48 | 8 << 50
    data = HEADER + words.tobytes() + end(count)
    times = np.concatenate(
        [chunk.time for chunk in read(io.BytesIO(data), Dropped()) if chunk.time is not None]
    )
    assert np.array_equal(times, np.arange(count))


def test_the_header_states_the_memory_layout() -> None:
    assert FORMAT.guess is not None
    assert FORMAT.guess(HEADER)
    assert not FORMAT.guess(b"EPTR")
    origin = opened_with({}, HEADER).origin
    assert origin.vcpus == 2
    assert origin.segments == (Segment(0, 3221225472, "ram"), Segment(4294967296, 2147483648, "ram"))


@pytest.mark.parametrize(
    ("data", "reason", "where"),
    [
        (b"", "there is nothing in it", "byte 0"),
        (b"time,gpa\n1,2\n", "no capture of the QEMU plugin", "byte 0"),
        (HEADER[:40], "the header is cut off", "byte 40"),
        (struct.pack("<8sIIQQ32x", b"EPTRGPA1", 24, 2, RAM, BELOW), "records of 24 bytes", "byte 8"),
        (struct.pack(">8sIIQQ32x", b"EPTRGPA1", 16, 2, RAM, BELOW), "records of 268435456 bytes", "byte 8"),
        (struct.pack("<8sIIQQ32x", b"EPTRGPA1", 16, 0, RAM, BELOW), "claims 0 vCPUs", "byte 12"),
        (
            struct.pack("<8sIIQQ32x", b"EPTRGPA1", 16, 2, 4096, 8192),
            "claims 4,096 bytes of memory",
            "byte 16",
        ),
    ],
)
def test_a_header_that_is_none_ends_the_import(data: bytes, reason: str, where: str) -> None:
    with pytest.raises(BadRecordError, match=reason) as caught:
        rows(data, Dropped(skip_bad=True))
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(6, 0, 0x1000, 3, 8), "an operation that is none"),
        (record(6, 0, 0x1000, 0, 0), "no size"),
        (record(6, 0, 0x1FFC, 0, 8), "one beyond the page"),
        (record(6, 0, BELOW, 0, 8), "outside the memory"),
        (record(6, 0, 6 << 30, 0, 8), "outside the memory"),
        (record(6, 2, 0x1000, 0, 8), "a vCPU that the header does not state"),
    ],
)
def test_a_record_that_cannot_be_is_named_or_counted(bad: bytes, reason: str) -> None:
    data = HEADER + record(*GOOD[0]) + bad + record(*GOOD[3]) + end(3)
    with pytest.raises(BadRecordError, match=reason) as caught:
        rows(data)
    assert caught.value.where == "byte 80"
    dropped = Dropped(skip_bad=True)
    assert rows(data, dropped) == [GOOD[0], GOOD[3]]
    assert [(found.records, found.first) for found in dropped.bad.values()] == [(1, "byte 80")]


@pytest.mark.parametrize(
    ("tail", "reason", "where"),
    [
        (b"", "there is no mark at the end", "byte 80"),
        (b"1234567", "ends within a record", "byte 80"),
        (end(7), "states 7 records, there are 1", "byte 80"),
        (end(1) + b"x", "there is more behind the mark", "byte 96"),
        (end(1) + record(*GOOD[0]), "there is more behind the mark", "byte 96"),
    ],
)
def test_an_end_that_is_none_is_named_or_counted(tail: bytes, reason: str, where: str) -> None:
    data = HEADER + record(*GOOD[0]) + tail
    with pytest.raises(BadRecordError, match=reason) as caught:
        rows(data)
    assert caught.value.where == where
    assert rows(data, Dropped(skip_bad=True)) == [GOOD[0]]
