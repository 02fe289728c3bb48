"""A run: guests times profiles on an executor, and the output folder.

Every guest is decoded once and replayed under all profiles at once; several guests run side by side on
threads (kernels and decoding release the interpreter lock).  Results are written under a temporary name beside the output
folder and moved there when all is done, so that a run that fails leaves nothing unfinished.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import OutputError, SharedHostError
from eptreplay.ingest.native.rows import BadRows
from eptreplay.replay.one_host import replay_host
from eptreplay.replay.shares.replay import replay_guest
from eptreplay.results.tables import tables
from eptreplay.run.description import describe
from eptreplay.run.failures import Failure, forget_locals, no_guest, write_details
from eptreplay.run.give_back import give_back_memory
from eptreplay.run.output import new_output
from eptreplay.run.pages import make_pages
from eptreplay.run.written import list_all, write_list
from eptreplay.tables.files import TABLES_FOLDER, TableWriter, slug, write_columns_file, write_run_file
from eptreplay.tables.schema import REPLAYED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.profiles import Profile
    from eptreplay.replay.driver.replay import OnRows
    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.report.pages.html import OnPage
    from eptreplay.report.pages.text import Unrendered
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
        on_rows: called with how many more rows are replayed, from several threads.
        on_page: called with how many pages are made, and of how many.
    """

    guests: int = 1
    threads: int = 1
    on_rows: OnRows | None = None
    on_page: OnPage | None = None


class Unit(NamedTuple):
    """The unit of work, of failure and of writing: a host with its guests, most often one.

    Whatever one of its guests raises costs all of them and nobody else, and either all of them are in the tables or none.

    Args:
        traces: of its guests.
        results: what was found of each, when it is done.
        skipped: bad rows that were left out of each.
    """

    traces: Sequence[GuestTrace]
    results: Future[list[GuestResult]]
    skipped: Sequence[BadRows]

    @property
    def name(self) -> str:
        """What a message calls it."""
        first, *others = (trace.name for trace in self.traces)
        return f"{first} and {len(others)} more on its host" if others else first


@dataclass(frozen=True, slots=True)
class RunResult:
    """The outcome of a run.

    Args:
        folder: where the results are.
        guests: names of the guests that were replayed.
        failures: those that could not be.
        bad_rows: rows skipped, by guest and reason.
        unrendered: why there are no pages; None where there are.
        pageless: guests without a page, where others have one.
    """

    folder: Path
    guests: tuple[str, ...]
    failures: tuple[Failure, ...]
    bad_rows: dict[str, dict[str, int]]
    unrendered: Exception | None = None
    pageless: tuple[Unrendered, ...] = ()


def run(
    replays: Replays, out: Path, execution: Execution | None = None, *, overwrite: bool = False
) -> RunResult:
    """Replay traces under profiles and write the result tables, and pages made from them.

    Whatever a guest raises costs that guest, or all of its host; the others are replayed.  Whatever goes wrong with
    the pages, the tables are kept.

    Args:
        replays: what is replayed.
        out: folder for the results; must not exist, be empty, or be an older run with `overwrite`.
        execution: how; None: one guest after the other, each on one thread.
        overwrite: whether an older run may be replaced.

    Raises:
        OutputError: the output folder cannot be written.
        EptReplayError: no guest could be replayed; the error of the only one, or one that names all.
    """
    execution = execution or Execution()
    if replays.failed and replays.options.host is not None:
        lost = len(replays.traces) + len(replays.failed)
        raise no_guest([replace(failure, host=lost) for failure in replays.failed])
    with new_output(out, overwrite=overwrite) as work:
        guests, failures, bad_rows = _replay_all(replays, work, execution)
        failures = [*replays.failed, *failures]
        if not guests:
            raise no_guest(failures)
        failures = [_with_details(work, failure) for failure in failures]
        replayed = [trace for trace in replays.traces if trace.name in guests]
        write_columns_file(work / TABLES_FOLDER)
        write_run_file(work, describe(replayed, replays.profiles, replays.options, failures, bad_rows))
        write_list(work, list_all(work, {}))  # from here on, pages can be made even if this process is killed
        give_back_memory()
        unrendered, pageless = _rendered(work, execution)
    return RunResult(out, tuple(guests), tuple(failures), bad_rows, unrendered, pageless)


def _with_details(work: Path, failure: Failure) -> Failure:
    """Write the traceback of a fault of eptreplay itself into the folder of the run."""
    if not failure.is_our_fault:
        return failure
    return replace(failure, details=write_details(work, f"{slug(failure.guest)}.txt", failure.error))


def _rendered(work: Path, execution: Execution) -> tuple[Exception | None, tuple[Unrendered, ...]]:
    """Make the pages of a run; return why that failed, with none left half-written, and which guests have no page."""
    workers = execution.guests * execution.threads
    try:
        return None, tuple(make_pages(work, workers=workers, on_page=execution.on_page))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the pages, the tables are kept
        return error, ()


def _replay_all(
    replays: Replays, work: Path, execution: Execution
) -> tuple[list[str], list[Failure], dict[str, dict[str, int]]]:
    """Replay every guest and write its rows, in the order of the guests.

    Raises:
        OutputError: a table cannot be written.
    """
    guests: list[str] = []
    failures: list[Failure] = []
    bad_rows: dict[str, dict[str, int]] = {}
    with _writers(work) as writers:
        for unit in _units(replays, execution):
            try:
                found = _rows(unit, replays, writers)
            except Exception as error:  # noqa: BLE001 - whatever a guest raises costs only the guests of its host
                failures.append(_failure(unit, error))
                continue
            for rows in found:
                _append(rows, writers)
            guests += [trace.name for trace in unit.traces]
            for trace, skipped in zip(unit.traces, unit.skipped, strict=True):
                if skipped.total:
                    bad_rows[trace.name] = dict(skipped.counts)
    return guests, failures, bad_rows


@contextmanager
def _writers(work: Path) -> Iterator[dict[str, TableWriter]]:
    """Open a writer for every table, and close them at the end.

    Raises:
        OutputError: a table cannot be written.
    """
    writers: dict[str, TableWriter] = {}
    try:
        for table in REPLAYED:
            writers[table.name] = TableWriter(work / TABLES_FOLDER, table)
        yield writers
        for writer in writers.values():
            writer.close()
    except OSError as error:
        raise OutputError(
            f"{work.parent}: a table cannot be written ({error.strerror or error}); nothing of this run is kept"
        ) from error
    finally:
        for writer in writers.values():
            writer.let_go()


def _rows(unit: Unit, replays: Replays, writers: Mapping[str, TableWriter]) -> list[dict[str, pa.Table]]:
    """Return the rows of all tables for every guest of a unit, before any of them is written."""
    names = [profile.name for profile in replays.profiles]
    found = []
    for trace, result in zip(unit.traces, unit.results.result(), strict=True):
        try:
            columns = tables(result, names, replays.options.link)
            found.append({name: writers[name].rows(values) for name, values in columns.items()})
        except Exception as error:
            raise SharedHostError(trace.name, error) from error
    return found


def _append(rows: Mapping[str, pa.Table], writers: Mapping[str, TableWriter]) -> None:
    for name, part in rows.items():
        writers[name].append(part)


def _failure(unit: Unit, error: Exception) -> Failure:
    """Return which guest of a unit failed, and why."""
    forget_locals(error)
    if isinstance(error, SharedHostError):
        return Failure(error.guest, error.error, len(unit.traces))
    return Failure(unit.name, error)


def _units(replays: Replays, execution: Execution) -> Iterator[Unit]:
    """Replay guests, each on a host of its own or all on one, and yield the units in order."""
    if replays.options.host is None:
        return _side_by_side(replays, execution)
    return iter([_on_one_host(replays, execution)])


def _side_by_side(replays: Replays, execution: Execution) -> Iterator[Unit]:
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
            )
            return [found]

        def begin(trace: GuestTrace) -> Unit:
            skipped = BadRows()
            return Unit([trace], executor.submit(replay, trace, skipped), [skipped])

        waiting = iter(replays.traces)
        begun = deque(map(begin, islice(waiting, 2 * execution.guests)))
        try:
            while begun:
                yield begun.popleft()
                begun.extend(map(begin, islice(waiting, 1)))
        finally:
            stopped.set()
            executor.shutdown(cancel_futures=True)


def _on_one_host(replays: Replays, execution: Execution) -> Unit:
    """Replay guests on one host.

    They share its memory and its page daemon, so one damaged trace ends all of them.
    """
    skipped = {trace.name: BadRows() for trace in replays.traces}
    done: Future[list[GuestResult]] = Future()
    try:
        results = replay_host(
            replays.traces, replays.profiles, replays.options, on_rows=execution.on_rows, bad_rows=skipped
        )
        done.set_result(results)
    except Exception as error:  # noqa: BLE001 - raised again where the results are requested
        done.set_exception(error)
    return Unit(replays.traces, done, list(skipped.values()))
