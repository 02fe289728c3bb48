"""A file that appears under its name only when it is whole, and of which nothing is left if it does not get so far."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import stat
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from eptreplay.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _typeshed import ReadableBuffer

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
"""Errors of file systems without hard links."""


class HashedFile:
    """A file to write from its first byte to its last, which knows the SHA-256 of what was written.

    Args:
        path: the name it is to have, for messages.
        file: the open file, unbuffered.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self._sha256 = hashlib.sha256()
        self._bytes = 0
        self.closed = False

    def write(self, data: ReadableBuffer) -> int:
        """Write all of some bytes.

        Raises:
            OutputError: the file takes no more.
        """
        view = memoryview(data).cast("B")
        self._sha256.update(view)
        done = 0
        try:
            while done < len(view):
                done += self._file.write(view[done:])
        except OSError as error:
            raise _unwritable(self._path, error) from error
        self._bytes += done
        return done

    def tell(self) -> int:
        """Return the bytes written so far."""
        return self._bytes

    def flush(self) -> None:
        """Do nothing: nothing is buffered here."""

    def close(self) -> None:
        """Let the caller's library end its use; `whole_file` closes the file itself."""
        self.closed = True

    def readable(self) -> bool:
        """Return that it cannot be read."""
        return False

    def writable(self) -> bool:
        """Return that it can be written."""
        return True

    def seekable(self) -> bool:
        """Return that bytes come one after the other."""
        return False

    @property
    def digest(self) -> str:
        """The SHA-256 of the bytes written so far, in hexadecimal."""
        return self._sha256.hexdigest()


@contextmanager
def whole_file(path: Path, *, overwrite: bool) -> Iterator[HashedFile]:
    """Write a file under a temporary name beside its own, made sure not to be anyone else's; then sync and rename it.

    Args:
        path: the file to make; its folder must exist.
        overwrite: whether a file that is there is replaced.

    Yields:
        The file to write to. If the block raises, the temporary file is removed and what was there stays.

    Raises:
        OutputError: the file exists and is not to be replaced, or cannot be written.
    """
    check_target(path, overwrite=overwrite)
    try:
        temporary, file = _exclusive(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with file:
            yield HashedFile(path, file)  # an OSError of the block is of what it reads
            _last(path, file, temporary, overwrite=overwrite)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _last(path: Path, file: IO[bytes], temporary: Path, *, overwrite: bool) -> None:
    """Make what was written last under its name."""
    try:
        os.fsync(file.fileno())
        _rename(temporary, path, overwrite=overwrite)
    except OSError as error:
        raise _unwritable(path, error) from error
    _sync_folder(path.parent)


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: it cannot be written ({error.strerror or error})")


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a name under which no file can be made, before any work is done for it.

    Raises:
        OutputError: with what to do.
    """
    if str(path) == "-":
        raise OutputError(
            "-: a trace is written under a temporary name first and cannot go to standard output; name a file"
        )
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise OutputError(
                f"{path}: it cannot be written, since there is no folder {path.parent}; make it first"
            ) from None
        return
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{str(path)[:200]}: it cannot be written ({getattr(error, 'strerror', error)})"
        ) from error
    if stat.S_ISLNK(mode):
        raise OutputError(f"{path}: is a link to {path.readlink()}; name the file itself")
    if stat.S_ISDIR(mode):
        raise OutputError(f"{path}: is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{path}: is a pipe or a device; name a file")
    if not overwrite:
        raise _taken(path)


def _taken(path: Path) -> OutputError:
    return OutputError(
        f"{path}: there is such a file already; name another, or give --overwrite to replace it"
    )


def _exclusive(path: Path) -> tuple[Path, IO[bytes]]:
    """Make a file beside another one that nobody else has: never one that is there, nor through a link."""
    for number in itertools.count():
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{number}.tmp")
        with suppress(FileExistsError):
            return temporary, temporary.open("xb", buffering=0)
    raise AssertionError  # count() has no end


def _rename(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Give the file its name; without `overwrite` only if nobody has taken it meanwhile."""
    if not overwrite:
        try:
            path.hardlink_to(temporary)
        except FileExistsError as error:
            raise _taken(path) from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(path):
                raise _taken(path) from error
        else:
            return
    temporary.replace(path)


def _sync_folder(folder: Path) -> None:
    """Make the new name last."""
    with suppress(OSError):  # not every file system can sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
