"""Checkpoints: all that a replay knows between two row groups of its trace, kept so that it can go on from there.

What has to be kept of the model follows from the declarations of its arrays; the rest is named here, once for keeping and once
for going on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.replay.driver.replay import Replay
    from eptreplay.replay.events.given_back import GivenBack
    from eptreplay.replay.events.other_writers import OtherWriters
    from eptreplay.replay.found.snapshots import OtherWrites, Snapshot
    from eptreplay.replay.rows.steps import Position


@dataclass(frozen=True, slots=True)
class Kept:
    """A replay between two row groups.

    Args:
        position: where it is.
        arrays: of the model, by structure and name.
        rows: see `Replay`.
        rows_of: likewise.
        page_accesses: likewise.
        others: likewise.
        given_back: likewise.
        closed: what others than vCPUs wrote in the interval that closed last, of each guest.
        snapshots: of the intervals that have closed.
    """

    position: Position
    arrays: dict[str, dict[str, NDArray[Any]]]
    rows: int
    rows_of: NDArray[Any]
    page_accesses: NDArray[Any]
    others: list[OtherWriters]
    given_back: list[GivenBack]
    closed: list[OtherWrites]
    snapshots: list[Snapshot]


class Keeper(Protocol):
    """Keeps checkpoints of guests."""

    def load(self, trace: GuestTrace) -> Kept | None:
        """Return the checkpoint of a guest; None if there is none that fits."""

    def is_due(self, trace: GuestTrace, rows: int) -> bool:
        """Return whether a checkpoint is to be kept of a guest of which so many rows are replayed."""

    def save(self, trace: GuestTrace, kept: Kept) -> None:
        """Keep a checkpoint in the place of an older one; where that cannot be done, there is none."""


class CheckpointError(Exception):
    """A checkpoint does not fit the replay: another version kept it."""


def kept(replay: Replay, position: Position, snapshots: list[Snapshot]) -> Kept:
    """Return all that a replay knows, as views: valid until its next row."""
    return Kept(
        position,
        replay.arrays(),
        replay.rows,
        replay.rows_of,
        replay.page_accesses,
        replay.others,
        replay.given_back,
        replay.closed,
        snapshots,
    )


def go_on(replay: Replay, checkpoint: Kept) -> None:
    """Let a new replay of the same guest, profiles and options go on from a checkpoint.

    Raises:
        CheckpointError: another version kept it.
    """
    try:
        replay.load(checkpoint.arrays)
    except (TypeError, KeyError, ValueError) as error:
        raise CheckpointError(str(error)) from error
    replay.rows = checkpoint.rows
    replay.rows_of = checkpoint.rows_of
    replay.page_accesses = checkpoint.page_accesses
    replay.others = checkpoint.others
    replay.given_back = checkpoint.given_back
    replay.closed = checkpoint.closed
