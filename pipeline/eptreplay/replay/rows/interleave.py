"""Rows of several guests in one order: by time, or in turns.

Merged rows carry flat addresses (model/instances.py), the number of their guest, and their number in its trace.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.model.state.rows import GUEST_SHIFT, NOWHERE
from eptreplay.replay.events.carry_out import HostEvent, between, events_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from eptreplay.ingest.native.reader import Batch
    from eptreplay.replay.driver.replay import Replay

PAGE_SHIFT = np.uint64(12)
NO_VCPUS = np.zeros(1, np.uint16)
NO_SIZES = np.zeros(0, np.uint16)
NO_COUNTS = np.zeros(0, np.uint32)
# Kernels are compiled for arrays that are read-only, like decoded columns.
for _array in (NO_VCPUS, NO_SIZES, NO_COUNTS):
    _array.flags.writeable = False


class Merged(NamedTuple):
    """Rows of several guests, in order; arrays are read-only.

    Args:
        rows: length n of the arrays.
        gpa: shape (n,), flat byte addresses.
        op: shape (n,), codes of `schema.Op`.
        vcpu: shape (n,), flat number of the vCPU; shape (1,): 0 for all.
        size: shape (n,), bytes; shape (0,) if no row crosses a page.
        accesses: shape (n,), accesses a row stands for; shape (0,): one each.
        guest: shape (n,), number of the guest.
        row: shape (n,), number of the row in the guest's trace.
        time: shape (n,), what the rows are ordered by.
        events: among the rows and between them, in order.
    """

    rows: int
    gpa: NDArray[np.uint64]
    op: NDArray[np.uint8]
    vcpu: NDArray[np.uint16]
    size: NDArray[np.uint16]
    accesses: NDArray[np.uint32]
    guest: NDArray[np.uint8]
    row: NDArray[np.int64]
    time: NDArray[np.uint64]
    events: tuple[HostEvent, ...] = ()

    @classmethod
    def of_one_row(cls) -> Merged:
        """Return one read of guest 0's page 0."""
        one: list[Any] = [
            np.zeros(1, kind)
            for kind in (np.uint64, np.uint8, np.uint16, np.uint16, np.uint32, np.uint8, np.int64, np.uint64)
        ]
        for column in one:
            column.flags.writeable = False
        return cls(1, *one)


class Clock(NamedTuple):
    """How a guest's rows are placed on the host's clock: (time - `begin`) * `tick`, plus `start`."""

    begin: int = 0
    tick: int = 1
    start: int = 0

    def at(self, batch: Batch) -> NDArray[np.uint64]:
        """Return when the rows of a batch happen."""
        assert batch.time is not None  # noqa: S101 - the caller asked for times
        return (batch.time - np.uint64(self.begin)) * np.uint64(self.tick) + np.uint64(self.start)


@dataclass(slots=True)
class Source:
    """One guest's rows on their way into the common order.

    Args:
        number: of the guest.
        batches: its rows.
        base: flat number of its page 0.
        pages: pages from address 0 to the end of its memory.
        first_vcpu: flat number of its vCPU 0.
        key: what its rows are ordered by, ascending; takes a batch and the number of rows before it.
        vcpus: the vCPU that made all accesses of a batch without a column of vCPUs; None: vCPUs do not matter.
    """

    number: int
    batches: Iterator[Batch]
    base: int
    pages: int
    first_vcpu: int
    key: Callable[[Batch, int], NDArray[np.uint64]]
    vcpus: Callable[[Batch], int] | None = None
    rows: int = 0
    _batch: Batch | None = field(default=None, init=False)
    _keys: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64), init=False)
    _taken: int = field(default=0, init=False)

    def last_key(self) -> int | None:
        """Return the key of the last row that is decoded, decoding more if all are taken; None at the end."""
        while self._batch is None or self._taken == self._batch.rows:
            self._batch = next(self.batches, None)
            if self._batch is None:
                return None
            self._keys = self.key(self._batch, self.rows)
            self._taken = 0
        return int(self._keys[-1])

    def take(self, up_to: int) -> Merged:
        """Return the decoded rows whose key is not above `up_to`, as flat rows."""
        assert self._batch is not None  # noqa: S101 - last_key() came before
        batch, begin = self._batch, self._taken
        end = begin + int(np.searchsorted(self._keys[begin:], np.uint64(up_to), side="right"))
        self._taken = end
        rows = end - begin
        first_row = self.rows
        self.rows += rows
        return Merged(
            rows,
            self._flat(batch.gpa[begin:end]),
            batch.op[begin:end],
            self._vcpu(batch, begin, end),
            batch.size[begin:end].astype(np.uint16) if batch.size is not None and batch.crosses else NO_SIZES,
            NO_COUNTS if batch.count is None else batch.count[begin:end],
            np.full(rows, self.number, np.uint8),
            np.arange(first_row, first_row + rows, dtype=np.int64),
            self._keys[begin:end],
            tuple(
                event._replace(position=event.position - begin)
                for event in events_of(batch, begin, end, guest=self.number, first_vcpu=self.first_vcpu)
            ),
        )

    def _vcpu(self, batch: Batch, begin: int, end: int) -> NDArray[np.uint16]:
        """Return who made the accesses; without `vcpus` nobody in particular."""
        if self.vcpus is None:
            return NO_VCPUS
        if batch.vcpu is None:
            return np.full(end - begin, self.first_vcpu + self.vcpus(batch), np.uint16)
        vcpu: NDArray[np.uint16] = batch.vcpu[begin:end].astype(np.uint16) + np.uint16(self.first_vcpu)
        return vcpu

    def _flat(self, gpa: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return guest-physical byte addresses as flat ones."""
        outside = (gpa >> PAGE_SHIFT) >= np.uint64(self.pages)
        flat = gpa + (np.uint64(self.base) << PAGE_SHIFT)
        if outside.any():
            flat[outside] = (np.uint64(self.number) << GUEST_SHIFT) | NOWHERE | gpa[outside]
        return flat


def merged(sources: Sequence[Source]) -> Iterator[Merged]:
    """Yield the rows of all sources in the order of their keys; equal ones in the order of the sources."""
    while True:
        open_ends = {source.number: source.last_key() for source in sources}
        ends = [end for end in open_ends.values() if end is not None]
        if not ends:
            return
        up_to = min(ends)
        yield _join([source.take(up_to) for source in sources if open_ends[source.number] is not None])


def _join(parts: Sequence[Merged]) -> Merged:
    """Return several guests' rows as one, in order."""
    parts = [part for part in parts if part.rows]
    order = np.argsort(np.concatenate([part.time for part in parts]), kind="stable")
    events = _merged_events(parts, order)

    def column(name: str) -> NDArray[Any]:
        joined: NDArray[Any] = np.concatenate([getattr(part, name) for part in parts])[order]
        joined.flags.writeable = False
        return joined

    sized = any(len(part.size) for part in parts)
    counted = any(len(part.accesses) for part in parts)
    filled = [
        part._replace(
            size=part.size if len(part.size) == part.rows or not sized else np.zeros(part.rows, np.uint16),
            accesses=part.accesses if len(part.accesses) or not counted else np.ones(part.rows, np.uint32),
        )
        for part in parts
    ]
    parts = filled
    return Merged(
        sum(part.rows for part in parts),
        column("gpa"),
        column("op"),
        column("vcpu") if all(len(part.vcpu) == part.rows for part in parts) else NO_VCPUS,
        column("size") if sized else NO_SIZES,
        column("accesses") if counted else NO_COUNTS,
        column("guest"),
        column("row"),
        column("time"),
        events,
    )


def _merged_events(parts: Sequence[Merged], order: NDArray[np.int64]) -> tuple[HostEvent, ...]:
    """Return the events of all parts at their places in the common order."""
    if not any(part.events for part in parts):
        return ()
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    found = []
    before = 0
    for part in parts:
        for event in part.events:
            inside = event.position < part.rows
            at = int(place[before + event.position]) if inside else int(place[before + part.rows - 1]) + 1
            found.append(event._replace(position=at))
        before += part.rows
    return tuple(sorted(found, key=lambda event: (event.position, event.is_row)))


def replay_merged(replay: Replay, batch: Merged, begin: int, end: int) -> None:
    """Replay rows [begin, end) of merged rows, events among them."""
    if not batch.events:
        _replay_rows(replay, batch, begin, end)
        return
    events = [
        event
        for event in batch.events
        if begin <= event.position < end or event.position == end == batch.rows
    ]
    for first, last, event in between(events, begin, end):
        _replay_rows(replay, batch, first, last)
        if event is not None:
            replay.carry_out(event)


def _replay_rows(replay: Replay, batch: Merged, begin: int, end: int) -> None:
    """Replay rows [begin, end) of merged rows, all of them accesses."""
    if end <= begin:
        return
    rows = slice(begin, end)  # of a column that is not there, none
    gpa, op, size, accesses = batch.gpa[rows], batch.op[rows], batch.size[rows], batch.accesses[rows]
    vcpu = batch.vcpu[rows] if len(batch.vcpu) == batch.rows else batch.vcpu
    guest = batch.guest[rows]
    replay.rows_of += np.bincount(guest, minlength=len(replay.rows_of))
    replay.replay_flat(gpa, op, vcpu, size, accesses, guest, batch.row[rows])
