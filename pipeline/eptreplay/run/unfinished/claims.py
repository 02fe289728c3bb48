"""Claims of parts of an unfinished run: files that are locked while a process carries a part out, also from other machines."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from eptreplay.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLAIMS_FOLDER = "claims"
LONGEST = 300


@contextmanager
def claimed(folder: Path, part: int) -> Iterator[str | None]:
    """Claim a part while the block runs; give who has claimed it already, None if nobody has.

    A claim ends with its process.  Where the file system has no locks everybody gets the part, which costs time and no result.

    Raises:
        OutputError: the claim cannot be written.
    """
    try:
        (folder / CLAIMS_FOLDER).mkdir(exist_ok=True)
        file = os.open(
            folder / CLAIMS_FOLDER / f"{part:06}",
            os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o666,
        )
    except OSError as error:
        raise OutputError(f"{folder}: part {part} cannot be claimed ({error.strerror})") from error
    try:
        holder = _lock(file)
        if holder is None:
            began = time.strftime("%Y-%m-%d %H:%M:%S %z")
            os.ftruncate(file, 0)
            os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}, since {began}".encode(), 0)
        yield holder
    finally:
        os.close(file)


def _lock(file: int) -> str | None:
    """Lock a claim; return who has locked it already."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(file, LONGEST, 0).decode(errors="replace")
        return "".join(letter if letter.isprintable() else " " for letter in text) or "another process"
    except OSError:  # no locks here
        return None
    return None


def refuse_while_claimed(folder: Path) -> None:
    """Refuse to go on while a process carries out a part.

    Raises:
        OutputError: one does; names it.
    """
    try:
        claims = sorted((folder / CLAIMS_FOLDER).iterdir())
    except OSError:
        return
    for path in claims:
        try:
            file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            holder = _lock(file)
        finally:
            os.close(file)
        if holder is not None:
            raise OutputError(f"{folder}: part {int(path.name)} is being carried out ({holder}); wait for it")
