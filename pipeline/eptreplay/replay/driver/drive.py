"""Driving a replay through its rows, with a stop wherever something is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.replay.rows.steps import BEGINNING, Due, Piece, Position, steps_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from eptreplay.replay.driver.replay import OnRows, Replay
    from eptreplay.replay.rows.batch import RowBatch
    from eptreplay.replay.rows.schedule import Schedule


def drive(
    replay: Replay, batches: Iterable[RowBatch], schedules: Sequence[Schedule], on_rows: OnRows | None = None
) -> Iterator[Due]:
    """Replay rows, and yield what is due wherever the replay has to stop; `on_rows` is called with how many were replayed."""
    for step in drive_from(BEGINNING, replay, batches, schedules, on_rows):
        if isinstance(step, Due):
            yield step


def drive_from(
    position: Position,
    replay: Replay,
    batches: Iterable[RowBatch],
    schedules: Sequence[Schedule],
    on_rows: OnRows | None = None,
) -> Iterator[Due | Position]:
    """Do what `drive` does from a position on, and yield the positions between row groups, too."""
    for step in steps_from(position, batches, schedules, on_rows):
        if isinstance(step, Piece):
            replay.replay(*step)
        else:
            yield step
