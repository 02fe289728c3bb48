"""Files of compiled code: written whole or not at all, looked at before they are run, never taken from somebody else.

A file is a line that says what it is, its length and a SHA-256 of its key and its code.  The code in it is run as it stands, so a
file counts only if all of that agrees and nobody but its owner, who is the user or root, may write to it.  Whatever
goes wrong with files costs what they save, never the run: code that cannot be read is compiled, and code that cannot be
kept goes into a private folder that lasts as long as the process.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import hashlib
import os
import shutil
import stat
import struct
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

VARIABLE = "EPTREPLAY_CACHE_DIR"
"""The variable of the environment that says under which folder compiled code is kept."""

COMPILING = "compiling the model: once on this machine, a minute or two ..."

MAGIC = b"eptreplay code 1"
HEADER = struct.Struct(f"<{len(MAGIC)}sQ32s")  # what it is, bytes of code, SHA-256 of key and code
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
ROOT = 0


class DamagedError(Exception):
    """A file is not what was written, or not from whom it has to be."""


class KernelFiles:
    """Compiled code by name and key, in a folder or, where that cannot be written to, in a private one."""

    def __init__(self, folder: Path | None) -> None:
        """Take the folder, which need not exist; None: none is known."""
        self._folder = folder
        self._private: Path | None = None  # takes the place of the folder
        self._given_up = False  # neither can be written to
        self._said: set[str] = set()

    def load(self, name: str, key: str) -> bytes | None:
        """Return the code that was saved under a name and a key, None if there is none that is whole.

        A file that is damaged, or that others could have written, is removed.
        """
        for folder in (self._private, self._folder):
            if folder is None:
                continue
            try:
                if is_own(folder.stat()):
                    return unpacked(_read(folder / name), key)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (DamagedError, OSError):
                self.say(f"compiled code in {folder} is damaged, or others may write to it; it is made again")
                _remove(folder / name)
        return None

    def announce(self) -> None:
        """Say, once, that code is compiled now, and before that if its result cannot be kept in the folder."""
        if self._private is None and not self._given_up:
            try:
                tempfile.TemporaryFile(dir=_made_private(self._folder)).close()
            except OSError as error:
                self._retreat(error)
        self.say(COMPILING)

    def save(self, name: str, key: str, code: bytes) -> None:
        """Keep code under a name and a key, in the private folder if the other cannot be written to, else nowhere."""
        if self._given_up:
            return
        try:
            _write(_made_private(self._private or self._folder), name, packed(key, code))
        except OSError as error:
            self._retreat(error)
            self.save(name, key, code)

    def say(self, text: str) -> None:
        """Write a line to standard error, the same once only, and not into a progress bar."""
        if text not in self._said and sys.stderr is not None:
            with contextlib.suppress(OSError):  # nobody reads it
                tqdm.write(f"eptreplay: {text}", file=sys.stderr)
        self._said.add(text)

    def _retreat(self, error: OSError) -> None:
        """Go from the folder to a private one, which child processes find and which goes when this process ends."""
        if self._private is not None:
            self._given_up = True  # this process has the code in memory, a child compiles again
            return
        self.say(
            f"compiled code cannot be kept in {self._folder or '~/.cache'} ({error.strerror or error}) and lasts for this "
            f"run only; to keep it, name a folder of your own in {VARIABLE}"
        )
        try:
            root = Path(tempfile.mkdtemp(prefix="eptreplay-kernels-"))  # nobody else may enter it
        except OSError:
            self._given_up = True
            return
        atexit.register(_remove_folder, root, os.getpid())
        self._private = root / "eptreplay" / "kernels" / (self._folder.name if self._folder else "kernels")
        os.environ[VARIABLE] = str(root)


def packed(key: str, code: bytes) -> bytes:
    """Return the content of a file."""
    return HEADER.pack(MAGIC, len(code), _digest(key, code)) + code


def unpacked(content: bytes, key: str) -> bytes:
    """Return the code in a file.

    Raises:
        DamagedError: the content is not whole, or was saved under another key.
    """
    if len(content) < HEADER.size:
        raise DamagedError("too short")
    magic, length, digest = HEADER.unpack_from(content)
    code = content[HEADER.size :]
    if magic != MAGIC or length != len(code):
        raise DamagedError("not as long as it says")
    if digest != _digest(key, code):
        raise DamagedError("its SHA-256 is another")
    return code


def is_own(status: os.stat_result) -> bool:
    """Return whether a file or folder belongs to the user or root, and nobody else may write to it."""
    return status.st_uid in (os.geteuid(), ROOT) and not status.st_mode & WRITABLE_BY_OTHERS


def _digest(key: str, code: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(key.encode()).digest() + code).digest()


def _read(path: Path) -> bytes:
    """Return the content of a file of the user's own; nothing else that lies in its place is waited for or followed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError("no file")
        if not is_own(status):
            raise DamagedError("others may write to it")
        head = file.read(HEADER.size)
        if len(head) < HEADER.size or status.st_size != HEADER.size + HEADER.unpack(head)[1]:
            raise DamagedError("not as long as it says")  # found before all of a file of any length is read
        return head + file.read()


def _write(folder: Path, name: str, content: bytes) -> None:
    """Write a file under another name and rename it when it is whole, so that no process ever reads a part of it."""
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).replace(folder / name)
    except BaseException:
        _remove(Path(temporary))
        raise


def _made_private(folder: Path | None) -> Path:
    """Make a folder and the two above it so that only the user can write there, and return it.

    Raises:
        OSError: that cannot be done.
    """
    if folder is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    folder.parent.parent.parent.mkdir(parents=True, exist_ok=True)
    for part in (folder.parent.parent, folder.parent, folder):
        part.mkdir(mode=stat.S_IRWXU, exist_ok=True)
        status = part.stat()
        if status.st_uid == os.geteuid() and status.st_mode & WRITABLE_BY_OTHERS:
            part.chmod(stat.S_IMODE(status.st_mode) & ~WRITABLE_BY_OTHERS)
        if not is_own(part.stat()):
            raise PermissionError(errno.EPERM, "others may write to it", str(part))
    return folder


def _remove(path: Path) -> None:
    """Remove a file if that can be done."""
    try:
        path.unlink()
    except OSError:
        return


def _remove_folder(folder: Path, process: int) -> None:
    """Remove a folder at the end of the process that made it, not of a fork of it."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
