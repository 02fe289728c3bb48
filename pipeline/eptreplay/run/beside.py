"""Names of what lies beside an output folder: its lock, new results, and an older run moved out of the way."""

from __future__ import annotations

import os
import re
from pathlib import Path

LETTERS = 8
"""Characters that `tempfile` puts at the end of a name."""

STAGE = ".eptreplay-pages-"
"""How the name of a folder inside a run begins, in which pages are made before they are moved in."""

NEW, OLD, LOCK = "eptreplay-", "eptreplay-old-", "eptreplay-lock"
UNFINISHED = "eptreplay-unfinished"
LONGEST = len(f"..{OLD}".encode()) + LETTERS
"""Bytes by which the longest name beside a folder is longer than the folder's."""


def place(out: Path) -> Path:
    """Return where an output folder is or will be: its parent without links, and its own name."""
    whole = out.absolute()
    if whole.name in ("", ".."):
        return Path(os.path.realpath(whole))
    return Path(os.path.realpath(whole.parent)) / whole.name


def prefix(out: Path, what: str) -> str:
    """Return how the name of something beside an output folder begins."""
    return f".{place(out).name}.{what}"


def lock_file(out: Path) -> Path:
    """Return the lock of an output folder."""
    at = place(out)
    return at.with_name(prefix(at, LOCK))


def unfinished_folder(out: Path) -> Path:
    """Return the folder of the unfinished run that is to become an output folder."""
    at = place(out)
    return at.with_name(prefix(at, UNFINISHED))


def folders(out: Path) -> list[Path]:
    """Return the temporary folders beside an output folder (new results, older runs), in the order of their names."""
    at = place(out)
    name = re.compile(re.escape(prefix(at, NEW)) + rf"(old-)?\w{{{LETTERS}}}", re.ASCII)
    return _folders(at.parent, name)


def stages(run: Path) -> list[Path]:
    """Return the folders inside a run in which pages were being made, in order of their names."""
    return _folders(run, re.compile(re.escape(STAGE) + rf"\w{{{LETTERS}}}", re.ASCII))


def _folders(parent: Path, name: re.Pattern[str]) -> list[Path]:
    """Return the folders of such a name."""
    try:
        with os.scandir(parent) as entries:
            found = [
                entry.name
                for entry in entries
                if name.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:  # no such folder, or no permission to list it: nothing was left there
        return []
    return [parent / name for name in sorted(found)]
