"""Interleaving the rows of several guests: in the order of their times, or one guest after the other in turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.model.state.rows import GUEST_SHIFT, NOWHERE, rows_of
from eptreplay.replay.rows.batch import RowBatch
from eptreplay.replay.rows.event import events_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from eptreplay.ingest.native.reader import Batch
    from eptreplay.replay.rows.event import HostEvent

PAGE_SHIFT = np.uint64(12)


class Part(NamedTuple):
    """Rows of one guest between two rows of others.

    Args:
        length: how many.
        columns: by their names in model.state.rows.Rows; `vcpu` is missing where vCPUs do not matter, `size` where no row crosses
            a page, `count` where each row stands for one access.
        key: shape (length,): the keys by which rows are ordered, ascending.
        events: their positions count from the first row.
    """

    length: int
    columns: dict[str, NDArray[Any]]
    key: NDArray[np.uint64]
    events: tuple[HostEvent, ...]


@dataclass(slots=True)
class Source:
    """The rows of one guest, to be interleaved with those of others.

    Args:
        number: of the guest.
        batches: its rows.
        base: flat number of its page 0.
        pages: pages from address 0 to the end of its memory.
        first_vcpu: flat number of its vCPU 0.
        key: returns the keys by which the rows of a batch are ordered, ascending; takes the batch and the number of rows before.
        vcpus: returns the vCPU that made all accesses of a batch without a column of vCPUs; None: vCPUs do not matter.
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
        """Return the key of the last row that is decoded; decode more if all are taken; None at the end of the trace."""
        while self._batch is None or self._taken == self._batch.rows:
            self._batch = next(self.batches, None)
            if self._batch is None:
                return None
            self._keys = self.key(self._batch, self.rows)
            self._taken = 0
        return int(self._keys[-1])

    def take(self, up_to: int) -> Part:
        """Return the decoded rows whose key is not above `up_to`, in flat numbers."""
        assert self._batch is not None  # noqa: S101 - last_key() came before
        batch, begin = self._batch, self._taken
        end = begin + int(np.searchsorted(self._keys[begin:], np.uint64(up_to), side="right"))
        self._taken = end
        first_row = self.rows
        self.rows += end - begin
        events = events_of(batch, begin, end, guest=self.number, first_vcpu=self.first_vcpu)
        return Part(
            end - begin,
            self._columns(batch, begin, end, first_row),
            self._keys[begin:end],
            tuple(event._replace(position=event.position - begin) for event in events),
        )

    def _columns(self, batch: Batch, begin: int, end: int, first_row: int) -> dict[str, NDArray[Any]]:
        """Return the columns of rows [begin, end) of a batch, in flat numbers."""
        rows = end - begin
        columns: dict[str, NDArray[Any]] = {
            "gpa": self._flat(batch.gpa[begin:end]),
            "op": batch.op[begin:end],
            "guest": np.full(rows, self.number, np.uint8),
            "row": np.arange(first_row, first_row + rows, dtype=np.int64),
        }
        if self.vcpus is not None and batch.vcpu is None:
            columns["vcpu"] = np.full(rows, self.first_vcpu + self.vcpus(batch), np.uint16)
        elif self.vcpus is not None and batch.vcpu is not None:
            columns["vcpu"] = batch.vcpu[begin:end].astype(np.uint16) + np.uint16(self.first_vcpu)
        if batch.size is not None and batch.crosses:
            columns["size"] = batch.size[begin:end].astype(np.uint16)
        if batch.count is not None:
            columns["count"] = batch.count[begin:end]
        return columns

    def _flat(self, gpa: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return guest-physical byte addresses as flat ones."""
        outside = (gpa >> PAGE_SHIFT) >= np.uint64(self.pages)
        flat = gpa + (np.uint64(self.base) << PAGE_SHIFT)
        if outside.any():
            flat[outside] = (np.uint64(self.number) << GUEST_SHIFT) | NOWHERE | gpa[outside]
        return flat


def interleaved(sources: Sequence[Source]) -> Iterator[RowBatch]:
    """Yield the rows of all sources in the order of their keys; equal ones in the order of the sources."""
    while True:
        open_ends = {source.number: source.last_key() for source in sources}
        ends = [end for end in open_ends.values() if end is not None]
        if not ends:
            return
        up_to = min(ends)
        yield _join([source.take(up_to) for source in sources if open_ends[source.number] is not None])


_ABSENT: dict[str, tuple[int, type[np.generic]]] = {"size": (0, np.uint16), "count": (1, np.uint32)}
"""The value, and its type, of a column for the rows of a part that lacks it, where another part has it."""


def _join(parts: Sequence[Part]) -> RowBatch:
    """Return several guests' rows as one batch, in order."""
    parts = [part for part in parts if part.length]
    order = np.argsort(np.concatenate([part.key for part in parts]), kind="stable")

    def column(name: str) -> NDArray[Any]:
        found = [
            part.columns[name] if name in part.columns else np.full(part.length, *_ABSENT[name])
            for part in parts
        ]
        joined: NDArray[Any] = np.concatenate(found)[order]
        return joined

    names = ["guest", "row"]
    names += ["vcpu"] if all("vcpu" in part.columns for part in parts) else []
    names += [name for name in _ABSENT if any(name in part.columns for part in parts)]
    return RowBatch(
        len(order),
        rows_of(column("gpa"), column("op"), **{name: column(name) for name in names}),
        np.concatenate([part.key for part in parts])[order],
        events=_join_events(parts, order),
    )


def _join_events(parts: Sequence[Part], order: NDArray[np.int64]) -> tuple[HostEvent, ...]:
    """Return the events of all parts at their places in the common order."""
    if not any(part.events for part in parts):
        return ()
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    found = []
    before = 0
    for part in parts:
        for event in part.events:
            inside = event.position < part.length
            at = int(place[before + event.position]) if inside else int(place[before + part.length - 1]) + 1
            found.append(event._replace(position=at))
        before += part.length
    return tuple(sorted(found, key=lambda event: (event.position, event.is_row)))
