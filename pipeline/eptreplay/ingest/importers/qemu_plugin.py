"""What QEMU's software emulation does to a guest's memory, as traces/capture/gpa_capture.c writes it.

Layout (stated there, and in docs/capture.md): all numbers are little-endian.

| bytes of the header | |
|---|---|
| 0 to 7 | `EPTRGPA1` |
| 8, 12 | bytes of a record (16), vCPUs |
| 16, 24 | bytes of the guest's memory, and those of them that lie below 4 GiB; the others begin there |

A record is two words of 64 bits: time in ns in the lower 48 bits of the first and the vCPU above them; the address in the lower 48 of
the second, then 2 bits of op and 14 of size. The record after the last one has ones in all bits of its first word, and in the second how
many there were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from eptreplay.ingest.importing.dropped import BadRecordError
from eptreplay.ingest.importing.format import Format, Opened, Origin
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.trace.schema import GPA_BITS, OP_MAX, PAGE_SIZE, VCPUS_MAX, Segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from eptreplay.ingest.importing.dropped import Dropped

    Words = NDArray[np.uint64]

MAGIC = b"EPTRGPA1"
HEADER_BYTES = 64
RECORD_BYTES = 16
BLOCK_RECORDS = 1 << 16
GIB4 = 1 << 32
ADDRESS = np.uint64((1 << GPA_BITS) - 1)
_OP_SHIFT, _SIZE_SHIFT = np.uint64(48), np.uint64(50)
_OP_MASK = np.uint64(3)
_END = np.uint64(2**64 - 1)

RECORD = (
    "one access of a guest under QEMU's software emulation: a load, a store, or the fetch of a translation block (its part in one "
    "page); device DMA, page walks, MMIO and ROM are missing"
)


class Header(NamedTuple):
    """What the header says: vCPUs, bytes of memory, and bytes of it below 4 GiB."""

    vcpus: int
    ram: int
    below4g: int

    def segments(self) -> tuple[Segment, ...]:
        """Return the memory layout."""
        parts = [(0, self.below4g), (GIB4, self.ram - self.below4g)]
        return tuple(Segment(gpa, length, "ram") for gpa, length in parts if length)


def header_of(head: bytes) -> Header:
    """Take the header apart.

    Raises:
        BadRecordError: this is no such file, or its header makes no sense.
    """
    if not head:
        raise BadRecordError("there is nothing in it", "byte 0")
    if not head.startswith(MAGIC):
        raise BadRecordError("no capture of the QEMU plugin: it does not begin with EPTRGPA1", "byte 0")
    if len(head) < HEADER_BYTES:
        raise BadRecordError("the header is cut off", f"byte {len(head)}")
    record_bytes, vcpus = (int.from_bytes(head[at : at + 4], "little") for at in (8, 12))
    ram, below4g = (int.from_bytes(head[at : at + 8], "little") for at in (16, 24))
    if record_bytes != RECORD_BYTES:
        raise BadRecordError(f"records of {record_bytes} bytes: of another version of the plugin", "byte 8")
    if not 1 <= vcpus <= VCPUS_MAX:
        raise BadRecordError(f"the header claims {vcpus:,} vCPUs", "byte 12")
    if not 0 < ram < (1 << GPA_BITS) - GIB4 or below4g > min(ram, GIB4):
        raise BadRecordError(f"the header claims {ram:,} bytes of memory, {below4g:,} below 4 GiB", "byte 16")
    return Header(vcpus, ram, below4g)


def opened_with(options: Mapping[str, str], head: bytes) -> Opened:
    """Return the importer for an input that begins so: its header states the memory and the vCPUs of the guest."""
    try:
        header = header_of(head)
    except BadRecordError:
        return _open(options)  # whose reader says what is wrong, and where
    return Opened(Origin(RECORD, time_unit="ns", segments=header.segments(), vcpus=header.vcpus), read)


def _open(_: Mapping[str, str]) -> Opened:
    return Opened(Origin(RECORD, time_unit="ns"), read)


def read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
    """Yield the accesses of an input; see `format.Reader`."""
    header = header_of(_read_full(stream, HEADER_BYTES))
    done = 0
    while block := _read_full(stream, BLOCK_RECORDS * RECORD_BYTES):
        whole = len(block) // RECORD_BYTES * RECORD_BYTES
        words = np.frombuffer(block, "<u8", whole // 8).reshape(-1, 2)
        ends = np.flatnonzero(words[:, 0] == _END)
        count = int(ends[0]) if len(ends) else len(words)
        if count:
            yield from _accesses(words[:count], header, done, dropped)
        done += count
        if len(ends):
            _check_end(stream, block[count * RECORD_BYTES :], done, dropped)
            return
        if len(block) > whole:
            dropped.bad_records("the input ends within a record of 16 bytes: it was cut off", 1, _at(done))
            return
    dropped.bad_records("there is no mark at the end: the capture was cut off", 1, _at(done))


def _accesses(words: Words, header: Header, done: int, dropped: Dropped) -> Iterator[Records]:
    """Yield records that make sense, after those that do not were handed on."""
    when, what = words[:, 0], words[:, 1]
    address = what & ADDRESS
    op = ((what >> _OP_SHIFT) & _OP_MASK).astype(np.uint8)
    size = (what >> _SIZE_SHIFT).astype(np.uint32)
    vcpu = (when >> _OP_SHIFT).astype(np.uint16)
    end = (address & np.uint64(PAGE_SIZE - 1)).astype(np.uint32) + size
    high = header.ram - header.below4g
    outside = (address >= np.uint64(header.below4g)) & (
        (address < np.uint64(GIB4)) | (address >= np.uint64(GIB4 + high))
    )
    keep = np.ones(len(words), np.bool_)
    rules = (
        ("an operation that is none of read, write, fetch", op > OP_MAX),
        ("no size, or one beyond the page", (size == 0) | (end > PAGE_SIZE)),
        ("an address outside the memory that the header states", outside),
        ("a vCPU that the header does not state", vcpu >= header.vcpus),
    )
    for reason, breaks in rules:
        bad = breaks & keep
        if bad.any():
            dropped.bad_records(reason, int(np.count_nonzero(bad)), _at(done + int(np.argmax(bad))))
            keep &= ~bad
    columns = (address, op, when & ADDRESS, vcpu, size)
    if not keep.all():
        columns = tuple(column[keep] for column in columns)  # type: ignore[assignment]  # five, as before
    if len(columns[0]):
        yield Records(*columns)


def _check_end(stream: BinaryIO, rest: bytes, done: int, dropped: Dropped) -> None:
    """Look at the mark at the end, and that nothing follows it."""
    stated = int.from_bytes(rest[8:RECORD_BYTES], "little")
    if stated != done:
        reason = f"the mark at the end states {stated:,} records, there are {done:,}"
        dropped.bad_records(reason, 1, _at(done))
    if len(rest) > RECORD_BYTES or stream.read(1):
        dropped.bad_records("there is more behind the mark at the end", 1, _at(done + 1))


def _read_full(stream: BinaryIO, count: int) -> bytes:
    """Read so many bytes, fewer only at the end: a pipe may give less than it is asked for."""
    pieces: list[bytes] = []
    while count > 0 and (piece := stream.read(count)):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _at(record: int) -> str:
    """Say where a record stands."""
    return f"byte {HEADER_BYTES + record * RECORD_BYTES:,}"


FORMAT = Format(
    name="qemu-plugin",
    title="captures of traces/capture/gpa_capture.c, a TCG plugin of QEMU",
    options=frozenset(),
    open=_open,
    guess=lambda head: head.startswith(MAGIC),
    open_with=opened_with,
)
