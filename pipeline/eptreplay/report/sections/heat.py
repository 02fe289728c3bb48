"""Where the guest's accesses went: addresses by time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.report.heatmaps import HeatMap, log_levels
from eptreplay.report.numbers import PAGE_BYTES
from eptreplay.report.sections.parts import Part
from eptreplay.units import binary_size

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from eptreplay.report.run import Guest
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
    starts = row_starts(guest, frame, size)
    counts = [counts_by_cell(guest, frame, column, starts, size) for _, _, column, _ in KINDS]
    levels = log_levels(max(int(of.max(initial=0)) for of in counts) or 1)
    link = context.files.table("heatmap", frame.columns[1:], frame.drop("guest").rows())
    most = " (of several intervals to a step, the highest)" if guest.span.group > 1 else ""
    return Part(
        maps=[
            HeatMap(
                ident,
                title,
                "pages in a cell",
                f"Distinct 4 KB pages {word} in a cell of the map: {binary_size(size)} of addresses ({size // PAGE_BYTES} pages) "
                f"and an interval of time{most}. Addresses are guest-physical. An empty cell: none.",
                link,
                of,
                levels,
                starts,
                guest.span,
            )
            for (ident, title, _, word), of in zip(KINDS, counts, strict=True)
        ]
    )


def row_starts(guest: Guest, frame: pl.DataFrame, size: int) -> NDArray[np.float64]:
    """Return where each row of the map begins, and where the last ends: from address 0 to the end of memory."""
    ends = [s["gpa"] + s["bytes"] for s in guest.about["segments"] if s["kind"].startswith("ram")]
    top = max([*ends, int(frame["gpa_start"].to_numpy().max()) + size])
    return np.arange(-(-top // size) + 1, dtype=np.float64) * size


def counts_by_cell(
    guest: Guest, frame: pl.DataFrame, column: str, starts: NDArray[np.float64], size: int
) -> NDArray[np.int64]:
    """Return a column of the table by step of time and row of the map, shape [steps, rows]."""
    counts = np.zeros((guest.span.steps, len(starts) - 1), np.int64)
    at = frame["interval"].to_numpy() // guest.span.group
    row = (frame["gpa_start"].to_numpy() // np.uint64(size)).astype(np.int64)
    np.maximum.at(counts, (at, row), frame[column].to_numpy())
    return counts
