"""How large the files of a trace are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.ingest.trace.remote_path import AnyPath


def bytes_of(trace: GuestTrace) -> int:
    """Return the bytes of all files of a trace, here or in a store.

    Raises:
        OSError: a file is not there any more.
        TraceError: the store does not answer.
    """
    return sum(map(_bytes_of, trace.files))


def _bytes_of(path: AnyPath) -> int:
    if isinstance(path, Path):
        return path.stat().st_size
    with path.open() as file:
        return file.seek(0, os.SEEK_END)
