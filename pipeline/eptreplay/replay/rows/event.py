"""Events as data: what a host did to a guest between two accesses, and at which row."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.ingest.trace.schema import EVENT_MIN, Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.native.reader import Batch


class HostEvent(NamedTuple):
    """An event.

    Args:
        position: index in the batch of the row that it is, or before which it happens.
        is_row: whether it is a row of the trace.
        guest: number of the guest.
        kind: what happens.
        vcpu: the vCPU concerned, a flat number.
        gpa: guest-physical byte address.
        arg: the argument.
    """

    position: int
    is_row: bool
    guest: int
    kind: Event
    vcpu: int
    gpa: int
    arg: int


def events_of(batch: Batch, begin: int, end: int, *, guest: int = 0, first_vcpu: int = 0) -> list[HostEvent]:
    """Return the events of rows [begin, end) of a batch, in order; positions count from the batch's first row."""
    found = [
        HostEvent(
            at, False, guest, Event.VCPU_RUN if runs else Event.VCPU_STOP, first_vcpu + vcpu, 0, hostcpu
        )
        for at, vcpu, runs, hostcpu in batch.transitions
        if begin <= at < end or at == end == batch.rows
    ]
    if batch.events:
        for at in np.flatnonzero(batch.op[begin:end] >= EVENT_MIN) + begin:
            who = 0 if batch.vcpu is None else int(batch.vcpu[at])
            arg = 0 if batch.arg is None else int(batch.arg[at])
            kind = Event(int(batch.op[at]))
            found.append(HostEvent(int(at), True, guest, kind, first_vcpu + who, int(batch.gpa[at]), arg))
        found.sort(key=lambda event: (event.position, event.is_row))
    return found


def between(events: Sequence[HostEvent], begin: int, end: int) -> list[tuple[int, int, HostEvent | None]]:
    """Return rows [begin, end) split at events: ranges of accesses, each with the event that follows it (None after the last)."""
    pieces: list[tuple[int, int, HostEvent | None]] = []
    at = begin
    for event in events:
        pieces.append((at, event.position, event))
        at = event.position + int(event.is_row)
    pieces.append((at, end, None))
    return pieces
