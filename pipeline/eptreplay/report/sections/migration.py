"""Whether the guest can be moved while it runs: pre-copy over links of several bandwidths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.report.charts.bar_charts import bar_chart
from eptreplay.report.charts.chart import Caption
from eptreplay.report.charts.lines import Series
from eptreplay.report.read.frames import ordered, parts_of, rows_where
from eptreplay.report.read.numbers import MIB, count, seconds
from eptreplay.report.sections.parts import Cell, Grid, Head, Part
from eptreplay.units import binary_size

if TYPE_CHECKING:
    from eptreplay.report.charts.chart import Chart
    from eptreplay.report.sections.parts import Context

VERDICTS = {
    "converges": "what is left to send fits into the allowed pause at last",
    "converges, if repeated": "the same, if the guest goes on as in its trace, which is shorter than the migration",
    "diverges": "the guest writes faster than the link carries: what is left never fits into the allowed pause",
}


def migration(context: Context) -> Part:
    """Return the migrations of the sweep, their rounds, and what a failure in the last round would cost."""
    frame = ordered(context.guest.frame("migrations"), "gbit_per_second", "page_bytes")
    found = list(frame.iter_rows(named=True))
    link = context.files.frame("migrations", frame)
    charts = [
        _rounds(context, size)
        for size in sorted(set(frame["page_bytes"].to_list()))
        if context.guest.has("migration_rounds")
    ]
    return Part(charts=charts, grids=[_sweep(found, link), _failures(found, link)])


def link_name(row: dict[str, Any]) -> str:
    """Return the bandwidth of a migration as people say it."""
    return f"{row['gbit_per_second']:g} Gbit/s"


def _sweep(found: list[dict[str, Any]], link: str) -> Grid:
    target = found[0]["downtime_target_s"]
    return Grid(
        "migrations",
        "Pre-copy by bandwidth",
        "Rounds of pre-copy from the beginning of the trace, with what the trace really dirtied meanwhile; "
        f"the pause may last {seconds(target)}.",
        link,
        [
            Head("link", "bandwidth of the link, 10^9 bits per second"),
            Head("tracked at", "granularity at which dirt is tracked and sent"),
            Head("verdict", "; ".join(f"{name}: {about}" for name, about in VERDICTS.items()), word=True),
            Head("rounds", "rounds before the pause; the first one sends all memory"),
            Head("in all", "from the first byte to the guest's return"),
            Head("pause", f"how long the guest stands still; allowed: {seconds(target)}"),
            Head("sent", "bytes sent in all"),
            Head("smallest link", "the smallest bandwidth that converges at this granularity"),
        ],
        [
            (
                Head(link_name(row)),
                [
                    Cell(binary_size(row["page_bytes"])),
                    Cell(
                        "converges, if repeated" if row["verdict"] == "repeats" else row["verdict"],
                        "yes" if row["converges"] else "no",
                    ),
                    Cell(f"{row['rounds']:,}"),
                    Cell(seconds(row["total_s"])),
                    Cell(seconds(row["downtime_s"])),
                    Cell(binary_size(row["sent_bytes"])),
                    Cell(_smallest(row)),
                ],
            )
            for row in found
        ],
    )


def _smallest(row: dict[str, Any]) -> str:
    smallest = row["smallest_gbit_per_second"]
    return "none up to 1000 Gbit/s" if smallest is None else f"{smallest:.3g} Gbit/s"


def _failures(found: list[dict[str, Any]], link: str) -> Grid:
    return Grid(
        "failures",
        "If the link fails in the last round",
        "Dirty bits of what was under way are already cleared. Unless they are put back, a second attempt misses the pages "
        "that the guest does not write again.",
        link,
        [
            Head("link", "bandwidth of the link, 10^9 bits per second"),
            Head("tracked at", "granularity at which dirt is tracked and sent"),
            Head("failed round", "the last round before the pause: nothing of it arrives"),
            Head("under way", "sent in that round, its dirty bits cleared"),
            Head("lost unless put back", "of that, what the guest did not write again"),
            Head(
                "second attempt", "what it sends first once the bits are put back: with this it loses no page"
            ),
        ],
        [
            (
                Head(link_name(row)),
                [
                    Cell(binary_size(row["page_bytes"])),
                    Cell("-" if row["failed_round"] is None else f"{row['failed_round']:,}"),
                    *(_size(row[name]) for name in ("failed_bytes", "lost_bytes", "retry_bytes")),
                ],
            )
            for row in found
        ],
    )


def _size(value: int | None) -> Cell:
    return Cell("-" if value is None else binary_size(value))


def _rounds(context: Context, size: int) -> Chart:
    """Return what every round sent, one line per bandwidth."""
    frame = context.guest.frame("migration_rounds")
    frame = ordered(rows_where(frame, frame["page_bytes"] == size), "gbit_per_second", "round")
    name = binary_size(size)
    ident = f"rounds-{size}"
    link = context.files.frame(ident, frame)
    rounds = int(frame["round"].to_numpy().max()) + 1
    series = []
    for number, part in enumerate(parts_of(frame, "gbit_per_second").values()):
        sent = np.full(rounds, np.nan)
        sent[part["round"].to_numpy()] = part["sent_bytes"].to_numpy() / MIB
        series.append(Series(link_name(part.row(0, named=True)), sent, style=number))
    caption = Caption(
        ident,
        f"Sent by round, tracked at {name}",
        "MiB",
        f"What every round of pre-copy sent when dirt is tracked at {name}; round 0 sends all memory, the last one is the pause. "
        "A line that falls converges.",
        link,
        "" if rounds > 1 else f"Every link needs {count(rounds, 'round')} only.",
    )
    return bar_chart(caption, series, [str(number) for number in range(rounds)], "round", log=True)
