"""The units of a run: hosts with their guests, most often one each, replayed side by side on threads.

Every guest is decoded once and replayed under all profiles at once; kernels and decoding release the interpreter lock.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.errors import SharedHostError
from eptreplay.ingest.native.rows import BadRows
from eptreplay.replay.one_host import replay_host
from eptreplay.replay.shares.replay import replay_guest
from eptreplay.results.tables import tables
from eptreplay.run.description import described
from eptreplay.run.failures import Failure, forget_locals
from eptreplay.run.unfinished.checkpoint import Checkpoints
from eptreplay.run.unfinished.manifest import input_of, refuse_changed
from eptreplay.run.unfinished.part import Part
from eptreplay.tables.files import as_rows
from eptreplay.tables.schema import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.profiles import Profile
    from eptreplay.replay.driver.replay import OnRows
    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.report.pages.html import OnPage
    from eptreplay.request.options import Options


@dataclass(frozen=True, slots=True)
class Replays:
    """What is replayed.

    Args:
        traces: one of each guest.
        profiles: all of them for every guest.
        options: how to replay.
        failed: guests whose traces could not even be opened.
    """

    traces: Sequence[GuestTrace]
    profiles: Sequence[Profile]
    options: Options
    failed: Sequence[Failure] = ()


@dataclass(frozen=True, slots=True)
class Execution:
    """How replays are carried out, which changes no answer.

    Args:
        guests: the most that are replayed side by side, at least 1.
        threads: threads of each, at least 1.
        workers: processes that replay; 0: threads of this one.
        checkpoint_every: rows of a guest between two checkpoints; 0: there are none.
        checkpoints: keeps what long guests have come to; None: nothing does.
        on_rows: called with how many more rows are replayed, from several threads.
        on_page: called with how many pages are made, and of how many.
    """

    guests: int = 1
    threads: int = 1
    workers: int = 0
    checkpoint_every: int = 0
    checkpoints: Checkpoints | None = None
    on_rows: OnRows | None = None
    on_page: OnPage | None = None


def checkpoints_in(folder: Path, replays: Replays, execution: Execution) -> Checkpoints | None:
    """Return what keeps checkpoints of a run's guests in the folder of the run; None if nothing is to."""
    if not execution.checkpoint_every or replays.options.host is not None:
        return None
    asked = repr(
        (replace(replays.options, decode_ahead=True), [profile.name for profile in replays.profiles])
    )
    return Checkpoints(folder.absolute(), execution.checkpoint_every, asked)


class Unit(NamedTuple):
    """The unit of work, of failure and of writing: a host with its guests, most often one.

    Whatever one of its guests raises costs all of them and nobody else, and either all of them are in the tables or none.

    Args:
        traces: of its guests.
        results: what was found of each, when it is done.
        skipped: bad rows that were left out of each.
        inputs: the files of each as they were before they were read.
    """

    traces: Sequence[GuestTrace]
    results: Future[list[GuestResult]]
    skipped: Sequence[BadRows]
    inputs: Sequence[Mapping[str, Any]]

    @property
    def name(self) -> str:
        """What a message calls it."""
        first, *others = (trace.name for trace in self.traces)
        return f"{first} and {len(others)} more on its host" if others else first


def part_of(unit: Unit, replays: Replays) -> Part:
    """Return the part of a unit: rows of all tables for every guest of it, before any of them is written.

    Raises:
        SharedHostError: what a guest of it raised.
        TraceError: a file was changed while it was read.
    """
    names = [profile.name for profile in replays.profiles]
    guests, found = [], []
    for trace, result, skipped in zip(unit.traces, unit.results.result(), unit.skipped, strict=True):
        try:
            refuse_changed(trace, unit.inputs)
            columns = tables(result, names, replays.options.link)
            found.append({name: as_rows(BY_NAME[name], values) for name, values in columns.items()})
            guests.append(described(trace, skipped.counts if skipped.total else {}))
        except Exception as error:
            raise SharedHostError(trace.name, error) from error
    return Part(guests, found)


def failure_of(unit: Unit, error: Exception) -> Failure:
    """Return which guest of a unit failed, and why."""
    forget_locals(error)
    if isinstance(error, SharedHostError):
        return Failure(error.guest, error.error, len(unit.traces))
    return Failure(unit.name, error)


def units(replays: Replays, execution: Execution) -> Iterator[Unit]:
    """Replay guests, each on a host of its own or all on one, and yield the units in order."""
    if replays.options.host is None:
        return side_by_side(replays, execution)
    return iter([on_one_host(replays, execution)])


def side_by_side(replays: Replays, execution: Execution) -> Iterator[Unit]:
    """Replay guests, each on a host of its own, and yield them in order.

    No more than twice as many as run side by side are started before their results are requested.  When the caller stops, also
    by an interrupt, guests that are being replayed end at their next batch.
    """
    stopped = threading.Event()

    def on_rows(rows: int) -> None:
        if stopped.is_set():
            raise CancelledError
        if execution.on_rows is not None:
            execution.on_rows(rows)

    with ThreadPoolExecutor(execution.guests, thread_name_prefix="guest") as executor:

        def replay(trace: GuestTrace, skipped: BadRows) -> list[GuestResult]:
            found = replay_guest(
                trace,
                replays.profiles,
                replays.options,
                execution.threads,
                on_rows=on_rows,
                bad_rows=skipped,
                keeper=execution.checkpoints,
            )
            return [found]

        def begin(trace: GuestTrace) -> Unit:
            skipped = BadRows()
            return Unit([trace], executor.submit(replay, trace, skipped), [skipped], [input_of(trace)])

        waiting = iter(replays.traces)
        begun = deque(map(begin, islice(waiting, 2 * execution.guests)))
        try:
            while begun:
                yield begun.popleft()
                begun.extend(map(begin, islice(waiting, 1)))
        finally:
            stopped.set()
            executor.shutdown(cancel_futures=True)


def on_one_host(replays: Replays, execution: Execution) -> Unit:
    """Replay guests on one host.

    They share its memory and its page daemon, so one damaged trace ends all of them.
    """
    skipped = {trace.name: BadRows() for trace in replays.traces}
    inputs = [input_of(trace) for trace in replays.traces]
    done: Future[list[GuestResult]] = Future()
    try:
        results = replay_host(
            replays.traces, replays.profiles, replays.options, on_rows=execution.on_rows, bad_rows=skipped
        )
        done.set_result(results)
    except Exception as error:  # noqa: BLE001 - raised again where the results are requested
        done.set_exception(error)
    return Unit(replays.traces, done, list(skipped.values()), inputs)
