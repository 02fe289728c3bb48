"""Tables that no section draws: their first rows, so that nothing a run holds is out of sight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eptreplay.report.sections.parts import Cell, Grid, Head, Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.report.sections.parts import Context
    from eptreplay.tables.columns import Table

MOST_ROWS = 20


def first_rows(context: Context, tables: Sequence[Table]) -> Part:
    """Return one grid per table: the first rows of the guest, with all of them as CSV."""
    return Part(grids=[_first_rows(context, table) for table in tables])


def _first_rows(context: Context, table: Table) -> Grid:
    frame = context.guest.frame(table.name)
    columns = [column for column in table.columns if column.name != "guest"]
    frame = frame.select([column.name for column in columns])
    link = context.files.table(table.name, frame.columns, frame.rows())
    rest = len(frame) - MOST_ROWS
    more = f" The first {MOST_ROWS} of {len(frame):,} rows; the CSV file has all." if rest > 0 else ""
    return Grid(
        f"table-{table.name}",
        table.name,
        f"One row per {table.row}.{more}",
        link,
        [
            Head(
                f"{column.name}, {column.unit}" if column.unit else column.name,
                column.meaning,
                word=column.type == "string",
            )
            for column in columns
        ],
        [
            (Head(_text(row[0])), [Cell(_text(value)) for value in row[1:]])
            for row in frame.head(MOST_ROWS).iter_rows()
        ],
    )


def _text(value: Any) -> str:  # noqa: ANN401 - whatever a table holds
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
