"""A run: guests times profiles on an executor, and the folder of results it leaves.

Every guest is decoded once and replayed under all profiles at once; several guests run side by side on
threads (kernels and decoding release the interpreter lock).  Results are collected beside the output folder
and moved there when all is done, so that a run that fails leaves nothing half-written.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay import __version__
from eptreplay.errors import OutputError, SharedHostError
from eptreplay.ingest.native.rows import BadRows
from eptreplay.replay.one_host import replay_host
from eptreplay.replay.shares.replay import replay_guest
from eptreplay.results.tables import tables
from eptreplay.run.failures import Failure, forget_locals, no_guest, write_details
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


class Jobs(NamedTuple):
    """What runs side by side: so many guests, on so many threads each."""

    guests: int
    threads: int


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to.

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
    traces: Sequence[GuestTrace],
    profiles: Sequence[Profile],
    options: Options,
    out: Path,
    *,
    overwrite: bool = False,
    jobs: int = 1,
    threads: int = 1,
    on_rows: OnRows | None = None,
    on_page: OnPage | None = None,
    failed_before: Sequence[Failure] = (),
) -> RunResult:
    """Replay traces under profiles and write the result tables, and pages made from them.

    Whatever a guest raises costs that guest, or all of its host; the others are replayed.  Whatever goes wrong with
    the pages, the tables stay: they took the time.

    Args:
        traces: one a guest.
        profiles: all of them for every guest.
        options: how to replay.
        out: folder for the results; must not exist, be empty, or be an older run with `overwrite`.
        overwrite: whether an older run may be replaced.
        jobs: guests replayed side by side, at least 1.
        threads: threads of each, at least 1.
        on_rows: hears of rows replayed, from several threads.
        on_page: hears of pages made.
        failed_before: guests whose traces could not even be opened.

    Raises:
        OutputError: the output folder cannot be written.
        EptReplayError: no guest could be replayed; the error of the only one, or one that names all.
    """
    if failed_before and options.host is not None:
        lost = len(traces) + len(failed_before)
        raise no_guest([replace(failure, host=lost) for failure in failed_before])
    with new_output(out, overwrite=overwrite) as work:
        guests, failures, bad_rows = _replay_all(
            traces, profiles, options, work, Jobs(jobs, threads), on_rows
        )
        failures = [*failed_before, *failures]
        if not guests:
            raise no_guest(failures)
        failures = [_with_details(work, failure) for failure in failures]
        replayed = [trace for trace in traces if trace.name in guests]
        write_columns_file(work / TABLES_FOLDER)
        write_run_file(work, _describe(replayed, profiles, options, failures, bad_rows))
        write_list(work, list_all(work, {}))  # from here on, pages can be made even if this process is killed
        unrendered, pageless = _rendered(work, jobs * threads, on_page)
    return RunResult(out, tuple(guests), tuple(failures), bad_rows, unrendered, pageless)


def _with_details(work: Path, failure: Failure) -> Failure:
    """Keep in the folder of the run where a fault of eptreplay itself occurred."""
    if not failure.is_our_fault:
        return failure
    return replace(failure, details=write_details(work, f"{slug(failure.guest)}.txt", failure.error))


def _rendered(
    work: Path, workers: int, on_page: OnPage | None
) -> tuple[Exception | None, tuple[Unrendered, ...]]:
    """Make the pages of a run; return why that failed, with none left half-written, and which guests have no page."""
    try:
        return None, tuple(make_pages(work, workers=workers, on_page=on_page))
    except Exception as error:  # noqa: BLE001 - any fault in a page: the tables are worth more
        return error, ()


class Unit(NamedTuple):
    """Guests that are replayed, fail and are written together: those of a host, most often one."""

    traces: Sequence[GuestTrace]
    results: Future[list[GuestResult]]
    skipped: Sequence[BadRows]


def _replay_all(
    traces: Sequence[GuestTrace],
    profiles: Sequence[Profile],
    options: Options,
    work: Path,
    jobs: Jobs,
    on_rows: OnRows | None,
) -> tuple[list[str], list[Failure], dict[str, dict[str, int]]]:
    """Replay every guest and write its rows, in the order of the guests.

    Raises:
        OutputError: a table cannot be written.
    """
    names = [profile.name for profile in profiles]
    guests: list[str] = []
    failures: list[Failure] = []
    bad_rows: dict[str, dict[str, int]] = {}
    with _writers(work) as writers:
        for unit in _replays(traces, profiles, options, jobs, on_rows):
            try:
                found = _rows(unit, names, options, writers)
            except Exception as error:  # noqa: BLE001 - whatever a guest raises costs no other host's
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
    """Give what writes the tables; finish them at the end.

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


def _rows(
    unit: Unit, profiles: Sequence[str], options: Options, writers: Mapping[str, TableWriter]
) -> list[dict[str, pa.Table]]:
    """Return the rows of all tables for every guest of a unit, before any of them is written."""
    found = []
    for trace, result in zip(unit.traces, unit.results.result(), strict=True):
        try:
            columns = tables(result, profiles, options.link)
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
    first, *others = (trace.name for trace in unit.traces)
    if isinstance(error, SharedHostError):
        return Failure(error.guest, error.error, len(unit.traces))
    return Failure(f"{first} and {len(others)} more on its host" if others else first, error)


def _in_order(
    traces: Sequence[GuestTrace],
    profiles: Sequence[Profile],
    options: Options,
    jobs: Jobs,
    on_rows: OnRows | None,
) -> Iterator[Unit]:
    """Replay guests and yield them in order; no more than twice as many as run side by side are begun before they are asked for.

    When the caller stops asking, also by an interrupt, guests that are being replayed end at their next batch.
    """
    stopped = threading.Event()

    def tell(rows: int) -> None:
        if stopped.is_set():
            raise CancelledError
        if on_rows is not None:
            on_rows(rows)

    with ThreadPoolExecutor(jobs.guests, thread_name_prefix="guest") as executor:

        def replay(trace: GuestTrace, skipped: BadRows) -> list[GuestResult]:
            return [replay_guest(trace, profiles, options, jobs.threads, on_rows=tell, bad_rows=skipped)]

        def begin(trace: GuestTrace) -> Unit:
            skipped = BadRows()
            return Unit([trace], executor.submit(replay, trace, skipped), [skipped])

        waiting = iter(traces)
        begun = deque(map(begin, islice(waiting, 2 * jobs.guests)))
        try:
            while begun:
                yield begun.popleft()
                begun.extend(map(begin, islice(waiting, 1)))
        finally:
            stopped.set()
            executor.shutdown(cancel_futures=True)


def _replays(
    traces: Sequence[GuestTrace],
    profiles: Sequence[Profile],
    options: Options,
    jobs: Jobs,
    on_rows: OnRows | None,
) -> Iterator[Unit]:
    """Replay guests, each on a host of its own or all on one, and yield them in order."""
    if options.host is None:
        return _in_order(traces, profiles, options, jobs, on_rows)
    return iter([_together(traces, profiles, options, on_rows)])


def _together(
    traces: Sequence[GuestTrace], profiles: Sequence[Profile], options: Options, on_rows: OnRows | None
) -> Unit:
    """Replay guests on one host.

    They share everything, so a trace that is damaged ends all of them.
    """
    skipped = {trace.name: BadRows() for trace in traces}
    done: Future[list[GuestResult]] = Future()
    try:
        done.set_result(replay_host(traces, profiles, options, on_rows=on_rows, bad_rows=skipped))
    except Exception as error:  # noqa: BLE001 - told when the results are asked for
        done.set_exception(error)
    return Unit(traces, done, list(skipped.values()))


def _describe(
    traces: Sequence[GuestTrace],
    profiles: Sequence[Profile],
    options: Options,
    failures: Sequence[Failure],
    bad_rows: dict[str, dict[str, int]],
) -> dict[str, Any]:
    """Return what was replayed, and how, for run.json."""
    return {
        "eptreplay": __version__,
        "options": {
            "policy": str(options.policy),
            "every": None if options.every is None else str(options.every),
            "intervals": options.intervals,
            "page_accesses": options.page_accesses,
            "mrc": str(options.mrc),
            "tlb": None
            if options.tlb is None
            else {"guest_large": options.tlb.guest_large, "structures": options.tlb.structures},
            "bandwidths": list(options.link.bandwidths),
            "downtime_ns": options.link.downtime_ns,
            "on_bad_rows": options.on_bad_rows,
        },
        "host": None if options.host is None else options.host.described(),
        "guests": [_describe_guest(trace, bad_rows.get(trace.name, {})) for trace in traces],
        "failed": [{"guest": failure.guest, "error": failure.told()} for failure in failures],
        "profiles": [
            {
                "name": profile.name,
                "slug": slug(profile.name),
                "title": profile.title,
                "vendor": profile.vendor,
                "entries": profile.pmap_type.name,
                "flags": [flag.name for flag in profile.pmap_flags],
                "assumptions": list(profile.assumptions),
                "costs": {
                    name: {"value": fact.value, "status": str(fact.status)}
                    for name, fact in profile.costs.items()
                    if isinstance(fact.value, (int, float))
                },
            }
            for profile in profiles
        ],
    }


def _describe_guest(trace: GuestTrace, bad_rows: dict[str, int]) -> dict[str, Any]:
    """Return what there is to say of a guest's trace."""
    known = ("kind", "workload", "kernel", "capture", "rows_are")
    return {
        "name": trace.name,
        "slug": slug(trace.name),
        "files": [path.name for path in trace.files],
        "rows": trace.rows,
        "vcpus": trace.vcpus,
        "time_unit": trace.time_unit,
        "memory_pages": trace.ram_pages,
        "segments": [{"gpa": s.gpa, "bytes": s.bytes, "kind": s.kind} for s in trace.segments],
        "about": {key: trace.metadata[key] for key in known if key in trace.metadata},
        "bad_rows": bad_rows,
        "verified_by": str(trace.verified_by),
    }
