"""Tables put together from the parts of a run, in the order of its guests."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from eptreplay.run.unfinished.part import read_part
from eptreplay.tables.files import TABLES_FOLDER, TableWriter, write_columns_file
from eptreplay.tables.schema import REPLAYED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eptreplay.run.unfinished.folder import Work


def assemble(work: Work) -> list[dict[str, Any]]:
    """Write the tables of a run from its parts, and return how run.json describes its guests.

    Raises:
        OutputError: a part is damaged.
        OSError: a table cannot be written.
    """
    guests: list[dict[str, Any]] = []
    (work.folder / TABLES_FOLDER).mkdir()
    with _writers(work) as writers:
        for unit in work.done():
            part = read_part(work.part(unit))
            for rows in part.rows:
                for name, table in rows.items():
                    writers[name].append(table)
            guests += part.guests
    write_columns_file(work.folder / TABLES_FOLDER)
    return guests


@contextmanager
def _writers(work: Work) -> Iterator[dict[str, TableWriter]]:
    """Open a writer for every table, and close them at the end."""
    writers: dict[str, TableWriter] = {}
    try:
        for table in REPLAYED:
            writers[table.name] = TableWriter(work.folder / TABLES_FOLDER, table)
        yield writers
        for writer in writers.values():
            writer.close()
    finally:
        for writer in writers.values():
            writer.let_go()
