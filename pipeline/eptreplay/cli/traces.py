"""Opening the traces that a command is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.cli.console import note
from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.ingest.sources.parts import like_parts
from eptreplay.ingest.taking.source import AS_IT_IS
from eptreplay.run.failures import Failure, no_guest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.sources.dataset import BadGuest
    from eptreplay.ingest.taking.source import Taking
    from eptreplay.ingest.trace.guest_trace import GuestTrace


def open_traces(
    specs: Sequence[str], taking: Taking = AS_IT_IS
) -> tuple[tuple[GuestTrace, ...], list[Failure]]:
    """Open all traces; one that cannot be opened does not keep the others from being replayed.

    What a user should know of how they are taken is said.
    """
    bad: list[BadGuest] = []
    traces = find_traces(specs, bad=bad, taking=taking)
    for trace in traces:
        for sentence in trace.taken:
            note(f"{trace.name}: {sentence}")
    hint = like_parts(traces)
    if hint:
        note(hint)
    failed = [Failure(guest.name, guest.error) for guest in bad]
    if not traces:
        raise no_guest(failed)
    return traces, failed
