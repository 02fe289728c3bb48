"""Benchmarks beside the ratios to decoding: against a database, on threads, on a large guest, and what state takes."""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eptreplay.bench.measure import (
    Figure,
    cpu_seconds,
    decode,
    first_rows,
    memory_figures,
    one_core,
    peak_memory,
    ratio,
    replay_figures,
    start_figures,
)
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.ingest.synth.synthetic import Synthetic, write_synthetic
from eptreplay.model._numba.arrays import arrays_in
from eptreplay.model._numba.pointer import arrays_of
from eptreplay.model.instances import GuestMemory
from eptreplay.model.state.state import State
from eptreplay.profiles import resolve
from eptreplay.replay.driver.drive import drive
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.driver.warm_up import warm_up
from eptreplay.replay.one_guest import replay_trace
from eptreplay.replay.rows.in_order import guest_rows
from eptreplay.replay.rows.span import Span, interval_schedules
from eptreplay.replay.state.guest_memory import guest_ram_pages
from eptreplay.request.options import Options, TlbOptions
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.trace.guest_trace import GuestTrace

GUESTS = 4
LARGE_BYTES = 64 << 30
LARGE_ROWS = 10_000_000
STATE_PAGES = 1 << 20

ROWS_AS_PAGES = "with rows as (select (time - $begin) // $step as interval, gpa // 4096 as page, op from read_parquet($file))"
QUERIES = (
    "select interval, count(distinct page) from rows group by interval",
    "select interval, count(distinct page) from rows where op = 1 group by interval",
    "select page, max(interval) from rows group by page",
)


def database_figures(label: str, trace: GuestTrace, runs: int) -> list[Figure]:
    """Return what DuckDB takes for three queries that a replay answers by the way, as a multiple of the whole replay.

    The queries: distinct pages by interval, distinct pages written by interval, and the last touch of every page.
    """
    if find_spec("duckdb") is None or len(trace.files) != 1:
        return []
    profile = [resolve("ept-ad")]
    figure = ratio(
        f"{label}: three queries by DuckDB / the whole replay",
        trace.rows,
        lambda: _query(trace),
        lambda: replay_trace(trace, profile, Options(decode_ahead=False)),
        bar=5.0,
        runs=max(1, runs // 2),
        at_least=True,
    )
    return [figure]


def _query(trace: GuestTrace) -> None:
    """Ask DuckDB, on one thread, what the interval statistics of a replay say; all of it from the file."""
    import duckdb  # noqa: PLC0415 - the bench extra: nothing else needs it

    cuts = [
        time for schedule in interval_schedules(Span.of(trace), Options()) for time in schedule.times or ()
    ]
    step = (cuts[-1] - cuts[0]) / max(1, len(cuts) - 1) if cuts else 1
    begin = trace.first_time or 0
    connection = duckdb.connect(config={"threads": 1})
    parameters = {"begin": begin, "step": max(1, int(step)), "file": str(trace.files[0])}
    for query in QUERIES:
        connection.execute(f"{ROWS_AS_PAGES} {query}", parameters).fetchnumpy()


def thread_figures(trace: GuestTrace, runs: int) -> list[Figure]:
    """Return the wall time of four guests on two threads as a multiple of that on one."""
    profile = [resolve("ept-ad")]

    def wall(threads: int) -> float:
        before = time.perf_counter()
        with ThreadPoolExecutor(threads) as executor:
            list(
                executor.map(
                    lambda _: replay_trace(trace, profile, Options(decode_ahead=False)), range(GUESTS)
                )
            )
        return time.perf_counter() - before

    ratios = [wall(2) / wall(1) for _ in range(max(2, runs // 2))]
    return [
        Figure(
            "four guests on two threads / on one, wall",
            statistics.median(ratios),
            "ratio",
            0.6,
            min(ratios),
            max(ratios),
        )
    ]


def large_figures(folder: Path, runs: int) -> list[Figure]:
    """Return what a guest of 64 GiB with uniformly random accesses costs, TLBs included.

    The first time over the trace most rows are first accesses to a page, which fault and are the model's work; the
    second time none are.
    """
    path = folder / "uniform-64GiB.parquet"
    write_synthetic(path, Synthetic(rows=LARGE_ROWS, memory_bytes=LARGE_BYTES, distribution="uniform"))
    trace = open_trace(path)
    options = Options(intervals=1, tlb=TlbOptions(), decode_ahead=False)
    replay = Replay([resolve("haswell")], [GuestMemory(guest_ram_pages(trace), trace.vcpus)], tlb=options.tlb)

    def once_over() -> None:
        for _ in drive(replay, guest_rows(trace, (), options), ()):
            pass

    with one_core():
        decoding = cpu_seconds(lambda: decode(trace, options))
        first = cpu_seconds(once_over) / decoding
    again = ratio(
        "uniform, 64 GiB, all pages touched before: one profile with TLBs / decode",
        trace.rows,
        once_over,
        lambda: decode(trace, options),
        bar=3.0,
        runs=max(2, runs // 2),
    )
    path.unlink()
    return [
        Figure(
            "uniform, 64 GiB, first accesses: one profile with TLBs / decode",
            first,
            "ratio",
            None,
            first,
            first,
        ),
        again,
    ]


def state_figures(folder: Path) -> list[Figure]:
    """Return the bytes of memory that a page takes in a profile, and those that all profiles share."""
    replay = Replay([resolve("ept-ad")], [GuestMemory(np.array([[0, STATE_PAGES]], np.int64), 1)])
    shared = replay.states.fast_path.nbytes + sum(
        array.nbytes for array in arrays_of(replay.statistics).values()
    )
    path = folder / "every-page.parquet"
    write_synthetic(
        path, Synthetic(rows=8 * STATE_PAGES, memory_bytes=STATE_PAGES * PAGE_BYTES, distribution="uniform")
    )
    trace = open_trace(path)
    used = len(replay_trace(trace, [resolve("ept-ad")], Options(intervals=1)).page)
    by_field = sum(arrays_in(State)[name].dtype.itemsize for name in ("page", "pv", "pt", "object"))
    one, three = (peak_memory(path, ("ept-ad",) * profiles) for profiles in (1, 3))
    path.unlink()
    return [
        Figure("state of a guest page in use and profile, by its fields", by_field, "B", 48.0),
        Figure("memory that a guest page in use takes in one more profile", (three - one) / 2 / used, "B"),
        Figure("state a guest page that all profiles share", shared / STATE_PAGES, "B"),
    ]


def run(traces: Sequence[Path], runs: int) -> list[Figure]:
    """Measure everything; the first trace also serves for start-up, threads and memory.

    Args:
        traces: Parquet files in the native format.
        runs: counted runs of each pair.
    """
    warm_up()
    figures: list[Figure] = []
    for path in traces:
        trace = open_trace(path)
        figures += replay_figures(path.name, trace, runs)
        figures += database_figures(path.name, trace, runs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short = folder / "short.parquet"
        first_rows(traces[0], short, 1000)
        figures += start_figures(short, runs)
        figures += memory_figures(traces[0], folder)
        figures += large_figures(folder, runs)
        figures += state_figures(folder)
    return figures + thread_figures(open_trace(traces[0]), runs)
