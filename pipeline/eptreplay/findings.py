"""From the books of a replay to the rows of the tables of report/analysis_tables.py; docs/analysis.md has the rules."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.analysis.distribution import percentiles, window_lengths
from eptreplay.analysis.history import History, Repeated
from eptreplay.analysis.migration import Guest, Migration, migrate, smallest_bandwidth
from eptreplay.analysis.miss_ratio import from_distances, from_intervals
from eptreplay.model.books import PAGES_TOUCHED, PAGES_WRITTEN, REGIONS_WRITTEN
from eptreplay.model.reuse import bucket_starts
from eptreplay.snapshots import stacked
from eptreplay.units import NANOSECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.analysis.migration import Link
    from eptreplay.analysis.miss_ratio import Curve
    from eptreplay.guest import GuestResult

Columns = dict[str, Any]

PAGE_BYTES = 4096
SUPERPAGE_BYTES = 1 << 21
MIB = 1 << 20
JOINED_INTERVALS = 1024
"""The most intervals that migrations and miss ratios are estimated with; more are joined."""

DIRTY_COUNTERS = {
    "dirty_bits_4k": "dirty_bits_4k",
    "dirty_bits_2m": "dirty_bits_2m",
    "pml_entries": "pml_entries",
    "pml_exits": "pml_exits",
    "harvests": "harvests",
    "harvest_pages": "dirty_all_harvests",
    "harvest_demotions": "harvest_demotions",
    "harvest_invalidations": "harvest_invalidations",
    "harvest_ipis": "harvest_ipis",
    "refaults": "refaults",
    "repromotions": "repromotions",
}
"""Columns of the table `dirty`, and the model's counters they come from."""

PERCENTILE_NAMES = ("p0", "p25", "p50", "p75", "p100")


VERDICT_NAMES = (
    "page_bytes",
    "gbit_per_second",
    "downtime_target_s",
    "converges",
    "verdict",
    "rounds",
    "total_s",
    "downtime_s",
    "sent_bytes",
    "trace_lengths",
    "smallest_gbit_per_second",
    "failed_round",
    "failed_bytes",
    "lost_bytes",
    "retry_bytes",
)
ROUND_NAMES = (
    "page_bytes",
    "gbit_per_second",
    "round",
    "paused",
    "start_s",
    "duration_s",
    "sent_bytes",
    "dirtied_bytes",
)


def findings(result: GuestResult, link: Link) -> dict[str, Columns]:
    """Return the rows of the tables that are the same under every profile, as columns by table name."""
    times = Times(result)
    touched, written, regions = (
        history(result, number) for number in (PAGES_TOUCHED, PAGES_WRITTEN, REGIONS_WRITTEN)
    )
    rates = _rates(result, times)
    return {
        "heatmap": _heatmap(result),
        "writers": _writers(result, rates),
        "dirty_rate": _dirty_rate(result, rates),
        "working_set": _working_set(result.trace.name, {"touched": touched, "written": written}, times),
        "idle_age": _idle_age(result, times),
        "miss_ratio": _miss_ratio(result, touched),
        **_migrations(result, {PAGE_BYTES: written, SUPERPAGE_BYTES: regions}, times, link),
    }


class Times:
    """Lengths of a trace and its intervals, in seconds; None where they are not known, or nothing passes."""

    def __init__(self, result: GuestResult) -> None:
        """Look at where the intervals were cut."""
        ends = [snapshot.time for snapshot in result.snapshots]
        bounds = [result.interval_start, *ends]
        known = [bound for bound in bounds if bound is not None]
        unit = NANOSECONDS.get(result.trace.time_unit)
        self.span: Fraction | None = None
        self.intervals: NDArray[np.float64] | None = None
        if unit is not None and len(known) == len(bounds) and known[-1] > known[0]:
            self.span = Fraction((known[-1] - known[0]) * unit, 10**9)
            self.intervals = np.diff(np.array(known, np.float64)) * unit / 1e9
        self._count = len(ends)

    def seconds(self, intervals: int) -> float | None:
        """Return how long a number of intervals is."""
        return None if self.span is None else float(self.span * intervals / self._count)


def history(result: GuestResult, number: int) -> History:
    """Return one of the histories in the books of a replay."""
    returns = [snapshot.books.returns[number] for snapshot in result.snapshots]
    if number == REGIONS_WRITTEN:
        lives = result.regions
        first, last, weight = lives.first_write, lives.last_write, lives.pages
    elif number == PAGES_WRITTEN:
        lives = result.touches[result.touches.last_write != 0]
        first, last, weight = lives.first_write, lives.last_write, np.ones(len(lives))
    else:
        ends = np.array([snapshot.rows for snapshot in result.snapshots])
        first = np.searchsorted(ends, result.first_row, side="right") + 1
        last, weight = result.touches.last_touch, np.ones(len(first))
    return History(
        intervals=len(returns),
        at=np.repeat(np.arange(len(returns)), [len(one.before) for one in returns]),
        before=_joined([one.before for one in returns]) - 1,
        pages=_joined([one.pages for one in returns]),
        first=first.astype(np.int64) - 1,
        last=last.astype(np.int64) - 1,
        weight=weight.astype(np.int64),
    )


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Return arrays one after the other, as 64-bit integers."""
    return np.concatenate([*parts, np.zeros(0)]).astype(np.int64)


# ---- what was touched --------------------------------------------------------------------------


def _heatmap(result: GuestResult) -> Columns:
    """Stretches of addresses in every interval."""
    books = [snapshot.books for snapshot in result.snapshots]
    stretch = _joined([book.stretch for book in books])
    heat = np.concatenate([book.heat for book in books]).astype(np.int64)
    stretch_bytes = result.stretch_pages * PAGE_BYTES
    return {
        "guest": [result.trace.name] * len(stretch),
        "interval": np.repeat(np.arange(len(books)), [len(book.stretch) for book in books]),
        "gpa_start": stretch.astype(np.uint64) * np.uint64(stretch_bytes),
        "bytes": [stretch_bytes] * len(stretch),
        "pages_read": heat[:, 0],
        "pages_written": heat[:, 1],
        "pages_fetched": heat[:, 2],
        "pages_touched": heat[:, 3],
    }


def _working_set(name: str, histories: dict[str, History], times: Times) -> Columns:
    """Distinct pages in windows of every length."""
    rows = []
    for kind, past in histories.items():
        for length in window_lengths(past.intervals):
            sizes = past.windows(length) * PAGE_BYTES
            rows.append(
                (kind, length, times.seconds(length), len(sizes), float(sizes.mean()), *percentiles(sizes))
            )
    names = ["kind", "window_intervals", "window_s", "windows", "mean_bytes"]
    names += [f"{percentile}_bytes" for percentile in PERCENTILE_NAMES]
    return {"guest": [name] * len(rows)} | _transposed(rows, names)


def _idle_age(result: GuestResult, times: Times) -> Columns:
    """Pages by how long before the end they were last touched."""
    count = len(result.snapshots)
    age = count - result.touches.last_touch.astype(np.int64)
    pages = np.bincount(age, minlength=count)
    written = np.bincount(age[result.touches.last_write != 0], minlength=count)
    ages: list[int | None] = [int(number) for number in np.flatnonzero(pages)]
    touched = [int(pages[number]) for number in ages]
    dirty = [int(written[number]) for number in ages]
    # What was last touched in interval i was idle from some moment in it on: at least through the intervals after.
    idle = [times.seconds(number) for number in ages if number is not None]
    untouched = result.trace.ram_pages - len(result.touches)
    if untouched:
        ages, touched, dirty, idle = [*ages, None], [*touched, untouched], [*dirty, 0], [*idle, None]
    return {
        "guest": [result.trace.name] * len(ages),
        "age_intervals": ages,
        "idle_s": idle,
        "pages": touched,
        "pages_written": dirty,
        "bytes": [count * PAGE_BYTES for count in touched],
    }


def _miss_ratio(result: GuestResult, touched: History) -> Columns:
    """Miss ratios by size of memory, from the books and, if they were asked for, from distances of reuse."""
    tally = stacked([snapshot.books.tally for snapshot in result.snapshots])[:, 0]
    every = tally["reads"] + tally["writes"] + tally["fetches"]
    accesses = int(every[-1])
    curves = [("intervals", 1.0, _bounds(touched, every))]
    if result.reuse is not None:
        found = result.reuse
        rate = 1 / float(found.state.weight[0])
        curve = from_distances(bucket_starts(), found.distances, found.first, accesses, rate)
        curves.append((str(result.mrc), rate, curve))
    return {
        "guest": [result.trace.name] * sum(len(curve.pages) for _, _, curve in curves),
        "method": [method for method, _, curve in curves for _ in curve.pages],
        "memory_bytes": np.concatenate([curve.pages for _, _, curve in curves]) * PAGE_BYTES,
        "miss_ratio": np.concatenate([curve.miss_ratio for _, _, curve in curves]),
        "error": np.concatenate([curve.error for _, _, curve in curves]),
        "sampling_rate": [rate for _, rate, curve in curves for _ in curve.pages],
        "accesses": [accesses for _, _, curve in curves for _ in curve.pages],
    }


def _bounds(touched: History, accesses: NDArray[np.int64]) -> Curve:
    """Return what the books say of miss ratios; `accesses` are cumulative, by interval."""
    coarser = touched.coarser(JOINED_INTERVALS)
    joined = -(-touched.intervals // coarser.intervals)
    ends = np.append(accesses, accesses[-1:].repeat(joined))[joined - 1 :: joined][: coarser.intervals]
    return from_intervals(bucket_starts(), coarser, np.diff(ends, prepend=0))


# ---- what was dirtied --------------------------------------------------------------------------


def dirty_table(result: GuestResult, profiles: Sequence[str]) -> Columns:
    """Return the rows of the table `dirty`; `profiles` are names, in the order of the replay."""
    snapshots = result.snapshots
    tally = stacked([snapshot.books.tally for snapshot in snapshots])[:, 0]
    every = len(profiles)
    columns: Columns = {
        "guest": [result.trace.name] * (len(snapshots) * every),
        "profile": [name for name in profiles for _ in snapshots],
        "interval": list(range(len(snapshots))) * every,
        "pages_written": np.tile(tally["written"], every),
        "regions_written": np.tile(tally["regions"], every),
        "pages_in_regions": np.tile(tally["region_pages"], every),
        "harvest_written": np.tile(np.diff(tally["harvest_written"], prepend=0), every),
    }
    cnt = stacked([snapshot.cnt for snapshot in snapshots])
    for name, counter in DIRTY_COUNTERS.items():
        columns[name] = np.diff(cnt[counter], axis=0, prepend=0).T.reshape(-1)
    logs = np.repeat(np.array(result.pml, bool), len(snapshots))
    for name in ("pml_entries", "pml_exits"):
        columns[name] = np.ma.masked_array(columns[name], ~logs)
    return columns


def _rates(result: GuestResult, times: Times) -> dict[tuple[str, int | None], tuple[Any, Any]]:
    """Return for every writer the pages it wrote first, and its rate in MiB/s (None: not known), by interval."""
    pages = np.stack([snapshot.books.first_writes for snapshot in result.snapshots])
    rate = None if times.intervals is None else pages * (PAGE_BYTES / MIB) / times.intervals[:, None]
    return {
        ("guest", vcpu): (pages[:, vcpu], None if rate is None else rate[:, vcpu])
        for vcpu in range(pages.shape[1])
    }


def _writers(result: GuestResult, rates: dict[tuple[str, int | None], tuple[Any, Any]]) -> Columns:
    """Who wrote how much in every interval."""
    rows = [
        (interval, writer, vcpu, int(pages[interval]), None if rate is None else float(rate[interval]))
        for (writer, vcpu), (pages, rate) in rates.items()
        for interval in np.flatnonzero(pages).tolist()
    ]
    rows.sort(key=lambda row: row[0])
    names = ("interval", "writer", "vcpu", "pages_written", "mib_per_second")
    return {"guest": [result.trace.name] * len(rows)} | _transposed(rows, names)


def _dirty_rate(result: GuestResult, rates: dict[tuple[str, int | None], tuple[Any, Any]]) -> Columns:
    """How the dirty rate of every writer, and of all together, is distributed over the intervals."""
    known = [rate for _, rate in rates.values() if rate is not None]
    together = {("all", None): sum(known) if known else None}
    rows = []
    for (writer, vcpu), rate in (together | {who: rate for who, (_, rate) in rates.items()}).items():
        figures: tuple[float | None, ...] = (None,) * 7
        if rate is not None:
            figures = (float(rate.mean()), float(rate.var()), *percentiles(rate))
        rows.append((writer, vcpu, len(result.snapshots), *figures))
    names = ["writer", "vcpu", "intervals", "mean_mib_per_second", "variance"]
    names += [f"{percentile}_mib_per_second" for percentile in PERCENTILE_NAMES]
    return {"guest": [result.trace.name] * len(rows)} | _transposed(rows, names)


# ---- migration ---------------------------------------------------------------------------------


def _migrations(
    result: GuestResult, written: dict[int, History], times: Times, link: Link
) -> dict[str, Columns]:
    """Migrations over every bandwidth at either granularity, and their rounds."""
    verdicts: list[tuple[Any, ...]] = []
    rounds: list[tuple[Any, ...]] = []
    if times.span is not None:
        for page_bytes, past in written.items():
            dirty = Repeated(past.coarser(JOINED_INTERVALS))
            guest = Guest(result.trace.ram_pages * PAGE_BYTES, dirty, times.span)
            smallest = smallest_bandwidth(guest, link.downtime_ns)
            for bandwidth in link.bandwidths:
                found = migrate(guest, bandwidth, link.downtime_ns)
                verdicts.append(
                    (page_bytes, *_verdict(found, times.span, link), _gbit(smallest), *_failure(found))
                )
                rounds += [(page_bytes, *row) for row in _rounds(found)]
    name = result.trace.name
    return {
        "migrations": {"guest": [name] * len(verdicts)} | _transposed(verdicts, VERDICT_NAMES),
        "migration_rounds": {"guest": [name] * len(rounds)} | _transposed(rounds, ROUND_NAMES),
    }


def _gbit(bandwidth: int | None) -> float | None:
    """Return a bandwidth in Gbit/s."""
    return None if bandwidth is None else bandwidth / 10**9


def _verdict(found: Migration, span: Fraction, link: Link) -> tuple[Any, ...]:
    """Return the columns of `migrations` from the bandwidth to trace_lengths."""
    total = found.seconds(found.sent_bytes)
    verdict = "diverges"
    if found.converges:
        verdict = "converges" if total <= span else "repeats"
    return (
        _gbit(found.bandwidth),
        link.downtime_ns / 1e9,
        found.converges,
        verdict,
        len(found.rounds),
        total,
        found.seconds(found.left_bytes),
        found.sent_bytes,
        total / float(span),
    )


def _failure(found: Migration) -> tuple[int, int, int, int]:
    """Return the columns of `migrations` about a link that fails."""
    return len(found.rounds) - 1, found.rounds[-1].sent_bytes, found.lost_bytes, found.retry_bytes


def _rounds(found: Migration) -> list[tuple[Any, ...]]:
    """Return the rows of `migration_rounds` of one migration."""
    rows = [
        (number, False, done.start_bytes, done.sent_bytes, done.dirtied_bytes)
        for number, done in enumerate(found.rounds)
    ]
    if found.converges:
        rows.append((len(rows), True, found.sent_bytes - found.left_bytes, found.left_bytes, 0))
    return [
        (_gbit(found.bandwidth), number, paused, found.seconds(start), found.seconds(sent), sent, dirtied)
        for number, paused, start, sent, dirtied in rows
    ]


def _transposed(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> Columns:
    """Return rows as columns by name."""
    return {name: [row[position] for row in rows] for position, name in enumerate(names)}
