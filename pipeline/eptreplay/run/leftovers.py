"""What killed runs left beside an output folder: reported with the command that recovers or removes it, never touched."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from eptreplay.errors import EptReplayError, OutputError
from eptreplay.run.beside import OLD, folders, place, prefix, stages
from eptreplay.run.lock import holder
from eptreplay.run.unfinished.folder import command_of, find
from eptreplay.run.written import read_list
from eptreplay.tables.files import TABLES_FOLDER, read_run_file, read_table
from eptreplay.tables.schema import SUMMARY

if TYPE_CHECKING:
    from pathlib import Path


def leftovers(out: Path) -> list[str]:
    """Return a line for every folder that a killed process left beside or in an output folder; none while another run holds the lock."""
    found, unmoved, work = folders(out), stages(out), _unfinished(out)
    if not (found or unmoved or work) or holder(out) is not None:
        return []
    return [
        *work,
        *(_message(folder, place(out)) for folder in found),
        *(
            f"{folder} was left by a process that was killed while it made pages; to remove it: rm -r {shlex.quote(str(folder))}"
            for folder in unmoved
        ),
    ]


def _unfinished(out: Path) -> list[str]:
    """Return a line about the unfinished run beside an output folder, if there is one."""
    try:
        work = find(out)
        if work is None:
            return []
        what, clear = work.state(), f"to clear it: eptreplay clean {shlex.quote(str(place(out)))}"
        if not work.holds_anything():
            return [f"{work.folder} was left by a run that was killed before anything was done; {clear}"]
    except OutputError as error:
        return [str(error)]
    return [f"{work.folder} is an unfinished run, {what}; to go on: {command_of(work)}; {clear}"]


def _message(folder: Path, out: Path) -> str:
    """Return what a folder is, and what to do with it."""
    old = folder.name.startswith(prefix(out, OLD))
    there, into = shlex.quote(str(folder)), shlex.quote(str(out))
    remove = f"to remove it: rm -r {there}"
    if _is_whole(folder):
        run = "the older run, whole" if old else "a whole run"
        keep = f"to keep it: mv {there} {into}" + ("-kept" if os.path.lexists(out) else "")
        return f"{folder} is {run}, left by a process that was killed; {keep}; {remove}"
    if old:
        return f"{folder} is what a killed process left of an older run that it was removing; {remove}"
    if _has_tables(folder):
        return f"{folder} has all tables of a run that was killed, but no pages; to make them: eptreplay report {there}; {remove}"
    return f"{folder} was left by a run that was killed before its tables were whole; {remove}"


def _is_whole(folder: Path) -> bool:
    """Return whether a folder holds a run with its pages, and every file of its list at its full size."""
    try:
        listed = read_list(folder)
        if listed is None or "index.html" not in listed:
            return False
        read_run_file(folder)
        sizes = {name: (folder / name).lstat().st_size for name in listed}
    except (EptReplayError, OSError):
        return False
    return all(any(of.bytes == sizes[name] for of in versions) for name, versions in listed.items())


def _has_tables(folder: Path) -> bool:
    """Return whether a folder holds a run from whose tables pages can be made."""
    try:
        read_run_file(folder)
        read_table(folder, SUMMARY)
        return read_list(folder) is not None and (folder / TABLES_FOLDER / "columns.csv").exists()
    except (EptReplayError, OSError):
        return False
