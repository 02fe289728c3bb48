"""Opening the traces that a command is given."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from eptreplay.cli.console import note
from eptreplay.errors import UsageError
from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.ingest.sources.parts import like_parts
from eptreplay.ingest.taking.source import AS_IT_IS
from eptreplay.run.failures import Failure, no_guest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.sources.dataset import BadGuest
    from eptreplay.ingest.taking.source import Taking
    from eptreplay.ingest.trace.guest_trace import GuestTrace

NAMED = 5
"""The most guests that a message names."""


def open_traces(
    specs: Sequence[str], wanted: Sequence[str] = (), taking: Taking = AS_IT_IS
) -> tuple[tuple[GuestTrace, ...], list[Failure]]:
    """Open all traces; one that cannot be opened does not keep the others from being replayed.

    What a user should know of how they are taken is said.

    Args:
        specs: files, folders and globs.
        wanted: names of guests, or patterns; none: all guests.
        taking: how columns are taken.

    Raises:
        UsageError: no guest has such a name.
        EptReplayError: no trace can be opened.
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
    if wanted:
        names = [*(trace.name for trace in traces), *(failure.guest for failure in failed)]
        _refuse_unknown(wanted, names)
        traces = tuple(trace for trace in traces if _fits(trace.name, wanted))
        failed = [failure for failure in failed if _fits(failure.guest, wanted)]
    if not traces:
        raise no_guest(failed)
    return traces, failed


def _fits(name: str, wanted: Sequence[str]) -> bool:
    return any(name == each or fnmatchcase(name, each) for each in wanted)


def _refuse_unknown(wanted: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a name that no guest has: it is most likely misspelt."""
    for each in wanted:
        if not any(_fits(name, [each]) for name in names):
            some = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
            raise UsageError(f"no guest is called '{each}'; there {'are' if len(names) > 1 else 'is'} {some}")
