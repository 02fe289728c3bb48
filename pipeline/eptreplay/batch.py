"""A run: guests times profiles on an executor, and the folder of results it leaves.

Every guest is decoded once and replayed under all profiles at once; several guests run side by side on
threads (kernels and decoding release the interpreter lock).  Results are collected beside the output folder
and moved there when all is done, so that a run that fails leaves nothing half-written.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay import __version__
from eptreplay.errors import TraceError
from eptreplay.host_replay import replay_host
from eptreplay.ingest.rows import BadRows
from eptreplay.output import new_output
from eptreplay.pages import make_pages
from eptreplay.partition import replay_guest
from eptreplay.report.files import TABLES_FOLDER, TableWriter, slug, write_columns_file, write_run_file
from eptreplay.report.tables import REPLAYED
from eptreplay.results import tables
from eptreplay.written import list_all, write_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from eptreplay.guest import Watcher
    from eptreplay.guest_result import GuestResult
    from eptreplay.ingest.dataset import GuestTrace
    from eptreplay.options import Options
    from eptreplay.profiles import Profile


class Jobs(NamedTuple):
    """What runs side by side: so many guests, on so many threads each."""

    guests: int
    threads: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A guest that could not be replayed, and why."""

    guest: str
    error: TraceError


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to.

    Args:
        folder: where the results are.
        guests: names of the guests that were replayed.
        failures: those that could not be.
        bad_rows: rows skipped, by guest and reason.
        unrendered: why there are no pages; None where there are.
    """

    folder: Path
    guests: tuple[str, ...]
    failures: tuple[Failure, ...]
    bad_rows: dict[str, dict[str, int]]
    unrendered: Exception | None = None


def run(
    traces: Sequence[GuestTrace],
    profiles: Sequence[Profile],
    options: Options,
    out: Path,
    *,
    overwrite: bool = False,
    jobs: int = 1,
    threads: int = 1,
    watch: Watcher | None = None,
    failed_before: Sequence[Failure] = (),
) -> RunResult:
    """Replay traces under profiles and write the result tables, and pages made from them.

    Whatever goes wrong with the pages, the tables stay: they took the time.

    Args:
        traces: one a guest.
        profiles: all of them for every guest.
        options: how to replay.
        out: folder for the results; must not exist, be empty, or be an older run with `overwrite`.
        overwrite: whether an older run may be replaced.
        jobs: guests replayed side by side, at least 1.
        threads: threads of each, at least 1.
        watch: hears of rows replayed, from several threads.
        failed_before: guests whose traces could not even be opened.

    Raises:
        OutputError: the output folder cannot be written.
        TraceError: no guest could be replayed; the first one's error.
    """
    with new_output(out, overwrite=overwrite) as work:
        guests, failures, bad_rows = _replay_all(traces, profiles, options, work, Jobs(jobs, threads), watch)
        failures = [*failed_before, *failures]
        if not guests:
            raise failures[0].error
        replayed = [trace for trace in traces if trace.name in guests]
        write_columns_file(work / TABLES_FOLDER)
        write_run_file(work, _describe(replayed, profiles, options, failures, bad_rows))
        write_list(work, list_all(work, {}))  # from here on, pages can be made even if this process is killed
        unrendered = _rendered(work)
    return RunResult(out, tuple(guests), tuple(failures), bad_rows, unrendered)


def _rendered(work: Path) -> Exception | None:
    """Make the pages of a run; return why that failed, with none left half-written."""
    try:
        make_pages(work)
    except Exception as error:  # noqa: BLE001 - any fault in a page: the tables are worth more
        return error
    return None


def _replay_all(
    traces: Sequence[GuestTrace],
    profiles: Sequence[Profile],
    options: Options,
    work: Path,
    jobs: Jobs,
    watch: Watcher | None,
) -> tuple[list[str], list[Failure], dict[str, dict[str, int]]]:
    """Replay every guest and write its rows, in the order of the guests."""
    names = [profile.name for profile in profiles]
    writers = {table.name: TableWriter(work / TABLES_FOLDER, table) for table in REPLAYED}
    guests: list[str] = []
    failures: list[Failure] = []
    bad_rows: dict[str, dict[str, int]] = {}
    try:
        for trace, future, skipped in _replays(traces, profiles, options, jobs, watch):
            try:
                result = future.result()
            except TraceError as error:
                failures.append(Failure(trace.name, error))
                continue
            for name, columns in tables(result, names, options.link).items():
                writers[name].write(columns)
            guests.append(trace.name)
            if skipped.total:
                bad_rows[trace.name] = dict(skipped.counts)
    finally:
        for writer in writers.values():
            writer.close()
    return guests, failures, bad_rows


def _in_order(
    traces: Sequence[GuestTrace],
    profiles: Sequence[Profile],
    options: Options,
    jobs: Jobs,
    watch: Watcher | None,
) -> Iterator[tuple[GuestTrace, Future[GuestResult], BadRows]]:
    """Replay guests and yield them in order; no more than twice as many as run side by side are begun before they are asked for.

    When the caller stops asking, also by an interrupt, guests that are being replayed end at their next batch.
    """
    stopped = threading.Event()

    def tell(rows: int) -> None:
        if stopped.is_set():
            raise CancelledError
        if watch is not None:
            watch(rows)

    with ThreadPoolExecutor(jobs.guests, thread_name_prefix="guest") as executor:

        def begin(trace: GuestTrace) -> tuple[GuestTrace, Future[GuestResult], BadRows]:
            skipped = BadRows()
            future = executor.submit(
                replay_guest, trace, profiles, options, jobs.threads, watch=tell, bad_rows=skipped
            )
            return trace, future, skipped

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
    watch: Watcher | None,
) -> Iterator[tuple[GuestTrace, Future[GuestResult], BadRows]]:
    """Replay guests, each on a host of its own or all on one, and yield them in order."""
    if options.host is None:
        return _in_order(traces, profiles, options, jobs, watch)
    return _together(traces, profiles, options, watch)


def _together(
    traces: Sequence[GuestTrace], profiles: Sequence[Profile], options: Options, watch: Watcher | None
) -> Iterator[tuple[GuestTrace, Future[GuestResult], BadRows]]:
    """Replay guests on one host and yield them in order.

    They share everything, so a trace that is damaged ends all of them.
    """
    skipped = {trace.name: BadRows() for trace in traces}
    for trace, result in zip(
        traces, replay_host(traces, profiles, options, watch=watch, bad_rows=skipped), strict=True
    ):
        done: Future[GuestResult] = Future()
        done.set_result(result)
        yield trace, done, skipped[trace.name]


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
        "failed": [{"guest": failure.guest, "error": str(failure.error)} for failure in failures],
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
