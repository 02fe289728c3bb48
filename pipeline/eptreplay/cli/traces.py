"""Opening the traces that a command is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.run.failures import Failure, no_guest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.sources.dataset import BadGuest
    from eptreplay.ingest.trace.guest_trace import GuestTrace


def open_traces(specs: Sequence[str]) -> tuple[tuple[GuestTrace, ...], list[Failure]]:
    """Open all traces; one that cannot be opened does not keep the others from being replayed."""
    bad: list[BadGuest] = []
    traces = find_traces(specs, bad=bad)
    failed = [Failure(guest.name, guest.error) for guest in bad]
    if not traces:
        raise no_guest(failed)
    return traces, failed
