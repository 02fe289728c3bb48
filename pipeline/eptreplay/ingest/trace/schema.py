"""The native trace format: columns, operation codes, metadata keys."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import pyarrow as pa

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
GPA_BITS = 48
"""Guest-physical addresses of 4-level nested page tables end here."""

VCPUS_MAX = 1 << 16
"""The widest vcpu column is uint16."""


class Op(IntEnum):
    """Kinds of access of a row."""

    READ = 0
    WRITE = 1
    FETCH = 2


HOST_CPUS = 256
"""Host CPUs that vCPUs can run on."""
OP_MAX = int(max(Op))
EVENT_MIN = 16
"""Codes from here on are events, not accesses."""


class Event(IntEnum):
    """What a host did to a guest; `arg` carries the argument."""

    VCPU_RUN = 16
    VCPU_STOP = 17
    GPA_HOLD = 24
    GPA_RELEASE = 25
    HOST_READ = 26
    HOST_WRITE = 27
    DMA_READ = 28
    DMA_WRITE = 29
    MAP = 32
    UNMAP = 33
    PROTECT = 34
    WIRE = 35
    UNWIRE = 36
    ADVISE = 37
    SCAN = 40
    HARVEST = 41


CODES = frozenset(map(int, (*Op, *Event)))
"""Codes of `op` that mean something."""


class Column(NamedTuple):
    """One column of a trace: what it may look like and what it means."""

    name: str
    types: tuple[pa.DataType, ...]
    required: bool
    meaning: str

    def accepted(self) -> str:
        """The accepted types in words."""
        return " or ".join(str(t) for t in self.types)


COLUMNS: tuple[Column, ...] = (
    Column("time", (pa.uint64(),), required=True, meaning="when, non-decreasing; unit in the metadata"),
    Column("vcpu", (pa.uint8(), pa.uint16()), required=True, meaning="virtual CPU, from 0"),
    Column("gpa", (pa.uint64(),), required=True, meaning="guest-physical byte address"),
    Column("op", (pa.uint8(),), required=True, meaning="0 read, 1 write, 2 fetch; from 16 on events"),
    Column("size", (pa.uint8(), pa.uint16()), required=False, meaning="bytes of the access, at most a page"),
    Column("count", (pa.uint32(),), required=False, meaning="accesses this row stands for, at least 1"),
    Column("arg", (pa.uint64(),), required=False, meaning="argument of an event"),
    Column(
        "guest",
        (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())),
        required=False,
        meaning="guest of the row; one guest a row group",
    ),
)
"""Columns eptreplay knows, in the order they are documented. Others are left unread."""

# Keys of the file's key-value metadata.
KEY_SEGMENTS = "memory_segments"
KEY_VCPUS = "vcpus"
KEY_MEMORY_BYTES = "memory_bytes"
KEY_TIME = "time"
KEY_TIME_UNIT = "time_unit"
KEY_CLOCK = "clock_mhz"
"""Rate of a time column that counts cycles."""

TIME_UNITS = ("ns", "ps", "us", "ms", "s", "cycles")
"""Units of the time column; `ns` when a file says nothing."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a guest's physical address space.

    Args:
        gpa: first byte.
        bytes: length.
        kind: what is there; memory if it starts with `ram`.
    """

    gpa: int
    bytes: int
    kind: str

    @property
    def is_ram(self) -> bool:
        """Whether the segment is memory."""
        return self.kind.startswith("ram")

    @property
    def end(self) -> int:
        """The byte after the last one."""
        return self.gpa + self.bytes
