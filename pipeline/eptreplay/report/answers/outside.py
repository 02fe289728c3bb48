"""Rows that lie outside a guest's memory, in words: how many of how many, and where (rules: docs/reports.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl

from eptreplay.report.read.numbers import count, percent
from eptreplay.tables.files import read_table
from eptreplay.tables.schema import SUMMARY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MANY: Final = 0.01
"""The share of rows, or of accesses, from which on every answer says that so many lie outside."""
MOST_NAMED: Final = 3
"""Guests that are named."""


def share_outside(row: Mapping[str, Any]) -> float:
    """Return the share of a guest's rows, or of its accesses if that is more, that lie outside its memory."""
    if not row["unbacked_rows"]:  # a run of an earlier version does not say
        return 0.0
    accesses = row["unbacked"] + row["reads"] + row["writes"] + row["fetches"]
    return float(max(row["unbacked_rows"] / row["rows"], row["unbacked"] / accesses))


def outside(row: Mapping[str, Any]) -> str:
    """Return how many rows of a guest lie outside its memory, and between which addresses; empty if none do."""
    if not row["unbacked_rows"]:
        return ""
    rows, low, high = row["unbacked_rows"], row["unbacked_low"], row["unbacked_high"]
    accesses = "" if row["unbacked"] == rows else f" ({count(row['unbacked'], 'access', 'accesses')})"
    where = f"at {low:#x}" if low == high else f"between {low:#x} and {high:#x}"
    lie = "lies" if rows == 1 else "lie"
    return f"{rows:,} of {count(row['rows'], 'row')}{accesses} {lie} outside its memory, {where}"


def warning(row: Mapping[str, Any]) -> str:
    """Return the sentence that every answer ends with where more than 1 % lies outside; else empty."""
    return f" Mind: {outside(row)}; nothing here counts them." if share_outside(row) > MANY else ""


def outside_of_guests(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each guest with rows outside its memory, the worst first, and one for those beyond MOST_NAMED.

    Args:
        rows: a row of the summary for every guest.
    """
    found = sorted((row for row in rows if row["unbacked_rows"]), key=share_outside, reverse=True)
    lines = [f"{row['guest']}: {outside(row)}." for row in found[:MOST_NAMED]]
    rest = found[MOST_NAMED:]
    if rest:
        more = sum(row["unbacked_rows"] for row in rest)
        lines.append(f"{count(len(rest), 'more guest')} with {count(more, 'row')} outside their memory.")
    return lines


def warning_of_guests(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the sentence that every answer about several guests ends with where more than 1 % of one lies outside."""
    many = sorted((row for row in rows if share_outside(row) > MANY), key=share_outside, reverse=True)
    if not many:
        return ""
    worst = many[0]
    return (
        f" Mind: of {count(len(many), 'guest')} more than 1 % lies outside the memory, most of {worst['guest']}"
        f" ({percent(share_outside(worst), 1)}); nothing here counts that."
    )


def outside_of_run(folder: Path) -> list[str]:
    """Return what outside_of_guests says of the guests of a run."""
    frame = read_table(folder, SUMMARY).unique("guest", keep="first", maintain_order=True)
    return outside_of_guests(list(frame.filter(pl.col("unbacked_rows") > 0).iter_rows(named=True)))
