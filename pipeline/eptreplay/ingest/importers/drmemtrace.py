"""DynamoRIO's drmemtrace: the final traces that drraw2trace makes, records of 12 bytes.

Layout: clients/drcachesim/common/trace_entry.h of DynamoRIO.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.ingest.binary.blocks import at_byte, whole_records
from eptreplay.ingest.binary.vcpus import VcpuPer, Vcpus
from eptreplay.ingest.importing.dropped import BadRecordError
from eptreplay.ingest.importing.format import Approximated, Format, Opened, Origin
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.scans import drmemtrace_layout as scan
from eptreplay.ingest.scans.drmemtrace_pages import find, map_pages
from eptreplay.ingest.scans.drmemtrace_scan import scan as go_through

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from eptreplay.ingest.importing.dropped import Dropped

RECORD_BYTES = 12
_CHUNK = 1 << 15
"""Accesses handed on together: a chunk of each thread is in memory."""
_BLOCK_BYTES = 1 << 18

_UNKNOWN = scan.TYPES - 1
"""From this type on there are none."""

_HEADER, _MARKER, _FOOTER = 25, 28, 26
_VERSION, _FILE_TYPE, _PHYSICAL = 12, 9, 15
_RECORD = np.dtype([("type", "<u2"), ("size", "<u2"), ("value", "<u8")])
_VERSIONS = range(2, 1 << 16)

_FILTERED = 0x1 | 0x80 | 0x100
_BIMODAL = 0x2000
_REFUSED = (
    (0x10 | 0x20, "it is the trace of a 32-bit process, whose records are shorter"),
    (0x4, "it has instructions only: the data accesses are missing"),
    (0x4000, "it holds templates of system calls, not what ran"),
)
"""Bits of the file type, and why such a trace is refused."""

REASONS: dict[str, tuple[int, ...]] = {
    "software prefetch": (*range(2, 10), *range(32, 47)),
    "hardware prefetch of a cache simulator": (27,),
    "cache flush": (18, 19, 20, 21),
    "thread, its exit or its process": (22, 23, 24),
    "header or footer": (25, 26),
    "marker": (28,),
    "instruction that is not fetched again (a repeated string instruction)": (29,),
    "instruction's encoding": (47,),
    "instruction pointer without a fetch": (scan.PC_ONLY,),
    "access of no bytes": (scan.NO_BYTES,),
    "access to a page without a known physical address": (scan.UNTRANSLATED,),
    "filtered part before the marker where filtering ends": (scan.FILTERED,),
}
"""What is left out on purpose, by the types of records and further counters."""

BAD: dict[int, str] = {
    scan.BAD_TYPE: "no type of a drmemtrace record",
    scan.BAD_BUNDLE: "a bundle of instructions without a first one, or of none or more than eight",
    scan.BAD_PAGE_BYTES: "a page size that is no power of two from 4 KB to 1 GB",
    scan.BAD_PAIR: "a virtual-address marker without a physical-address marker before it",
}


def _open(options: Mapping[str, str]) -> Opened:
    """Apply the options: what a vCPU is, which addresses are taken (virtual ones, if nothing is said)."""
    physical = options.get("addresses") == "physical"
    vcpus = Vcpus(VcpuPer(options.get("vcpu-per", VcpuPer.SCHEDULED)))

    def read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        return _Reader(dropped, vcpus, translate=physical).read(stream)

    missing = () if physical else (Approximated.VIRTUAL,)
    threads = () if vcpus.per is VcpuPer.CORE else (Approximated.THREADS_SCHEDULED,)
    return Opened(
        Origin(
            record="one fetch, load or store of a process, as DynamoRIO saw it",
            approximated=(*threads, *missing),
            virtual=not physical,
            time_unit="us",
            metadata={"time_is": "that of the last time stamp before an access; many accesses share one"},
        ),
        read,
        beside=True,
    )


def _open_with(options: Mapping[str, str], head: bytes) -> Opened:
    """Apply the options; of a trace that has physical addresses, as its first bytes show, these are taken if nothing else is said."""
    records = np.frombuffer(head, _RECORD, len(head) // RECORD_BYTES)
    is_physical = ((records["type"] == _MARKER) & (records["size"] == _PHYSICAL)).any()
    return _open({"addresses": "physical", **options} if is_physical else options)


class _Reader:
    """Reads one input."""

    def __init__(self, dropped: Dropped, vcpus: Vcpus, *, translate: bool) -> None:
        self._dropped = dropped
        self._vcpus = vcpus
        self._seen_footer = False
        self._state = np.zeros(scan.STATE_WORDS, np.uint64)
        self._state[[scan.VCPU, scan.NEXT_PC, scan.LAST_PC, scan.WINDOW, scan.PHYSICAL]] = scan.NONE
        self._state[scan.BY_CORE] = vcpus.per is VcpuPer.CORE
        self._state[scan.TRANSLATE] = translate
        self._state[scan.PAGE_BYTES] = 4096
        self._known = _tables(threads=256, pages=1 << 12)
        self._threads = 0
        self._found = _room()
        self._left = scan.Left(np.zeros(scan.SLOTS, np.int64), np.zeros(scan.SLOTS, np.int64))

    def read(self, stream: BinaryIO) -> Iterator[Records]:
        """Yield the accesses of an input."""
        end = 0
        for offset, block in whole_records(stream, RECORD_BYTES, self._dropped, block_bytes=_BLOCK_BYTES):
            if offset == 0:
                _check_first(block)
            words = block.view("<u4")
            self._state[scan.AT] = 0
            while (
                status := go_through(words, self._found, self._known, self._left, self._state)
            ) != scan.DONE:
                if status == scan.FULL:
                    yield self._taken(offset)
                else:
                    self._answer(status, offset)
            if self._state[scan.OUT]:
                yield self._taken(offset)
            self._report(offset)
            end = offset + len(block)
        if not self._seen_footer:
            self._dropped.leave_out(
                "no footer at the end: the trace may have been cut off there", 1, at_byte(end)
            )

    def _taken(self, offset: int) -> Records:
        """Return the accesses found so far, and make room again."""
        count = int(self._state[scan.OUT])
        self._state[scan.OUT] = 0
        found = _first(self._found, count)
        translated = bool(self._state[scan.TRANSLATE])
        return Records(
            address=found.address,
            op=found.op,
            time=found.time,
            vcpu=found.vcpu,
            size=found.size,
            space=None if translated else found.space,
            place=lambda index: at_byte(offset + RECORD_BYTES * int(found.record[index])),
        )

    def _answer(self, status: int | np.int64, offset: int) -> None:
        """Give the scan what it asked for."""
        state, known = self._state, self._known
        where = at_byte(offset + RECORD_BYTES * int(state[scan.AT]))
        thread, time = int(state[scan.THREAD]), int(state[scan.TIME])
        if status == scan.NEW_THREAD:
            self._add_thread(thread)
        elif status == scan.NEEDS_VCPU:
            vcpu = self._vcpus.begin(thread if self._vcpus.per is not VcpuPer.CORE else -1, time, where)
            state[scan.VCPU] = vcpu
            known.thread_vcpu[self._slot(thread)] = vcpu
        elif status == scan.NEW_CORE:
            core = int(state[scan.CORE])
            known.core_vcpu[core] = self._vcpus.begin(core, time, where)
        elif status == scan.EXITED:
            self._vcpus.end(thread, time)
            known.thread_vcpu[self._slot(thread)] = scan.NONE
            if self._vcpus.per is VcpuPer.SCHEDULED:
                state[scan.VCPU] = scan.NONE
        elif status == scan.FILE_TYPE_SAID:
            before = at_byte(offset + RECORD_BYTES * (int(state[scan.AT]) - 1))
            self._file_type(int(state[scan.FILE_TYPE]), before)
        else:
            self._fit_pages(2 * len(known.page))

    def _slot(self, thread: int) -> int:
        """Return the place of a thread in the table; a trace that names none has the thread 0."""
        key = np.uint64(thread)
        slot = int(find(self._known.thread, key))
        if self._known.thread[slot] == scan.NONE:
            self._add_thread(thread)
            slot = int(find(self._known.thread, key))
        return slot

    def _add_thread(self, thread: int) -> None:
        """Enter a thread; the table becomes longer when it is half full."""
        old = self._known
        self._threads += 1
        if 2 * self._threads > len(old.thread):
            new = _tables(threads=2 * len(old.thread), pages=0)
            for number in np.flatnonzero(old.thread != scan.NONE):
                slot = find(new.thread, old.thread[number])
                new.thread[slot] = old.thread[number]
                new.thread_vcpu[slot] = old.thread_vcpu[number]
                new.thread_pid[slot] = old.thread_pid[number]
            self._known = old._replace(
                thread=new.thread, thread_vcpu=new.thread_vcpu, thread_pid=new.thread_pid
            )
        self._known.thread[find(self._known.thread, np.uint64(thread))] = thread

    def _fit_pages(self, entries: int) -> None:
        """Make the page map as long as so many entries need."""
        old = self._known
        new = _tables(threads=0, pages=1 << max(12, (entries - 1).bit_length()))
        self._known = old._replace(page=new.page, page_pid=new.page_pid, frame=new.frame)
        self._state[scan.PAGES] = 0
        map_pages(old.page, old.page_pid, old.frame, self._known, self._state)

    def _file_type(self, bits: int, where: str) -> None:
        """Look at what kind of trace it is.

        Raises:
            BadRecordError: it is one that cannot be replayed.
        """
        for refused, reason in _REFUSED:
            if bits & refused:
                raise BadRecordError(f"file type {bits:#x}: {reason}", where)
        if bits & _FILTERED and not bits & _BIMODAL:
            reason = "it was filtered while it was recorded, and accesses that hit a cache are missing"
            raise BadRecordError(f"file type {bits:#x}: {reason}; record it without -L0_filter", where)
        bimodal = bool(bits & _BIMODAL)
        self._state[scan.IS_FILTERED] = self._state[scan.IS_BIMODAL] = bimodal

    def _report(self, offset: int) -> None:
        """Hand on what was left out in a block.

        Raises:
            BadRecordError: a record is wrong, and bad ones are not to be left out.
        """
        records, first = self._left
        self._seen_footer |= bool(records[_FOOTER])
        for reason, slots in REASONS.items():
            there = [slot for slot in slots if records[slot]]
            if there:
                begin = min(int(first[slot]) for slot in there)
                count = int(records[list(there)].sum())
                self._dropped.leave_out(reason, count, at_byte(offset + RECORD_BYTES * begin))
        for slot, reason in BAD.items():
            where = at_byte(offset + RECORD_BYTES * int(first[slot]))
            self._dropped.bad_records(reason, int(records[slot]), where)
        records[:] = 0


def _tables(threads: int, pages: int) -> scan.Known:
    """Return empty tables."""

    def empty(length: int) -> NDArray[np.uint64]:
        return np.full(length, scan.NONE, np.uint64)

    def zeros(length: int) -> NDArray[np.uint64]:
        return np.zeros(length, np.uint64)

    return scan.Known(
        empty(threads), empty(threads), zeros(threads), empty(4096), empty(pages), zeros(pages), empty(pages)
    )


def _room() -> scan.Found:
    """Return arrays for the accesses of a chunk."""
    return scan.Found(
        address=np.empty(_CHUNK, np.uint64),
        op=np.empty(_CHUNK, np.uint8),
        time=np.empty(_CHUNK, np.uint64),
        vcpu=np.empty(_CHUNK, np.uint16),
        size=np.empty(_CHUNK, np.uint32),
        space=np.empty(_CHUNK, np.uint64),
        record=np.empty(_CHUNK, np.int32),
    )


def _first(found: scan.Found, count: int) -> scan.Found:
    """Return a copy of the first accesses."""
    return scan.Found(
        address=found.address[:count].copy(),
        op=found.op[:count].copy(),
        time=found.time[:count].copy(),
        vcpu=found.vcpu[:count].copy(),
        size=found.size[:count].copy(),
        space=found.space[:count].copy(),
        record=found.record[:count].copy(),
    )


def _check_first(block: NDArray[np.uint8]) -> None:
    """Look whether an input is a drmemtrace trace at all.

    Raises:
        BadRecordError: its first record cannot be one; what it may be instead.
    """
    kind, swapped = int(block[:2].view("<u2")[0]), int(block[:2].view(">u2")[0])
    if kind == _HEADER:
        if int(block[4:12].view("<u8")[0]) in _VERSIONS:
            return
        if int(block[4:8].view("<u4")[0]) in _VERSIONS and int(block[8:10].view("<u2")[0]) < _UNKNOWN:
            raise BadRecordError("records of 8 bytes: it is the trace of a 32-bit process", at_byte(0))
        reason = f"a header without a version of the format, which is at least {_VERSIONS.start}"
    elif kind < _UNKNOWN:
        return
    elif swapped < _UNKNOWN:
        reason = "its numbers have their bytes in the wrong order: they are to be little-endian"
    else:
        reason = "no final drmemtrace trace; DynamoRIO's drraw2trace makes one of a raw trace"
    raise BadRecordError(reason, at_byte(0))


def _guess(head: bytes) -> bool:
    """Return whether an input begins as an offline trace does: a header with a version, and the version again as a marker."""
    if len(head) < 2 * RECORD_BYTES:
        return False
    first, second = np.frombuffer(head, _RECORD, 2)
    return (
        first["type"] == _HEADER
        and int(first["value"]) in _VERSIONS
        and second["type"] == _MARKER
        and second["size"] in {_VERSION, _FILE_TYPE}
    )


FORMAT = Format(
    name="drmemtrace",
    title="DynamoRIO drmemtrace, final traces (drmemtrace.*.trace.zip, .gz, .lz4)",
    options=frozenset({"vcpu-per", "addresses"}),
    open=_open,
    open_with=_open_with,
    guess=_guess,
)
