"""What a process that replays is told, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.run.failures import Told


class Task(NamedTuple):
    """A host to be replayed.

    Args:
        unit: its number in the run.
        traces: of its guests.
        part: where its part is to be.
    """

    unit: int
    traces: Sequence[GuestTrace]
    part: str


class Done(NamedTuple):
    """What became of a host.

    Args:
        unit: its number in the run.
        failed: what failed, if anything did.
        refused: number and text of the system's error where its part cannot be written, which ends the run.
    """

    unit: int
    failed: Told | None = None
    refused: tuple[int, str] | None = None
