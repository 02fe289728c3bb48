"""The line of a trace in the `SHA256SUMS` of its folder, as `sha256sum` writes it; lines of other files are kept."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from eptreplay.errors import OutputError
from eptreplay.ingest.native.whole_file import whole_file
from eptreplay.ingest.trace.guard import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIGEST = 64
"""Hexadecimal digits of a SHA-256."""


def list_file(path: Path, digest: str) -> None:
    """Add the line of a file to the manifest beside it, or replace the one it has; make the manifest if there is none.

    Raises:
        OutputError: the manifest cannot be read or written.
    """
    _change(path, line_of(path.name, digest))


def unlist_file(path: Path) -> None:
    """Take the line of a file out of the manifest beside it, if it has one: what comes under that name is another file.

    Raises:
        OutputError: the manifest cannot be read or written.
    """
    if (path.parent / MANIFEST).exists():
        _change(path, b"")


def line_of(name: str, digest: str) -> bytes:
    """Return a line of `sha256sum`, which escapes names that would break it and says so by a backslash in front."""
    raw = os.fsencode(name)
    escaped = raw.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != raw else b"") + digest.encode() + b"  " + escaped + b"\n"


def _change(path: Path, line: bytes) -> None:
    """Replace the lines of a file in the manifest beside it by one line, or by none."""
    manifest = path.parent / MANIFEST
    own = line_of(path.name, "0" * _DIGEST).rstrip(b"\n")
    with _alone_in(path.parent):
        try:
            before = manifest.read_bytes() if manifest.exists() else b""
        except OSError as error:
            raise OutputError(
                f"{manifest}: it cannot be read ({error.strerror}), so {path.name} cannot be listed there"
            ) from error
        kept = [
            each for each in before.splitlines(keepends=True) if _without_digest(each) != _without_digest(own)
        ]
        after = _ended(b"".join(kept)) + line
        if after != before:
            with whole_file(manifest, overwrite=True) as file:
                file.write(after)


def _without_digest(line: bytes) -> bytes:
    """Return what a line names, whether it was hashed as text or as binary."""
    escaped = line.startswith(b"\\")
    rest = line.rstrip(b"\r\n")[_DIGEST + escaped :]
    return line[:escaped] + rest.replace(b" *", b"  ", 1) if rest.startswith(b" *") else line[:escaped] + rest


def _ended(text: bytes) -> bytes:
    return text + b"\n" if text and not text.endswith(b"\n") else text


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let no other process change the manifest of a folder meanwhile, where the file system has locks."""
    descriptor = -1
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)
