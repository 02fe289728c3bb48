"""A lock on an output folder that dies with its process: one run at a time writes it."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from eptreplay.errors import OutputError
from eptreplay.run.beside import lock_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRIES, PAUSE_S = 10, 0.02
"""How often taking the lock is tried: another process may hold it for a moment to test whether it is held."""

LONGEST = 300
"""The most characters that a message has about the holder."""

NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EPERM, errno.EROFS}
"""Errors of file systems without locks, and of folders in which no file can be made, so that no run can appear either."""


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold the lock of an output folder, whose parent must exist.

    A lock whose process was killed is free: what counts is the kernel's lock on the file, not the file.

    Raises:
        OutputError: another process holds it; names it.
    """
    path = lock_file(out)
    file = _take(path, out)
    try:
        yield
    finally:
        if file is not None:
            with suppress(OSError):
                path.unlink()  # before the lock is free, so that no other process's file is removed
            os.close(file)


def holder(out: Path) -> str | None:
    """Return who holds the lock of an output folder; None if nobody does."""
    try:
        file = os.open(lock_file(out), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(file)
    except OSError:
        return None
    finally:
        os.close(file)
    return None


def _take(path: Path, out: Path) -> int | None:
    """Return the open and locked file; None where the file system has no locks."""
    for number in range(TRIES):
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno in NO_LOCKS:
                return None
            raise OutputError(f"{path}: cannot be opened ({error.strerror}); remove it") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                _write(file)
                return file
        except BlockingIOError:
            if number == TRIES - 1:
                raise OutputError(
                    f"{out}: is being written by another eptreplay ({_read(file)}); wait for it, "
                    "or give another folder with --out"
                ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return None
        os.close(file)
        time.sleep(PAUSE_S)
    raise OutputError(f"{out}: its lock {path} comes and goes; try again, or give another folder with --out")


def _is_at(file: int, path: Path) -> bool:
    """Return whether an open file is still the one under its name: the last holder may have removed it since."""
    try:
        return os.path.samestat(os.fstat(file), os.lstat(path))
    except FileNotFoundError:
        return False


def _write(file: int) -> None:
    """Write who holds the lock."""
    began = time.strftime("%Y-%m-%d %H:%M:%S %z")
    text = f"process {os.getpid()}, since {began}: {shlex.join(sys.argv)}"
    os.ftruncate(file, 0)
    os.write(file, text[:LONGEST].encode(errors="replace"))


def _read(file: int) -> str:
    """Return who holds the lock, as its file says: one line without control characters."""
    text = os.pread(file, 4 * LONGEST, 0).decode(errors="replace")[:LONGEST]
    return "".join(letter if letter.isprintable() else " " for letter in text) or "it does not say which"
