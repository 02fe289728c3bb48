"""How much memory the guest needs: working set, idle memory, miss ratio."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from eptreplay.report.answers.need import basis, by_size, curves, first_touches, needed
from eptreplay.report.charts.bar_charts import bar_chart
from eptreplay.report.charts.chart import Caption
from eptreplay.report.charts.curve_charts import Points, curve_chart
from eptreplay.report.charts.lines import Series
from eptreplay.report.read.frames import ordered, rows_where, rows_with
from eptreplay.report.read.numbers import MIB, count, rate, seconds
from eptreplay.report.read.scales import Tick
from eptreplay.report.sections.parts import Cell, Grid, Head, Part
from eptreplay.units import PAGE_BYTES, binary_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

    from eptreplay.report.charts.chart import Chart
    from eptreplay.report.sections.parts import Context

PERCENTILES = (
    ("p100_bytes", "most"),
    ("p75_bytes", "75 %"),
    ("p50_bytes", "median"),
    ("p25_bytes", "25 %"),
    ("p0_bytes", "least"),
)
KINDS = (
    ("touched", "Working set", "Memory touched in a window of time"),
    ("written", "Written working set", "Memory written in a window of time"),
)


def working_set(context: Context) -> Part:
    """Return the working set by length of window."""
    return Part(charts=[_windows(context, *kind) for kind in KINDS])


def _windows(context: Context, kind: str, title: str, about: str) -> Chart:
    frame = context.guest.frame("working_set")
    frame = ordered(rows_where(frame, frame["kind"] == kind), "window_intervals")
    ident = f"working-set-{kind}"
    link = context.files.frame(ident, frame)
    timed = frame["window_s"].null_count() == 0
    labels = [
        seconds(row["window_s"]) if timed else str(row["window_intervals"])
        for row in frame.iter_rows(named=True)
    ]
    return bar_chart(
        Caption(
            ident,
            title,
            "MiB",
            f"{about}: of all windows of that length, one beginning with every interval, the percentiles 0, 25, 50, 75 and 100.",
            link,
        ),
        [
            Series(name, frame[column].to_numpy() / MIB, style=number)
            for number, (column, name) in enumerate(PERCENTILES)
        ],
        labels,
        "length of the window" if timed else "length of the window, intervals",
    )


def idle(context: Context) -> Part:
    """Return how long memory had been idle at the end."""
    guest = context.guest
    frame = guest.frame("idle_age")
    link = context.files.frame("idle_age", frame)
    frame = ordered(rows_with(frame, "age_intervals"), "age_intervals")
    if frame.is_empty():
        return Part(texts=["The trace touched no memory."])
    edges = age_edges(guest.intervals)
    step = guest.interval_seconds
    bins = np.searchsorted(edges, frame["age_intervals"].to_numpy(), side="right") - 1
    labels = [_age(low, step) for low in edges]
    scale = PAGE_BYTES / MIB
    sums = [
        scale * np.bincount(bins, frame[name].to_numpy(), len(edges)).astype(np.float64)
        for name in ("pages", "pages_written")
    ]
    older = [np.cumsum(of[::-1])[::-1] for of in sums]
    unit = "idle at least so long at the end of the trace" + ("" if step else ", intervals")
    return Part(
        charts=[
            bar_chart(
                Caption(
                    "idle-histogram",
                    "Idle age",
                    "MiB",
                    "Memory by the time since its last touch, at the end of the trace; a bar spans from its mark to the next, and the "
                    "first one is the last interval. Memory never touched is not in it. Written memory costs a write to reclaim.",
                    link,
                ),
                _both(sums),
                labels,
                unit,
            ),
            bar_chart(
                Caption(
                    "idle-memory",
                    "Cold memory",
                    "MiB",
                    "Touched memory that had been idle at least so long at the end of the trace: what could be reclaimed by then.",
                    link,
                ),
                _both(older),
                labels,
                unit,
            ),
        ]
    )


def _both(values: Sequence[NDArray[np.float64]]) -> list[Series]:
    return [Series("touched", values[0], style=0), Series("of that, ever written", values[1], style=1)]


def age_edges(intervals: int) -> list[int]:
    """Return the first age of every bin of the histogram, in intervals: 0, 1, 2, 4, 8 ... below `intervals`."""
    edges = [0]
    while (following := max(1, 2 * edges[-1])) < intervals:
        edges.append(following)
    return edges


def _age(low: int, step: float | None) -> str:
    return str(low) if step is None else seconds(low * step)


METHODS = {
    "exact": "every access counted",
    "shards": "from a sample of the pages",
    "intervals": "between bounds that follow from the pages of each interval",
}
TARGETS = (1, 10, 100, 1000, 10_000)
"""Misses per million accesses, beyond first touches, that the table asks for."""


def miss_ratio(context: Context) -> Part:
    """Return how often the guest would miss with less memory, and how much it needs."""
    guest = context.guest
    parts = curves(guest)
    if not parts:
        return Part(texts=["The trace has no access to memory."])
    link = context.files.frame("miss_ratio", by_size(guest))
    return Part(
        charts=[_curve(link, *next(iter(parts.items())))],
        grids=[_needs(link, parts)],
        texts=[_sentence(parts, guest.any_summary["pages_touched"])],
        columns=1,
    )


def _sentence(parts: dict[str, pl.DataFrame], pages_touched: int) -> str:
    """Return, as a sentence, how much memory the guest needs."""
    return (
        f"It needs {needed(parts)}: with that at most one access in a million would miss beyond first touches, which are "
        f"{rate(1e6 * first_touches(parts))} in a million. {basis(parts, pages_touched)}"
    )


def _curve(link: str, method: str, part: pl.DataFrame) -> Chart:
    """Return the most exact curve, with the bounds around it."""
    sizes = part["memory_bytes"].to_numpy()
    accesses = count(int(part["accesses"][0]), "access", "accesses")
    caption = Caption(
        "miss-ratio",
        "Miss ratio",
        "misses per million accesses",
        "Accesses that would miss, first touches included, if the guest had so much memory and the least recently used "
        f"page were always replaced. Over {accesses}.",
        link,
        f"{METHODS[method].capitalize()}{_error(method, part)}.",
    )
    series = [
        Series(name, values, style=number) for number, (name, values) in enumerate(_lines(method, part))
    ]
    labels = [binary_size(int(size)) for size in sizes]
    points = Points(size_places(sizes, sizes), labels, size_ticks(sizes), "memory (log scale)")
    return curve_chart(caption, series, points, log=True)


def _lines(method: str, part: pl.DataFrame) -> list[tuple[str, NDArray[np.float64]]]:
    """Return the lines of a method, per million accesses: its ratio, and the bounds around it."""
    ratio, error = (1e6 * part[name].to_numpy() for name in ("miss_ratio", "error"))
    bounds = [("at most", np.minimum(ratio + error, 1e6)), ("at least", np.maximum(ratio - error, 0))]
    if method == "intervals":
        return bounds
    return [(method, ratio), *(bounds if error.any() else [])]


def _needs(link: str, parts: dict[str, pl.DataFrame]) -> Grid:
    """Return how much memory it takes to miss so seldom, one column per target."""
    return Grid(
        "memory-needed",
        "Memory it takes to miss no more often",
        "The least memory with which no more accesses miss, beyond first touches, under LRU; a range where the curve has an error.",
        link,
        [
            Head("misses per million accesses", "beyond first touches, which miss at every size"),
            *(Head(f"{misses:,}") for misses in TARGETS),
        ],
        [
            (
                Head("memory", "between the bounds of all curves that the run has"),
                [Cell(str(needed(parts, misses * 1e-6))) for misses in TARGETS],
            )
        ],
    )


def size_places(sizes: NDArray[np.int64], axis: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return where sizes are on a logarithmic axis from the first to the last of others, as shares of it."""
    whole = math.log2(axis[-1] / axis[0]) or 1.0
    return np.asarray(np.log2(sizes / axis[0]) / whole, np.float64)


def size_ticks(axis: NDArray[np.int64]) -> list[Tick]:
    """Return marks for powers of two, about six of them, on an axis of sizes of memory."""
    powers = range(math.ceil(math.log2(axis[0])), int(math.log2(axis[-1])) + 1)
    marks = np.array([1 << power for power in powers if power % max(1, len(powers) // 6) == 0], np.int64)
    places = size_places(marks, axis)
    return [
        Tick(round(100 * float(at), 3), binary_size(int(of))) for at, of in zip(places, marks, strict=True)
    ]


def _error(method: str, part: pl.DataFrame) -> str:
    """Return how a sample's error is stated."""
    if method != "shards":
        return ""
    rate = float(part["sampling_rate"][0])
    return (
        f" (1 in {1 / rate:,.0f}), with two standard errors either way"
        if rate < 1
        else ": all of them, so exact"
    )
