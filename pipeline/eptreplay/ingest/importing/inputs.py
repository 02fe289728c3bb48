"""Inputs as a stream of bytes: a file or standard input, unpacked by what it begins with, whatever it is called."""

from __future__ import annotations

import bz2
import io
import lzma
import re
import sys
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.file import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STANDARD_INPUT = "-"
HEAD_BYTES = 1 << 16
"""Bytes by which a format is guessed."""
_PIECE = 1 << 18
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_PACKED: dict[bytes, Callable[[BinaryIO], BinaryIO]] = {
    b"\x1f\x8b": lambda raw: _arrow(raw, "gzip"),
    b"\x28\xb5\x2f\xfd": lambda raw: _arrow(raw, "zstd"),
    b"\x04\x22\x4d\x18": lambda raw: _arrow(raw, "lz4"),
    b"\xfd7zXZ\x00": lambda raw: cast("BinaryIO", lzma.LZMAFile(raw)),  # noqa: SIM115 - it needs no closing
    b"BZh": lambda raw: cast("BinaryIO", bz2.BZ2File(raw)),
}
"""What unpacks an input, by what it begins with."""
_FAULTS = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    lzma.LZMAError,
    zlib.error,
    zipfile.BadZipFile,
    pa.ArrowException,
)
"""What is raised where an input cannot be read or unpacked."""


class Input(io.RawIOBase):
    """An input, unpacked: `read(n)` returns n bytes but at the end, where it returns what is left.

    Args:
        name: as the user gave it, for messages.
        stream: unpacked bytes.
        taken: bytes of the file read until now, before they were unpacked.
    """

    def __init__(self, name: str, stream: BinaryIO, taken: Callable[[], int]) -> None:
        self._name = name
        self._stream = stream
        self._ahead = b""
        self._taken = taken

    @property
    def taken(self) -> int:
        """Bytes of the file that were read until now."""
        return self._taken()

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def head(self) -> bytes:
        """Return the first bytes without taking them."""
        if len(self._ahead) < HEAD_BYTES:
            self._ahead += self._next(HEAD_BYTES - len(self._ahead))
        return self._ahead[:HEAD_BYTES]

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; empty at the end.

        Raises:
            TraceError: they cannot be read or unpacked.
        """
        if size < 0:
            size = sys.maxsize
        begin, self._ahead = self._ahead[:size], self._ahead[size:]
        return begin + self._next(size - len(begin)) if len(begin) < size else begin

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # all that is called with
        """Fill a buffer; return the bytes that there were."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        pieces = []
        try:
            while size > 0 and (piece := self._stream.read(min(size, _PIECE))):
                pieces.append(piece)
                size -= len(piece)
        except _FAULTS as error:
            raise _unreadable(self._name, error) from error
        return b"".join(pieces)


class _Counted(io.RawIOBase):
    """A file, with what was looked at ahead, and a count of what was read."""

    def __init__(self, file: BinaryIO, begin: bytes) -> None:
        self._file = file
        self._begin = begin
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._begin:
            size = len(self._begin) if size < 0 else size
            data, self._begin = self._begin[:size], self._begin[size:]
        else:
            data = self._file.read(size)
        self.taken += len(data)
        return data

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # all that is called with
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def open_input(name: str) -> Iterator[Input]:
    """Open a file, or standard input for `-`, and unpack it: gzip, zstd, lz4, xz, bzip2, or a zip archive.

    The members of an archive follow each other in natural order: part.2 before part.10.

    Raises:
        TraceError: it cannot be opened, read or unpacked.
    """
    try:
        file = cast("BinaryIO", sys.stdin.buffer) if name == STANDARD_INPUT else Path(name).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise _unreadable(name, error) from error
    try:
        try:
            begin = file.read(8)
            if begin.startswith((_ZIP, _EMPTY_ZIP)):
                raw = _Counted(_joined_members(name, file), b"")
                stream = cast("BinaryIO", raw)
            else:
                raw = _Counted(file, begin)
                unpack = next((how for magic, how in _PACKED.items() if begin.startswith(magic)), None)
                counted = cast("BinaryIO", raw)
                stream = unpack(counted) if unpack else counted
        except _FAULTS as error:
            raise _unreadable(name, error) from error
        yield Input(name, stream, lambda: raw.taken)
    finally:
        if name != STANDARD_INPUT:
            file.close()


def _arrow(raw: BinaryIO, codec: str) -> BinaryIO:
    return cast("BinaryIO", pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), codec))


def _joined_members(name: str, file: BinaryIO) -> BinaryIO:
    """Return the members of a zip archive, one after the other.

    Raises:
        TraceError: it comes from standard input, where its index cannot be reached.
    """
    if not file.seekable():
        raise TraceError(
            shown_name(name),
            "a zip archive cannot be unpacked as it comes, since its index stands at its end",
            advice="give the name of the file, or unpack it with `unzip -p FILE | eptreplay import FORMAT - -o OUT`",
        )
    archive = zipfile.ZipFile(file)
    members = sorted((each for each in archive.namelist() if not each.endswith("/")), key=_natural)
    return cast("BinaryIO", _Chained(archive, members))


class _Chained(io.RawIOBase):
    """Members of an archive as one stream."""

    def __init__(self, archive: zipfile.ZipFile, members: list[str]) -> None:
        self._archive = archive
        self._left = members
        self._member: BinaryIO | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while True:
            if self._member is None:
                if not self._left:
                    return b""
                self._member = cast("BinaryIO", self._archive.open(self._left.pop(0)))
            if data := self._member.read(size):
                return data
            self._member.close()
            self._member = None


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what names are sorted by: numbers in them by their value."""
    return [
        (int(part), "") if part.isascii() and part.isdigit() else (0, part)
        for part in re.split(r"([0-9]+)", name)
    ]


def shown_name(name: str) -> str:
    """Return what an input is called in messages."""
    return "standard input" if name == STANDARD_INPUT else name


def _unreadable(name: str, error: BaseException) -> TraceError:
    shown = shown_name(name)
    if isinstance(error, OSError) and error.strerror:
        return TraceError(shown, f"it cannot be read ({error.strerror})")
    return TraceError(
        shown,
        f"it cannot be unpacked ({one_line(error)})",
        advice="it may be cut off: fetch or pack it again",
    )
