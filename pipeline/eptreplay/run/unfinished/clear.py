"""What unfinished and killed runs left is removed, on command: only files that a run wrote."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import OutputError
from eptreplay.run.beside import OLD, folders, place, prefix, stages, unfinished_folder
from eptreplay.run.unfinished import folder as unfinished
from eptreplay.run.written import named, read_list, remove

if TYPE_CHECKING:
    from pathlib import Path


class Cleared(NamedTuple):
    """What was removed, and what was kept and why, a line each."""

    removed: list[str]
    kept: list[str]


def clear_leftovers(out: Path) -> Cleared:
    """Remove what runs into a folder left beside it and in it, but for the only whole run.

    Raises:
        OutputError: something cannot be removed.
    """
    cleared = Cleared([], [])
    try:
        work = unfinished.find(out)
        if work is not None:
            state = work.state()
            _tell(cleared, work.folder, f"an unfinished run ({state})", unfinished.clear(work.folder))
        elif os.path.lexists(unfinished_folder(out)):
            cleared.kept.append(f"{unfinished_folder(out)} is not a folder, so no run wrote it; it is kept")
        for folder in folders(out):
            _clear(cleared, folder, out)
        for folder in stages(out):
            _tell(cleared, folder, "pages in the making", unfinished.clear(folder))
    except OSError as error:
        raise OutputError(f"{error.filename or out}: cannot be removed ({error.strerror})") from error
    return cleared


def _clear(cleared: Cleared, folder: Path, out: Path) -> None:
    """Remove a temporary folder; an older run that was moved aside only where a whole one is in its place."""
    if not folder.name.startswith(prefix(out, OLD)):
        _tell(cleared, folder, "what a killed process left", unfinished.clear(folder))
    elif os.path.lexists(place(out)):
        _tell(cleared, folder, "an older run", remove(folder, read_list(folder) or {}))
    else:
        cleared.kept.append(f"{folder} is the older run, and nothing is in its place; it is kept")


def _tell(cleared: Cleared, folder: Path, what: str, left: list[str]) -> None:
    if left:
        cleared.kept.append(f"{folder}: {named(left)} were not written by a run and are kept")
    else:
        cleared.removed.append(f"removed {folder}, {what}")
