"""A run: guests times profiles on an executor, and the output folder.

Every guest is decoded once and replayed under all profiles at once; several guests run side by side on
threads (kernels and decoding release the interpreter lock).  Results are written under a temporary name beside the output
folder and moved there when all is done, so that a run that fails leaves nothing unfinished.
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
from eptreplay.run.description import configuration, described, failed
from eptreplay.run.failures import Failure, ToldError, forget_locals, no_guest, write_details
from eptreplay.run.give_back import give_back_memory
from eptreplay.run.pages import make_pages
from eptreplay.run.resumable import Beginning, resumable_output
from eptreplay.run.unfinished.assemble import assemble
from eptreplay.run.unfinished.folder import WORKING, clear_assembled
from eptreplay.run.unfinished.manifest import head, input_of, refuse_changed
from eptreplay.run.unfinished.part import Part, write_part
from eptreplay.run.written import list_all, write_list
from eptreplay.tables.files import as_rows, read_run_file, slug, write_run_file
from eptreplay.tables.schema import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.profiles import Profile
    from eptreplay.replay.driver.replay import OnRows
    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.report.pages.html import OnPage
    from eptreplay.report.pages.text import Unrendered
    from eptreplay.request.options import Options
    from eptreplay.run.unfinished.folder import Work


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


class Permission(NamedTuple):
    """What may be done with runs that are there.

    Args:
        overwrite: whether an older run may be replaced.
        resume: whether to go on with an unfinished run.
        command: the line that goes on with this one.
    """

    overwrite: bool = False
    resume: bool = False
    command: str = "the same again, with resume"


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
    replays: Replays, out: Path, execution: Execution | None = None, permission: Permission | None = None
) -> RunResult:
    """Replay traces under profiles and write the result tables, and pages made from them.

    Whatever a guest raises costs that guest, or all of its host; the others are replayed.  Whatever goes wrong with
    the pages, the tables are kept.  Whatever ends the process, guests that are done stay so: see `Permission.resume`.

    Args:
        replays: what is replayed.
        out: folder for the results; must not exist, be empty, or be an older run with `overwrite`.
        execution: how; None: one guest after the other, each on one thread.
        permission: what may be done with runs that are there; None: nothing.

    Raises:
        OutputError: the output folder cannot be written.
        EptReplayError: no guest could be replayed; the error of the only one, or one that names all.
    """
    execution, permission = execution or Execution(), permission or Permission()
    if replays.failed and replays.options.host is not None:
        lost = len(replays.traces) + len(replays.failed)
        raise no_guest([replace(failure, host=lost) for failure in replays.failed])
    beginning = Beginning(
        about(replays),
        [input_of(trace) for trace in replays.traces],
        permission.command,
        permission.overwrite,
        permission.resume,
    )
    with resumable_output(out, beginning) as work:
        if work.is_assembled():
            return _as_it_is(work)
        failures = [*replays.failed, *_replay_rest(replays, work, execution)]
        if not work.done():
            raise no_guest(failures)
        failures = _assemble(replays, work, failures)
        unrendered, pageless = _rendered(work.folder, execution)
        guests = read_run_file(work.folder)["guests"]
    bad_rows = {guest["name"]: guest["bad_rows"] for guest in guests if guest["bad_rows"]}
    return RunResult(
        out, tuple(guest["name"] for guest in guests), tuple(failures), bad_rows, unrendered, pageless
    )


def about(replays: Replays) -> dict[str, Any]:
    """Return the first line of the manifest."""
    names = [trace.name for trace in replays.traces]
    units = [[name] for name in names] if replays.options.host is None else [names]
    return head(configuration(replays.profiles, replays.options), units)


def _as_it_is(work: Work) -> RunResult:
    """Return the outcome of a run of which nothing is left to do but to move it into its place."""
    run = read_run_file(work.folder)
    failures = [Failure(each["guest"], ToldError(each["error"])) for each in run["failed"]]
    names = tuple(guest["name"] for guest in run["guests"])
    bad_rows = {guest["name"]: guest["bad_rows"] for guest in run["guests"] if guest["bad_rows"]}
    return RunResult(work.out, names, tuple(failures), bad_rows)


def _assemble(replays: Replays, work: Work, failures: Sequence[Failure]) -> list[Failure]:
    """Write the tables, run.json and the list of files; return the failures with the files that have their details."""
    clear_assembled(work.folder)
    guests = assemble(work)
    detailed = [_with_details(work.folder, failure) for failure in failures]
    run = configuration(replays.profiles, replays.options)
    write_run_file(work.folder, {**run, "guests": guests, "failed": failed(detailed)})
    write_list(work.folder, list_all(work.folder, {}, WORKING))  # what pages are made of
    give_back_memory()
    return detailed


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


def _replay_rest(replays: Replays, work: Work, execution: Execution) -> list[Failure]:
    """Replay every host that is not done and write its part, in the order of the guests; return what failed.

    Raises:
        OSError: a part cannot be written.
    """
    done = set(work.done())
    left = [unit for unit in range(len(work.units)) if unit not in done]
    if execution.on_rows is not None:
        names = {name for unit in done for name in work.units[unit]}
        execution.on_rows(sum(trace.rows for trace in replays.traces if trace.name in names))
    if replays.options.host is None:
        replays = replace(replays, traces=[replays.traces[unit] for unit in left])
    failures: list[Failure] = []
    if not left:
        return failures
    for number, unit in zip(left, _units(replays, execution), strict=True):
        try:
            part = part_of(unit, replays)
        except Exception as error:  # noqa: BLE001 - whatever a guest raises costs only the guests of its host
            failures.append(_failure(unit, error))
            work.note("failed", unit=number, guest=failures[-1].guest, error=failures[-1].message())
            continue
        write_part(work.part(number), part)
        work.note("done", unit=number, guests=work.units[number])
    return failures


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


def _on_one_host(replays: Replays, execution: Execution) -> Unit:
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
