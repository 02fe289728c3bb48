"""Opening a Parquet file that may be anything, and checking its footer before its data is touched."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay.errors import TraceError
from eptreplay.ingest.schema import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARQUET_ERRORS = (
    pa.ArrowException,
    OSError,
    MemoryError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
)
"""Everything pyarrow raises on a damaged file (found by damaging files)."""

_BUFFER_BYTES = 1 << 20
"""Column chunks are read through buffers of this size, so that memory does not grow
with the row group; as fast as reading them whole."""

_MAGIC = b"PAR1"
_FOOTER_TAIL = 8
_LOOKS_LIKE = (
    (b"PAR1", "a Parquet file that is cut short: it begins like one, but its footer is missing"),
    (b"PARE", "an encrypted Parquet file"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ", "xz data"),
    (b"PK\x03\x04", "a zip archive"),
    (b"ARROW1", "an Arrow IPC (Feather) file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)
_MAX_EXPANSION = 1 << 16
"""No page codec but Brotli packs more bytes than this into one; zstd reaches half of it."""

_PLAIN_BYTES = {"INT32": 4, "INT64": 8}
_PLAIN_ONLY = {"PLAIN", "RLE", "BIT_PACKED"}
"""Encodings of a chunk whose values are all PLAIN: the other two hold its levels."""


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file for reading with page checksums verified.

    Args:
        path: the file.

    Yields:
        The open file; closed on leaving.

    Raises:
        TraceError: there is no such file, it may not be read, or it is no Parquet file.
    """
    try:
        source = pa.OSFile(str(path))
    except PARQUET_ERRORS as error:
        raise _cannot_open(path, error) from error
    with source:
        try:
            # One chunk at a time, read by this thread: the next batch is decoded while the
            # caller works, so pyarrow's own read-ahead would only add threads and memory.
            file = pq.ParquetFile(
                source,
                pre_buffer=False,
                buffer_size=_BUFFER_BYTES,
                page_checksum_verification=True,
            )
        except PARQUET_ERRORS as error:
            raise _not_parquet(path, error) from error
        yield file


def check_footer(path: Path, file: pq.ParquetFile) -> None:
    """Refuse a footer whose claims the file cannot hold.

    Any number of rows is decoded in bounded batches, so a small file with many rows
    is no fault in itself: a constant column takes a few bytes. What is refused are
    contradictions: row counts that differ, chunks outside the file, chunks that
    together are larger than it, plain values that need more bytes than their chunk
    has, and chunks that would expand beyond what a codec can do.

    Raises:
        TraceError: naming the row group and the column.
    """
    meta = file.metadata
    size = path.stat().st_size
    rows = stored = 0
    for group in range(meta.num_row_groups):
        rg = meta.row_group(group)
        rows += rg.num_rows
        for index in range(rg.num_columns):
            chunk = rg.column(index)
            _check_chunk(path, group, rg.num_rows, chunk, size)
            stored += chunk.total_compressed_size
    if stored > size:
        raise TraceError(
            str(path),
            f"the footer claims {stored:,} bytes of column data for {rows:,} rows, the file has {size:,}",
            advice=_REWRITE,
        )
    if rows != meta.num_rows:
        raise TraceError(
            str(path),
            f"the footer claims {meta.num_rows:,} rows, its row groups {rows:,}",
            advice=_REWRITE,
        )


_REWRITE = "the file is damaged or not what it says: copy or convert it again"


def _check_chunk(path: Path, group: int, rows: int, chunk: pq.ColumnChunkMetaData, size: int) -> None:
    name = chunk.path_in_schema
    packed, plain = chunk.total_compressed_size, chunk.total_uncompressed_size
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
        start = min(start, chunk.dictionary_page_offset)
    known = name in _KNOWN
    found = ""
    if rows < 0 or packed < 0 or plain < 0:
        found = f"the footer claims {rows:,} rows in {packed:,} bytes"
    elif known and chunk.num_values != rows:
        found = f"the footer claims {chunk.num_values:,} values for {rows:,} rows"
    elif start < len(_MAGIC) or start + packed > size - _FOOTER_TAIL:
        found = f"the footer places {packed:,} bytes at offset {start:,} of a file of {size:,}"
    elif chunk.compression != "BROTLI" and plain > packed * _MAX_EXPANSION:
        found = f"the footer claims {plain:,} bytes of values in {packed:,} compressed bytes"
    elif (
        known
        and set(chunk.encodings) <= _PLAIN_ONLY
        and plain < rows * _PLAIN_BYTES.get(chunk.physical_type, 0)
    ):
        found = f"the footer claims {rows:,} plain values in {plain:,} bytes"
    if found:
        raise TraceError(str(path), found, column=name, row_group=group, advice=_REWRITE)


_KNOWN = {column.name for column in COLUMNS}


def _cannot_open(path: Path, error: BaseException) -> TraceError:
    name = str(path)
    if isinstance(error, FileNotFoundError):
        return TraceError(name, "there is no such file", advice="check the path")
    if isinstance(error, PermissionError):
        return TraceError(name, "no permission to read it", advice="make it readable for this user")
    if path.is_dir():
        return TraceError(name, "this is a folder", expected="a Parquet file")
    return TraceError(name, f"it cannot be opened ({one_line(error)})")


def _not_parquet(path: Path, error: BaseException) -> TraceError:
    return TraceError(
        str(path),
        f"this is {_looks_like(path)}" if not _whole(path) else f"its footer is damaged ({one_line(error)})",
        expected="a Parquet file in the native trace format",
        advice="convert or copy it again; docs/ describes the format and the importers",
    )


def _whole(path: Path) -> bool:
    """Whether a file begins and ends as Parquet files do."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
            file.seek(0, 2)
            if file.tell() < len(_MAGIC) + _FOOTER_TAIL:
                return False
            file.seek(-len(_MAGIC), 2)
            return head == _MAGIC and file.read() == _MAGIC
    except OSError:
        return False


def _looks_like(path: Path) -> str:
    """Say in words what a file that is no Parquet file seems to be."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        return f"a file that cannot be read ({one_line(error)})"
    if not head:
        return "an empty file"
    for magic, words in _LOOKS_LIKE:
        if head.startswith(magic):
            return words
    if not head.strip(b"\0"):
        return "a file that begins with zeros: a download or copy that was cut short?"
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    if printable > 0.95 * len(head):
        first = head.split(b"\n", 1)[0].decode("ascii", "replace").strip()
        kind = "JSON" if first[:1] in ("{", "[") else "CSV" if "," in first else "text"
        return f"a {kind} file that begins with '{first[:40]}'"
    return f"binary data that begins with {head[:8].hex(' ')}"


def one_line(error: BaseException) -> str:
    """The first line of an error's text, at most 160 characters."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160]
