"""Opening a Parquet file that may be anything."""

from __future__ import annotations

import os
import shlex
import stat
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.footer import MAGIC, TAIL_BYTES, footer_digest, parse_footer, untyped_columns
from eptreplay.ingest.trace.remote_path import RemotePath

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from eptreplay.ingest.parquet.footer import Footer
    from eptreplay.ingest.trace.extents import ReadAt
    from eptreplay.ingest.trace.remote_path import AnyPath

    Expect = Callable[[Sequence[tuple[int, int]]], None]

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

BUFFER_BYTES = 1 << 20
"""Column chunks of large row groups are read through buffers of this size, so that memory does not grow
with the row group."""

WHOLE = 0
"""The size of buffer that stands for none: a column chunk is read at once, which saves a copy of it."""

_HEAD_BYTES = 4096
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


_NO_OTHER_TOOLS = (b"PAR1", b"PARE", b"ARROW1", b"\x89HDF", b"SQLite format 3", b"version https://git-lfs")
"""How files begin that no importer reads."""


def read_footer(path: AnyPath, renamed: Collection[str] = ()) -> Footer:
    """Read and check the footer of a file.

    Args:
        path: the file.
        renamed: names of columns that are known beside those of `taking.names`.

    Raises:
        TraceError: there is no such file, it may not be read, it is no Parquet file,
            or its footer is damaged.
    """
    return parse_footer(path, *_footer_bytes(path), renamed)


class Opened(NamedTuple):
    """A file that is open.

    Args:
        parquet: for pyarrow.
        read_at: reads so many bytes from an offset on; fewer where the file ends.
        expect: takes the ranges of bytes, from and up to, that will be read next; a local file has no use for it.
    """

    parquet: pq.ParquetFile
    read_at: ReadAt
    expect: Expect


@contextmanager
def open_parquet(path: AnyPath, digest: str, buffer_bytes: int = BUFFER_BYTES) -> Iterator[Opened]:
    """Open a file whose footer has been checked, for reading with page checksums verified.

    Args:
        path: the file.
        digest: `digest` of its footer as it was checked.
        buffer_bytes: size of the buffer that column chunks are read through; WHOLE: none.

    Yields:
        The open file; closed on leaving.

    Raises:
        TraceError: the file cannot be read, or it is not the one that was checked.
    """
    data, _ = _footer_bytes(path)
    if footer_digest(data) != digest:
        raise TraceError(
            str(path),
            "the file has changed since it was opened",
            advice="let nothing write to a trace while it is replayed",
        )
    with _source(path) as (source, read_at, expect):
        try:
            # One chunk at a time, read by this thread: the next batch is decoded while the
            # caller works, so pyarrow's own read-ahead would only add threads and memory.
            file = pq.ParquetFile(
                source, pre_buffer=False, buffer_size=buffer_bytes, page_checksum_verification=True
            )
        except pa.ArrowNotImplementedError as error:
            raise _not_supported(path, untyped_columns(data), error) from error
        except PARQUET_ERRORS as error:
            raise _damaged_footer(path, error) from error
        yield Opened(file, read_at, expect)


@contextmanager
def _source(path: AnyPath) -> Iterator[tuple[pa.NativeFile, ReadAt, Expect]]:
    """Open a file for pyarrow, for reading at offsets, and for being told what comes next."""
    if isinstance(path, RemotePath):
        with path.open("rb") as remote, pa.PythonFile(remote, mode="r") as source:
            yield source, remote.read_at, remote.expect
        return
    try:
        local = pa.OSFile(str(path))
    except PARQUET_ERRORS as error:
        raise _cannot_open(path, error) from error
    with local:
        yield local, partial(os.pread, local.fileno()), _needs_no_telling


def _needs_no_telling(_: Sequence[tuple[int, int]]) -> None:
    """Do nothing: the system reads ahead by itself."""


def _footer_bytes(path: AnyPath) -> tuple[bytes, int]:
    """The bytes of a file's footer, and the size of the file."""
    try:
        if isinstance(path, Path) and not stat.S_ISREG(path.stat().st_mode):
            raise _not_regular(path)
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            head = file.read(_HEAD_BYTES)
            tail = b""
            if size >= len(MAGIC) + TAIL_BYTES:
                file.seek(-TAIL_BYTES, os.SEEK_END)
                tail = file.read(TAIL_BYTES)
            if not head.startswith(MAGIC) or tail[4:] != MAGIC:
                raise _not_parquet(path, head)
            length = int.from_bytes(tail[:4], "little")
            if length > size - len(MAGIC) - TAIL_BYTES:
                raise _damaged_footer(path, f"it claims {length:,} bytes in a file of {size:,}")
            file.seek(size - TAIL_BYTES - length)
            return file.read(length), size
    except (OSError, ValueError) as error:
        raise _cannot_open(path, error) from error


def _cannot_open(path: AnyPath, error: BaseException) -> TraceError:
    name = str(path)
    if isinstance(error, FileNotFoundError):
        return TraceError(name, "there is no such file", advice="check the path")
    if isinstance(error, PermissionError):
        return TraceError(name, "no permission to read it", advice="make it readable for this user")
    return TraceError(name, f"it cannot be opened ({one_line(error)})")


def _not_regular(path: Path) -> TraceError:
    # A pipe has no end to find the footer at, and opening one may wait for ever.
    kind = "a folder" if path.is_dir() else "a pipe or a device"
    return TraceError(str(path), f"this is {kind}", expected="a regular file")


def _not_supported(path: AnyPath, untyped: list[str], error: BaseException) -> TraceError:
    which = f"one of the columns {', '.join(map(repr, untyped))}" if untyped else "a column"
    one = untyped[0] if len(untyped) == 1 else None
    return TraceError(
        str(path),
        f"{'its type is' if one else f'{which} has a type that is'} not supported ({one_line(error)})",
        column=one,
        expected="a Parquet file with columns of plain types, also those that are not read",
        advice="write the file again with the columns of the format only",
    )


def _damaged_footer(path: AnyPath, why: BaseException | str) -> TraceError:
    words = why if isinstance(why, str) else one_line(why)
    return TraceError(
        str(path),
        f"its footer is damaged ({words})",
        expected="a Parquet file",
        advice="copy or convert the trace again",
    )


def _not_parquet(path: AnyPath, head: bytes) -> TraceError:
    return TraceError(
        str(path),
        f"this is {_looks_like(head)}",
        expected="a Parquet file in the native trace format",
        advice=_what_helps(path, head),
    )


def _what_helps(path: AnyPath, head: bytes) -> str:
    """Say what makes a trace of a file that begins so."""
    if not head.strip(b"\0") or head.startswith(_NO_OTHER_TOOLS):
        return "copy or convert the trace again"
    source = shlex.quote(str(path))
    return (
        f"if another tool wrote it: eptreplay import FORMAT {source} -o OUT.parquet, with a FORMAT that 'eptreplay import --list' "
        "shows, or auto"
    )


def _looks_like(head: bytes) -> str:
    """Say in words what a file that begins so seems to be."""
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
