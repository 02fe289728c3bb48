"""The list of files that a run wrote: what may be removed of its folder, and what may not."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.errors import OutputError
from eptreplay.tables.files import inside

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

LIST_FILE = "files.json"
UNFINISHED = f".{LIST_FILE}.new"
OWN = (LIST_FILE, UNFINISHED)
NAMED = 3
"""The most files that a message names."""

FEW = 512
"""Files and folders that are synchronised one by one, at the most."""


SMALL = 1 << 16
"""Bytes of a file that is read in one piece, at the most: most of 100,000 files are so small."""


class Version(NamedTuple):
    """A file as a run wrote it."""

    bytes: int
    sha256: str


Listed = dict[str, tuple[Version, ...]]
"""By path in the folder, with slashes: what a run wrote there; twice only while pages are being replaced."""


def version(path: Path | str) -> Version | None:
    """Return what a file holds; None if it does not exist or is not a regular file (a link, a folder, a device)."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(file, "rb", buffering=0) as handle:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode):
            return None
        if about.st_size <= SMALL and len(whole := handle.read(SMALL + 1)) == about.st_size:
            return Version(about.st_size, hashlib.sha256(whole).hexdigest())
        handle.seek(0)
        return Version(about.st_size, hashlib.file_digest(handle, "sha256").hexdigest())


def fits(path: Path | str, versions: Sequence[Version]) -> bool:
    """Return whether a file holds what a run wrote there."""
    try:
        size = os.lstat(path).st_size
    except OSError:
        return False
    return any(known.bytes == size for known in versions) and version(path) in versions


def files_in(folder: Path) -> Iterator[str]:
    """Yield the path of everything in a folder and below that is not a folder; links are not followed.

    Raises:
        OutputError: a folder cannot be listed, so that it is not known what it holds.
    """

    def refuse(error: OSError) -> None:
        raise OutputError(f"{error.filename}: cannot be looked into ({error.strerror}); give another folder")

    # Of 100,000 files, a path object for each takes its time.
    for here, folders, files in os.walk(folder, onerror=refuse):
        links = [name for name in folders if os.path.islink(os.path.join(here, name))]  # noqa: PTH114, PTH118 - see above
        below = Path(here).relative_to(folder).as_posix()
        start = "" if below == "." else f"{below}/"
        for name in sorted([*files, *links]):
            yield start + name


def strangers(folder: Path, listed: Listed) -> list[str]:
    """Return what is in a folder and was not written by the run, or was changed since."""
    return [
        name
        for name in files_in(folder)
        if name not in OWN and not (name in listed and fits(folder / name, listed[name]))
    ]


def named(names: Sequence[str]) -> str:
    """Return how many files there are, and what the first are called."""
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names):,} file{'s' if len(names) != 1 else ''} ({', '.join(names[:NAMED])}{more})"


def list_all(folder: Path, known: Listed, but: Container[str] = ()) -> Listed:
    """Return a list of every file in a folder of our own.

    Args:
        folder: whose.
        known: those that are not read again.
        but: names of files and folders in it that are left out.
    """
    found: Listed = dict(known)
    for name in files_in(folder):
        left_out = name in found or name in OWN or name.partition("/")[0] in but
        written = None if left_out else version(folder / name)
        if written is not None:
            found[name] = (written,)
    return found


def write_list(folder: Path, listed: Listed) -> None:
    """Write the list in the place of an older one, whole or not at all."""
    temporary = folder / UNFINISHED
    temporary.unlink(missing_ok=True)
    with temporary.open("x", encoding="utf-8", errors="surrogateescape") as handle:
        handle.write(_as_json(listed))
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(folder / LIST_FILE)
    sync_folder(folder)


def _as_json(listed: Listed) -> str:
    """Return a list of files as JSON, indented: the encoder of the standard library takes seconds for 100,000 of them."""
    files = []
    for name in sorted(listed):
        versions = [
            f'   {{\n    "bytes": {of.bytes},\n    "sha256": "{of.sha256}"\n   }}' for of in listed[name]
        ]
        files.append(f"  {json.dumps(name, ensure_ascii=False)}: [\n{_lines(versions)}\n  ]")
    return f'{{\n "files": {{\n{_lines(files)}\n }}\n}}\n'


def _lines(parts: Sequence[str]) -> str:
    return ",\n".join(parts)


def read_list(folder: Path) -> Listed | None:
    """Return the list of files that a run wrote; None if its folder has none.

    Raises:
        OutputError: it is damaged, or names what is not in the folder.
    """
    path = inside(folder, LIST_FILE)
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return _parsed(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise OutputError(
            f"{path}: is damaged ({error}), so it is not known what the run wrote; replay into another folder"
        ) from error


def _parsed(found: Mapping[str, Any]) -> Listed:
    listed: Listed = {}
    for name, versions in found["files"].items():
        if not {"", ".", ".."}.isdisjoint(name.split("/")) or name in OWN:
            raise ValueError(f"no path of a file of a run: {name!r}")
        listed[name] = tuple(Version(_size(each["bytes"]), _digest(each["sha256"])) for each in versions)
    return listed


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"no size: {value!r}")
    return value


def _digest(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"no SHA-256: {value!r}")
    return value


def remove(folder: Path, listed: Listed) -> list[str]:
    """Remove what a run wrote, then its folder; return what is left in it because the run did not write it."""
    for name, versions in listed.items():
        path = inside(folder, name)
        if fits(path, versions):
            path.unlink()
    left = [name for name in files_in(folder) if name not in OWN]
    if not left:
        for name in OWN:
            (folder / name).unlink(missing_ok=True)
        remove_empty(folder)
    return left


def remove_empty(folder: Path) -> None:
    """Remove a folder and those below it, as far as they are empty."""
    for here, _, _ in os.walk(folder, topdown=False):
        if not os.listdir(here):  # noqa: PTH208 - only the names are needed
            os.rmdir(here)  # noqa: PTH106 - os.walk gives names, not paths


def sync_folder(folder: Path) -> None:
    """Flush the directory entries of a folder to disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_all(folder: Path) -> None:
    """Make every file and name in a folder and below last through a loss of power.

    One by one that takes milliseconds a file, minutes for many guests; so many are left to the file system at once.
    """
    paths = [os.path.join(here, name) for here, _, files in os.walk(folder) for name in (*files, ".")]  # noqa: PTH118 - see files_in
    if len(paths) > FEW and sync_file_system(folder):
        return
    for path in paths:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def sync_file_system(folder: Path) -> bool:
    """Make all of the file system that a folder is on last; return whether this system can (Linux), and did.

    Unlike `os.sync` it waits for no other file system, and tells of errors (since Linux 5.8).
    """
    try:
        syncfs = ctypes.CDLL(None).syncfs
    except AttributeError:
        return False
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return bool(syncfs(file) == 0)
    finally:
        os.close(file)
