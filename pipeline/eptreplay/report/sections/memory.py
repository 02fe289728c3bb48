"""How much memory the guest needs: working set, idle memory, miss ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from eptreplay.report.charts import Series, bar_chart, curve_chart
from eptreplay.report.numbers import MIB, PAGE_BYTES, count, seconds
from eptreplay.report.scales import Scale
from eptreplay.report.sections.parts import Part
from eptreplay.units import binary_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.report.charts import Chart
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
    frame = frame.filter(frame["kind"] == kind).sort("window_intervals")
    ident = f"working-set-{kind}"
    link = context.files.table(ident, frame.columns[1:], frame.drop("guest").rows())
    timed = frame["window_s"].null_count() == 0
    labels = [
        seconds(row["window_s"]) if timed else str(row["window_intervals"])
        for row in frame.iter_rows(named=True)
    ]
    return bar_chart(
        ident,
        title,
        "MiB",
        f"{about}: of all windows of that length, one beginning with every interval, the percentiles 0, 25, 50, 75 and 100.",
        link,
        [
            Series(name, frame[column].cast(pl.Float64).to_numpy() / MIB, style=number)
            for number, (column, name) in enumerate(PERCENTILES)
        ],
        labels,
        "length of the window" if timed else "length of the window, intervals",
    )


def idle(context: Context) -> Part:
    """Return how long memory had been idle at the end."""
    guest = context.guest
    frame = guest.frame("idle_age")
    link = context.files.table("idle_age", frame.columns[1:], frame.drop("guest").rows())
    frame = frame.drop_nulls("age_intervals").sort("age_intervals")
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
                "idle-histogram",
                "Idle age",
                "MiB",
                "Memory by the time since its last touch, at the end of the trace; a bar spans from its mark to the next, and the "
                "first one is the last interval. Memory never touched is not in it. Written memory costs a write to reclaim.",
                link,
                _both(sums),
                labels,
                unit,
            ),
            bar_chart(
                "idle-memory",
                "Cold memory",
                "MiB",
                "Touched memory that had been idle at least so long at the end of the trace: what could be reclaimed by then.",
                link,
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


def miss_ratio(context: Context) -> Part:
    """Return how often the guest would miss with less memory."""
    guest = context.guest
    frame = guest.frame("miss_ratio").sort("memory_bytes")
    link = context.files.table("miss_ratio", frame.columns[1:], frame.drop("guest").rows())
    sizes = frame["memory_bytes"].unique().sort().to_numpy()
    series = []
    for number, part in enumerate(frame.partition_by("method", maintain_order=True)):
        values = np.full(len(sizes), np.nan)
        values[np.searchsorted(sizes, part["memory_bytes"].to_numpy())] = part["miss_ratio"].to_numpy()
        series.append(Series(str(part["method"][0]), values, style=number))
    error = float(frame["error"].fill_null(0).to_numpy().max())
    rate = float(frame["sampling_rate"].fill_null(1).to_numpy().min())
    sampled = (
        f"From a sample of {100 * rate:.3g} % of the pages; the ratio may be off by {error:.3g}."
        if rate < 1
        else "Exact: every access was counted."
    )
    mib = sizes / MIB
    return Part(
        charts=[
            curve_chart(
                "miss-ratio",
                "Miss ratio",
                "misses per access",
                "Accesses that would miss, first touches included, over all accesses, if the guest had so much memory and the "
                "least recently used page were always replaced.",
                link,
                series,
                mib,
                Scale(0, float(mib.max(initial=1)), log=True),
                [binary_size(int(size)) for size in sizes],
                "memory, MiB (log scale)",
                note=f"{sampled} Over {count(int(frame['references'][0]), 'access', 'accesses')}.",
            )
        ]
    )
