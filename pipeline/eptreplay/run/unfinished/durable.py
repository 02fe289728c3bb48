"""Files that are there whole or not at all, and stay through a loss of power."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from eptreplay.run.written import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

NEW = ".new-"
"""How the name of a file begins that is not whole yet."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write that appears under its name when the block ends well, in the place of an older one.

    It is written under another name, which nobody else has; its content is on disk before the name is, and the name before this ends.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    temporary = path.with_name(f"{NEW}{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def append_lines(path: Path, lines: Sequence[bytes]) -> None:
    """Append lines to a file and make them last; what a killed process wrote of a line before is ended first.

    Raises:
        OSError: they cannot be written; what was written of them is taken back.
    """
    _append(path, lines, os.fsync)


def append_soon(path: Path, line: bytes) -> None:
    """Append a line to a file, which lasts when the system gets to it: for what can be told again from other files.

    Raises:
        OSError: it cannot be written; what was written of it is taken back.
    """
    _append(path, [line], lambda _: None)


def _append(path: Path, lines: Sequence[bytes], settle: Callable[[int], None]) -> None:
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        end = os.fstat(file).st_size
        torn = end > 0 and os.pread(file, 1, end - 1) != b"\n"
        try:
            _write_all(file, b"\n" * torn + b"".join(line + b"\n" for line in lines))
            settle(file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, end)
            raise
    finally:
        os.close(file)


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
