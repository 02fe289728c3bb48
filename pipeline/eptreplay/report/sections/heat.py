"""Where the guest's accesses went: addresses by time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.report.charts.chart import Caption
from eptreplay.report.charts.heatmaps import HeatMap, axis_rows, log_levels
from eptreplay.report.sections.parts import Part
from eptreplay.units import PAGE_BYTES, binary_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.report.read.run import Guest
    from eptreplay.report.sections.parts import Context

KINDS = (
    ("reads", "Reads", "pages_read", "read"),
    ("writes", "Writes", "pages_written", "written"),
    ("fetches", "Fetches", "pages_fetched", "fetched from"),
)


def heatmaps(context: Context) -> Part:
    """Return maps of the pages read, written and fetched from, by address and time."""
    guest = context.guest
    frame = guest.frame("heatmap")
    size = int(frame["bytes"][0])
    rows, place = axis_rows(np.any(counts_by_stretch(guest, "pages_touched") > 0, axis=0), size)
    counts = [_by_row(counts_by_stretch(guest, column), place, len(rows)) for _, _, column, _ in KINDS]
    levels = log_levels(max(int(of.max(initial=0)) for of in counts) or 1)
    link = context.files.frame("heatmap", frame)
    most = " (of several intervals to a step, the highest)" if guest.span.group > 1 else ""
    gaps = " Where the axis is broken, addresses that were never touched are left out."
    return Part(
        maps=[
            HeatMap(
                Caption(
                    ident,
                    title,
                    "pages in a cell",
                    f"Distinct 4 KB pages {word} in a cell of the map: {binary_size(size)} of addresses ({size // PAGE_BYTES} pages) "
                    f"and an interval of time{most}. Addresses are guest-physical. An empty cell: none.{gaps}",
                    link,
                ),
                of,
                levels,
                rows,
                guest.span,
            )
            for (ident, title, _, word), of in zip(KINDS, counts, strict=True)
        ]
    )


def _by_row(counts: NDArray[np.int64], place: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Return counts by row of a map instead of by stretch of addresses."""
    found = np.zeros((len(counts), rows), np.int64)
    shown = place >= 0
    found[:, place[shown]] = counts[:, shown]
    return found


def counts_by_stretch(guest: Guest, column: str) -> NDArray[np.int64]:
    """Return a column of the table heatmap, shape [steps of time, stretches from address 0 to the end of memory]."""
    frame = guest.frame("heatmap")
    size = int(frame["bytes"][0])
    stretch = (frame["gpa_start"].to_numpy() // np.uint64(size)).astype(np.int64)
    ends = [s["gpa"] + s["bytes"] for s in guest.about["segments"] if s["kind"].startswith("ram")]
    most = max([int(stretch.max()) + 1, *(-(-end // size) for end in ends)])
    counts = np.zeros((guest.span.steps, most), np.int64)
    np.maximum.at(
        counts, (frame["interval"].to_numpy() // guest.span.group, stretch), frame[column].to_numpy()
    )
    return counts
