"""One file of a trace: its row groups and columns, as they are taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from eptreplay.errors import TraceError
from eptreplay.ingest.native.columns import check_columns
from eptreplay.ingest.parquet.file import PARQUET_ERRORS, one_line, open_parquet, read_footer
from eptreplay.ingest.parquet.statistics import group_statistics
from eptreplay.ingest.sources.guards import verified_by
from eptreplay.ingest.sources.named_guest import one_guest
from eptreplay.ingest.taking.source import AS_IT_IS, Taking, range_of, sources_of
from eptreplay.ingest.trace.guard import Guard
from eptreplay.ingest.trace.guest_trace import RowGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eptreplay.ingest.parquet.file import Opened
    from eptreplay.ingest.parquet.footer import Chunk, Footer, Group
    from eptreplay.ingest.trace.remote_path import AnyPath
    from eptreplay.ingest.trace.source import Source


@dataclass(frozen=True, slots=True)
class TraceFile:
    """What one file says.

    Args:
        path: the file.
        row_groups: those that have rows, with the guest that each names, if there is such a column.
        columns: the columns of a trace that it has, with their types in words, once they are taken.
        sources: where each of them comes from.
        footer: what else it says.
        guard: what guards it.
    """

    path: AnyPath
    row_groups: tuple[tuple[RowGroup, str | None], ...]
    columns: Mapping[str, str]
    sources: Mapping[str, Source]
    footer: Footer
    guard: Guard

    @property
    def time_unit(self) -> str | None:
        """The unit of time that the type or the name of the column says."""
        return self.sources["time"].unit

    @property
    def taken(self) -> tuple[str, ...]:
        """What a user should know of how its columns are taken, in sentences."""
        return tuple(source.said for source in self.sources.values() if source.said)


def read_file(path: AnyPath, taking: Taking = AS_IT_IS) -> TraceFile:
    """Read everything that a file says before a row is read.

    Raises:
        TraceError: it is not what the format says, and cannot be taken.
    """
    footer = read_footer(path, tuple(taking.renamed.values()))
    row_groups = []
    row = 0
    with open_parquet(path, footer.digest) as file:
        columns, sources = _columns(path, file, taking)
        guard = verified_by(path, footer, file.read_at) if taking.verify else Guard.NOTHING
        exact = all(source.convert is None and source.column == name for name, source in sources.items())
        for index, group in enumerate(footer.groups):
            if group.rows:
                taken = group if exact else _taken(group, sources)
                if "guest" in sources:
                    taken = one_guest(path, file.parquet, index, taken, sources["guest"].column)
                row_groups.append(_row_group(path, index, taken, row, {} if exact else sources))
                row += group.rows
    return TraceFile(path, tuple(row_groups), columns, sources, footer, guard)


def _columns(path: AnyPath, file: Opened, taking: Taking) -> tuple[dict[str, str], dict[str, Source]]:
    """Return the columns of a file as they are taken, in words, and where each comes from."""
    try:
        schema = file.parquet.schema_arrow
        found = sources_of(schema, taking)
        _refuse_unknown(path, schema, taking)
        taken = pa.schema([pa.field(name, source.type) for name, source in found])
    except PARQUET_ERRORS as error:
        raise TraceError(str(path), f"its schema is damaged ({one_line(error)})") from error
    return check_columns(path, taken, schema.names), dict(found)


def _refuse_unknown(path: AnyPath, schema: pa.Schema, taking: Taking) -> None:
    """Refuse names of columns that the file does not have.

    Raises:
        TraceError: there is such a name.
    """
    for known, name in taking.renamed.items():
        if name not in schema.names:
            raise TraceError(
                str(path),
                f"there is no column '{name}' to be {known} (columns of the file: {', '.join(schema.names[:12]):.200})",
            )


def _taken(group: Group, sources: Mapping[str, Source]) -> Group:
    """Return a row group with its chunks under the names of the schema, and statistics of what its columns are taken as."""
    chunks = {}
    for name, source in sources.items():
        chunk = group.chunks[source.column]
        chunks[name] = chunk if source.convert is None else _restated(chunk, source)
    return group._replace(chunks=chunks)


def _restated(chunk: Chunk, source: Source) -> Chunk:
    """Return a chunk with statistics of what its column is taken as, where they can be told."""
    known = range_of(source, chunk.low, chunk.high)
    if known is None:
        return chunk._replace(low=None, high=None, nulls=None, page_index=None)
    # Values that are all kept, and none of them negative, are in the order of the index of their pages, too.
    return chunk._replace(low=known.low, high=known.high)


def _row_group(
    path: AnyPath, index: int, group: Group, row: int, sources: Mapping[str, Source]
) -> tuple[RowGroup, str | None]:
    """Return a row group that begins at a row of its file, and the guest it names."""
    stats = group_statistics(path, index, group)
    found = RowGroup(
        path,
        index,
        group.rows,
        0,
        row,
        stats.ranges,
        stats.nulls,
        extents={name: chunk.extent for name, chunk in group.chunks.items()},
        null_counts=stats.null_counts,
        indexes={
            name: chunk.page_index
            for name, chunk in group.chunks.items()
            if chunk.page_index and name != "guest"
        },
        sources=sources,
    )
    return found, stats.guest
