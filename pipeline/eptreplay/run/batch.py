"""A run: its hosts are replayed, each leaves a part, and the tables and pages are made of the parts.

Results are written into a folder beside the output folder and moved there when all is done.  Whatever ends a run before, what is
done of it stays, and can be resumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.errors import OutputError
from eptreplay.run.description import configuration, failed
from eptreplay.run.failures import Failure, ToldError, no_guest, write_details
from eptreplay.run.give_back import give_back_memory
from eptreplay.run.pages import make_pages
from eptreplay.run.processes.messages import Task
from eptreplay.run.processes.pool import by_processes
from eptreplay.run.resumable import Beginning, resumable_output
from eptreplay.run.unfinished.assemble import assemble
from eptreplay.run.unfinished.folder import WORKING, clear_assembled
from eptreplay.run.unfinished.manifest import head, input_of
from eptreplay.run.unfinished.part import write_part
from eptreplay.run.units import Execution, Replays, checkpoints_in, failure_of, part_of, units
from eptreplay.run.written import list_all, write_list
from eptreplay.tables.files import read_run_file, slug, write_run_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from eptreplay.report.pages.text import Unrendered
    from eptreplay.run.unfinished.folder import Work


class Permission(NamedTuple):
    """What may be done with runs that are there.

    Args:
        overwrite: whether an older run may be replaced.
        resume: whether to go on with an unfinished run.
        command: the line that goes on with this one.
        finish: whether to replay nothing, and put together what parts of the run left.
    """

    overwrite: bool = False
    resume: bool = False
    command: str = "the same again, with resume"
    finish: bool = False


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
        replayed = _of_parts(work) if permission.finish else _replay_rest(replays, work, execution)
        failures = [*replays.failed, *replayed]
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


def _of_parts(work: Work) -> list[Failure]:
    """Note in the manifest what parts of a run left; return what failed.

    Raises:
        OutputError: a host has neither a part nor a failure.
    """
    done = set(work.done())
    failures = {unit: work.failure(unit) for unit in range(len(work.units)) if unit not in done}
    missing = [name for unit, failure in failures.items() if failure is None for name in work.units[unit]]
    if missing:
        raise OutputError(
            f"{work.out}: {len(missing):,} of its guests are not done, as '{missing[0]}'; run all parts to their end "
            "(eptreplay batch part PLAN NUMBER), and then finish it"
        )
    for unit, names in enumerate(work.units):
        failure = failures.get(unit)
        if failure is None:
            work.note("done", unit=unit, guests=names)
        else:
            work.note("failed", unit=unit, guest=failure.guest, error=failure.message())
    return [failure for failure in failures.values() if failure is not None]


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
    if not left:
        return []
    failures: list[tuple[int, Failure]] = []
    for number, failure in _outcomes(replays, work, left, execution):
        if failure is None:
            work.note("done", unit=number, guests=work.units[number])
        else:
            work.note("failed", unit=number, guest=failure.guest, error=failure.message())
            failures.append((number, failure))
    return [failure for _, failure in sorted(failures, key=itemgetter(0))]


def _outcomes(
    replays: Replays, work: Work, left: Sequence[int], execution: Execution
) -> Iterator[tuple[int, Failure | None]]:
    """Replay hosts and write their parts; yield the number of each, with what failed.

    Raises:
        OSError: a part cannot be written.
    """
    execution = replace(execution, checkpoints=checkpoints_in(work.folder, replays, execution))
    if execution.workers:
        by_name = {trace.name: trace for trace in replays.traces}
        tasks = [
            Task(unit, [by_name[name] for name in work.units[unit]], str(work.part(unit).absolute()))
            for unit in left
        ]
        threads = max(1, execution.threads * execution.guests // execution.workers)
        yield from by_processes(replays, tasks, replace(execution, threads=threads))
        return
    if replays.options.host is None:
        replays = replace(replays, traces=[replays.traces[unit] for unit in left])
    for number, unit in zip(left, units(replays, execution), strict=True):
        try:
            part = part_of(unit, replays)
        except Exception as error:  # noqa: BLE001 - whatever a guest raises costs only the guests of its host
            yield number, failure_of(unit, error)
            continue
        write_part(work.part(number), part)
        if execution.checkpoints is not None:
            execution.checkpoints.remove(unit.name)
        yield number, None
