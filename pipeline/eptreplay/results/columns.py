"""Rows of a table, held as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.tables.columns import Table

Columns = dict[str, Any]
"""Values of each column, by its name."""


def columns_of(table: Table, result: GuestResult, rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Return rows of a table about one guest as columns."""
    columns = {name: [row[name] for row in rows] for name in table.names() if name != "guest"}
    return {"guest": [result.trace.name] * len(rows)} | columns
