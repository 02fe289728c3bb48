"""Steps of a replay: rows without a stop between them, and what is due at each stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eptreplay.replay.rows.schedule import Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from eptreplay.replay.rows.batch import RowBatch
    from eptreplay.replay.rows.schedule import Action, Schedule


class Piece(NamedTuple):
    """Rows [begin, end) of a batch, without a stop between them."""

    batch: RowBatch
    begin: int
    end: int


class Due(NamedTuple):
    """An action that is due; `time` is that of the stop, None for a stop by rows."""

    action: Action
    time: int | None


class Position(NamedTuple):
    """A place between two row groups at which all that was due is done.

    Args:
        group: number of the row group that comes next.
        rows: rows replayed before it, events among them.
        due: see `Scheduler.due`.
    """

    group: int
    rows: int
    due: tuple[int | None, ...]


BEGINNING = Position(0, 0, ())


def steps(
    batches: Iterable[RowBatch], schedules: Sequence[Schedule], on_rows: Callable[[int], None] | None = None
) -> Iterator[Piece | Due]:
    """Yield the rows of batches, and the actions that are due between them; `on_rows` is called with how many were used."""
    for step in steps_from(BEGINNING, batches, schedules, on_rows):
        if not isinstance(step, Position):
            yield step


def steps_from(
    position: Position,
    batches: Iterable[RowBatch],
    schedules: Sequence[Schedule],
    on_rows: Callable[[int], None] | None = None,
) -> Iterator[Piece | Due | Position]:
    """Yield what `steps` does from a position on, and the positions between row groups where batches say where these end."""
    scheduler = Scheduler(schedules, position.due or None)
    replayed = position.rows
    for batch in batches:
        begin = 0
        for stop in scheduler.stops(batch, replayed):
            if stop.rows > begin:
                yield Piece(batch, begin, stop.rows)
                begin = stop.rows
            yield Due(stop.action, stop.time)
        if batch.length > begin:
            yield Piece(batch, begin, batch.length)
        replayed += batch.length
        if on_rows is not None:
            on_rows(batch.length)
        if batch.next_group is not None:
            yield Position(batch.next_group, replayed, scheduler.due)
