"""Samples: the first row groups of a trace, row for row, with a note of where they come from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eptreplay.errors import OutputError, TraceError, UsageError
from eptreplay.ingest.native.layout import trace_writer
from eptreplay.ingest.parquet.file import PARQUET_ERRORS, one_line, open_parquet, read_footer

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from eptreplay.ingest.parquet.footer import Group
    from eptreplay.ingest.trace.remote_path import AnyPath

KEY_ROWS = "cut_rows"
KEY_SOURCE = "cut_source"
KEY_SOURCE_SHA256 = "cut_source_sha256"

_ENCODINGS = ("DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", "PLAIN")
_LEVEL = 19
"""A sample is packed once and stored for ever; zstd unpacks every level alike."""


def cut_trace(source: Path | str, target: Path | str, row_groups: int) -> int:
    """Copy the first row groups of a trace into a file of their own.

    Columns, types, encodings, codecs and key-value metadata stay as they are; keys
    `cut_rows`, `cut_source` and `cut_source_sha256` are added, and page checksums.
    The rows of the copy are compared with those of the source.

    Args:
        source: the trace.
        target: the file to make.
        row_groups: how many to copy.

    Returns:
        Rows copied.

    Raises:
        UsageError: the trace has fewer row groups.
        TraceError: the trace is damaged.
        OutputError: the copy cannot be written, or does not read back equal.
    """
    source, target = Path(source), Path(target)
    footer = read_footer(source)
    if not 1 <= row_groups <= len(footer.groups):
        raise UsageError(f"{source}: cut 1 to {len(footer.groups)} row groups, not {row_groups}")
    rows = sum(group.rows for group in footer.groups[:row_groups])
    with open_parquet(source, footer.digest) as file:
        notes = {KEY_ROWS: str(rows), KEY_SOURCE: source.name, KEY_SOURCE_SHA256: sha256(source)}
        schema = file.parquet.schema_arrow.with_metadata(footer.metadata | notes)
        with trace_writer(target, schema, _options(footer.groups[0])) as writer:
            for group in range(row_groups):
                table = _row_group(source, file.parquet, group)
                writer.write_table(table.cast(schema), row_group_size=max(1, table.num_rows))
        _compare(source, file.parquet, target, row_groups)
    return rows


def sha256(path: AnyPath) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _options(group: Group) -> dict[str, Any]:
    """Writer options that repeat how the known columns of a row group are stored."""
    plain = {name: chunk for name, chunk in group.chunks.items() if not chunk.dictionary}
    return {
        "use_dictionary": [name for name in group.chunks if name not in plain],
        "column_encoding": {
            name: next(encoding for encoding in _ENCODINGS if encoding in {*chunk.encodings, "PLAIN"})
            for name, chunk in plain.items()
        },
        "compression": {name: chunk.codec for name, chunk in group.chunks.items()},
        "compression_level": {name: _LEVEL for name, chunk in group.chunks.items() if chunk.codec == "zstd"},
        "write_page_checksum": True,
    }


def _row_group(path: Path, file: pq.ParquetFile, group: int) -> pa.Table:
    try:
        return file.read_row_group(group, use_threads=False)
    except PARQUET_ERRORS as error:
        raise TraceError(str(path), f"its data is damaged ({one_line(error)})", row_group=group) from error


def _compare(source: Path, original: pq.ParquetFile, target: Path, row_groups: int) -> None:
    footer = read_footer(target)
    with open_parquet(target, footer.digest) as copy:
        same = len(footer.groups) == row_groups and all(
            _row_group(target, copy.parquet, group).equals(_row_group(source, original, group))
            for group in range(row_groups)
        )
    if not same:
        raise OutputError(f"{target}: the copy does not read back equal to {source}; do not use it")
