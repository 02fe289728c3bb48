"""Translations: TLB misses, the page walks they led to, and what those referred to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.report.sections.parts import Cell, Grid, Head, Part, profile_heads
from eptreplay.tables.tlb import TRANSLATIONS
from eptreplay.units import binary_size

if TYPE_CHECKING:
    from eptreplay.report.read.run import Guest
    from eptreplay.report.sections.parts import Context

ABOUT = "guest_page_bytes"


def translations(context: Context) -> Part:
    """Return every count of the table `translations`, one column per profile."""
    guest = context.guest
    frame = guest.frame("translations")
    link = context.files.frame("translations", frame)
    of = {row["profile"]: row for row in frame.iter_rows(named=True)}
    columns = [
        column for column in TRANSLATIONS.columns[2:] if column.name != ABOUT and frame[column.name].sum()
    ]
    heads = profile_heads(guest, Head("count"))
    heads.insert(1, Head("unit", word=True))
    grid = Grid(
        "translation-counts",
        "Misses, walks and flushes",
        "Counts that are 0 under every profile are left out.",
        link,
        heads,
        [
            (
                Head(column.name.replace("_", " "), f"{column.meaning} (column {column.name})"),
                [
                    Cell(column.unit),
                    *(Cell(f"{of[name][column.name]:,}" if name in of else "-") for name in guest.profiles),
                ],
            )
            for column in columns
        ],
        "No access was made.",
    )
    return Part(grids=[grid], texts=[guest_pages(guest)])


def guest_pages(guest: Guest) -> str:
    """Return what is assumed of the guest's own pages, which no trace of guest-physical addresses shows."""
    size = binary_size(int(guest.frame("translations")[ABOUT][0]))
    return (
        f"The trace does not show the size of the guest's own pages: {size} is assumed (--guest-pages), and every page walk "
        "here is one of such a guest."
    )
