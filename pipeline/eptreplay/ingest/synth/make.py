"""Rows of a made-up guest, and the trace of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from eptreplay.ingest.native.write import TraceMetadata, new_trace
from eptreplay.ingest.scans import synth_rows as scan
from eptreplay.ingest.synth.guest import By, Pattern
from eptreplay.ingest.synth.zipf import alias_tables
from eptreplay.ingest.trace.schema import HOST_CPUS, PAGE_SHIFT, Event, Op, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from eptreplay.ingest.synth.guest import Access, Guest, Phase

BLOCK_ROWS = 1 << 16
"""Accesses made at a time; memory that drifts moves between two blocks."""
_ROOM = BLOCK_ROWS + 4 * HOST_CPUS
_WHOLE = 1 << 32
_MILLION = 1_000_000
_KINDS = {
    Pattern.ZIPF: scan.ZIPF,
    Pattern.UNIFORM: scan.UNIFORM,
    Pattern.SEQUENTIAL: scan.STRIDED,
    Pattern.STRIDED: scan.STRIDED,
}
_OPS = {
    By.VCPU: (Op.READ, Op.FETCH, Op.WRITE),
    By.HOST: (Event.HOST_READ, Event.HOST_READ, Event.HOST_WRITE),
    By.DMA: (Event.DMA_READ, Event.DMA_READ, Event.DMA_WRITE),
}
"""Codes of reads, fetches and writes by who makes them."""
_GOLDEN_SHARE = Fraction(6180339887, 10**10)


def write_guest(path: Path, guest: Guest, advance: Callable[[int], None], *, overwrite: bool) -> int:
    """Write the trace of a made-up guest; return its rows.

    Args:
        path: the file to make.
        guest: whose rows.
        advance: told how many more rows were made.
        overwrite: whether a file that is there is replaced.

    Raises:
        OutputError: the file cannot be written.
    """
    narrow = guest.vcpus <= 1 << 8
    columns = {
        "time": pa.uint64(),
        "vcpu": pa.uint8() if narrow else pa.uint16(),
        "gpa": pa.uint64(),
        "op": pa.uint8(),
    }
    if guest.has_events():
        columns["arg"] = pa.uint64()
    with new_trace(path, columns, metadata_of(guest), overwrite=overwrite) as trace:
        for rows in make_rows(guest):
            found: dict[str, NDArray[Any]] = {
                "time": rows.time,
                "gpa": rows.gpa,
                "op": rows.op,
                "arg": rows.arg,
            }
            found["vcpu"] = rows.vcpu.astype(np.uint8) if narrow else rows.vcpu
            trace.write({name: found[name] for name in columns})
            advance(len(rows.time))
        return trace.rows


def metadata_of(guest: Guest) -> TraceMetadata:
    """Return what the trace says of itself."""
    low = min(guest.memory, scan.LOW_MEMORY_END)
    segments = [Segment(0, low, "ram")]
    if guest.memory > low:
        segments.append(Segment(scan.HIGH_MEMORY, guest.memory - low, "ram"))
    free = {
        "capture": "synthetic: made by rule, no guest ever ran",
        "rows_are": "made-up accesses",
        "synthetic": json.dumps(asdict(guest), default=str),
    }
    return TraceMetadata(segments, guest.vcpus, "ns", free)


def make_rows(guest: Guest) -> Iterator[scan.Rows]:
    """Yield the rows of a guest, about BLOCK_ROWS at a time."""
    phases = [_Phase(guest, phase) for phase in guest.phases]
    state = np.zeros(scan.STATE_WORDS, np.uint64)
    ends = phase_ends(guest)
    for number, end in enumerate(ends):
        phase = phases[number % len(phases)]
        while int(state[scan.ROW]) < end:
            row = int(state[scan.ROW])
            yield phase.make(min(end, (row // BLOCK_ROWS + 1) * BLOCK_ROWS), row, state)
        stopped = phase.stop(state)
        if len(stopped.time):
            yield stopped
        state[scan.TIME] += np.uint64(phase.idle_ns)


def phase_ends(guest: Guest) -> list[int]:
    """Return the access before which each phase ends, in order, with all repetitions."""
    weights = [Fraction(phase.weight) for phase in guest.phases] * guest.repeat
    total, done, ends = sum(weights), Fraction(0), []
    for weight in weights:
        done += weight
        ends.append(int(guest.rows * done / total))
    return ends


class _Phase:
    """Makes the rows of a phase."""

    def __init__(self, guest: Guest, phase: Phase) -> None:
        self.idle_ns = phase.idle_ns
        self._accesses = phase.accesses
        self._memory_pages = guest.memory >> PAGE_SHIFT
        tabled = [access for access in phase.accesses if access.pattern is Pattern.ZIPF]
        self._tables = alias_tables([(access.bytes >> PAGE_SHIFT, access.skew) for access in tabled])
        self._patterns = _patterns(phase.accesses)
        turns = guest.turns
        words = (
            _mixed(guest.seed),
            self._memory_pages,
            guest.access_bytes,
            2 * phase.gap_ns + 1,
            guest.burst,
            turns.host_cpus if turns else 0,
            turns.slice_ns if turns else 1,
        )
        self._machine = scan.Machine(np.array(phase.vcpus, np.uint16), np.array(words, np.uint64))

    def make(self, end: int, row: int, state: NDArray[np.uint64]) -> scan.Rows:
        """Return rows up to an access, from a row on."""
        for number, access in enumerate(self._accesses):
            moved = access.drift * row // _MILLION >> PAGE_SHIFT
            begin = ((access.begin >> PAGE_SHIFT) + moved) % self._memory_pages
            self._patterns.begin[number] = begin
        rows = _room()
        scan.make_rows(end, self._patterns, self._tables, self._machine, rows, state)
        return _taken(rows, state)

    def stop(self, state: NDArray[np.uint64]) -> scan.Rows:
        """Return the rows that say that vCPUs stop."""
        rows = _room()
        scan.end_phase(self._machine, rows, state)
        return _taken(rows, state)


def _patterns(accesses: tuple[Access, ...]) -> scan.Patterns:
    """Return accesses as the compiled code takes them."""
    weights = [Fraction(access.weight) for access in accesses]
    up_to = [int(_WHOLE * sum(weights[: number + 1]) / sum(weights)) for number in range(len(weights))]
    tabled = [number for number, access in enumerate(accesses) if access.pattern is Pattern.ZIPF]
    pages = [access.bytes >> PAGE_SHIFT for access in accesses]

    def numbers(values: list[int]) -> NDArray[np.uint64]:
        return np.array(values, np.uint64)

    return scan.Patterns(
        kind=np.array([_KINDS[access.pattern] for access in accesses], np.int64),
        up_to=numbers(up_to),
        is_vcpu=np.array([access.by is By.VCPU for access in accesses], np.uint16),
        ops=np.array([_OPS[access.by] for access in accesses], np.uint8),
        write_to=numbers([int(_WHOLE * access.write_share) for access in accesses]),
        fetch_to=numbers([int(_WHOLE * (access.write_share + access.fetch_share)) for access in accesses]),
        begin=numbers([0] * len(accesses)),
        pages=numbers(pages),
        mask=numbers([(1 << (each - 1).bit_length()) - 1 for each in pages]),
        steps=numbers([access.bytes // access.stride for access in accesses]),
        stride=numbers([access.stride for access in accesses]),
        scatter=numbers([scatter_of(each) for each in pages]),
        number=numbers([0] * len(accesses)),
        shift=numbers([0] * len(accesses)),
        table=np.array(
            [tabled.index(number) if number in tabled else 0 for number in range(len(accesses))], np.int64
        ),
    )


def scatter_of(pages: int) -> int:
    """Return an odd number by which ranks are multiplied to scatter them: about 0.618 of the pages, so that neighbours lie far apart."""
    return int((1 << (pages - 1).bit_length()) * _GOLDEN_SHARE) | 1


def _mixed(seed: int) -> int:
    """Return a seed's begin among the random numbers: splitmix64 of it, so that neighbours lie far apart."""
    mask = (1 << 64) - 1
    bits = (seed + 1) * 0x9E3779B97F4A7C15 & mask
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & mask
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & mask
    return bits ^ bits >> 31


def _room() -> scan.Rows:
    return scan.Rows(
        time=np.empty(_ROOM, np.uint64),
        vcpu=np.empty(_ROOM, np.uint16),
        gpa=np.empty(_ROOM, np.uint64),
        op=np.empty(_ROOM, np.uint8),
        arg=np.empty(_ROOM, np.uint64),
    )


def _taken(rows: scan.Rows, state: NDArray[np.uint64]) -> scan.Rows:
    """Return the rows made so far, and begin again."""
    count = int(state[scan.OUT])
    state[scan.OUT] = 0
    return scan.Rows(
        rows.time[:count], rows.vcpu[:count], rows.gpa[:count], rows.op[:count], rows.arg[:count]
    )
