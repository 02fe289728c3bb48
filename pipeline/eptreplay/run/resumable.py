"""The output of a run that can be resumed: what is done stays beside the output folder until the whole takes its place."""

from __future__ import annotations

import os
import shlex
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.errors import OutputError
from eptreplay.run.beside import OLD, folders, place, prefix, unfinished_folder
from eptreplay.run.output import ELSEWHERE, check_output, make_parents, move_into_place
from eptreplay.run.signals import Stopped, deferred
from eptreplay.run.unfinished import folder as unfinished
from eptreplay.run.unfinished.claims import refuse_while_claimed
from eptreplay.run.unfinished.manifest import MANIFEST_FILE, append
from eptreplay.run.written import list_all, read_list, remove, sync_all, write_list
from eptreplay.tables.files import RUN_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from eptreplay.run.unfinished.folder import Work


class Beginning(NamedTuple):
    """How an output begins.

    Args:
        about: see `manifest.head`.
        inputs: see `manifest.input_of`, of every guest.
        command: the line that resumes the run.
        overwrite: whether an older run may be replaced.
        resume: whether to go on with an unfinished run, if there is one.
    """

    about: Mapping[str, Any]
    inputs: Sequence[Mapping[str, Any]]
    command: str
    overwrite: bool = False
    resume: bool = False


@contextmanager
def resumable_output(out: Path, beginning: Beginning) -> Iterator[Work]:
    """Give the folder of an unfinished run, which takes the place of `out` when the block ends well.

    When it ends otherwise, the folder stays where it is if anything of the run is done, and the error says how to go on.

    Args:
        out: must not exist, be empty, or be an older run with `overwrite`.
        beginning: how.

    Raises:
        OutputError: the folder cannot be written, or holds something else; if that shows only at the end, the
            finished run is kept beside it and named.
    """
    check_output(out, overwrite=beginning.overwrite)
    work: Work | None = None
    try:
        with deferred():
            work = _begin(out, beginning)
        yield work
        _complete(work)
    except BaseException as error:
        if work is None:
            raise
        with deferred():
            state = _leave(work, error, beginning.command)
        if isinstance(error, OSError):
            raise OutputError(f"{out}: was not finished ({error.strerror or error}); {state}") from error
        raise
    try:
        with deferred():
            older = _older_aside(out) if beginning.resume and beginning.overwrite else []
            move_into_place(work.folder, out, overwrite=beginning.overwrite)
            for folder in older:
                remove(folder, read_list(folder) or {})
    except Stopped as stop:
        stop.add_note(f"{out} is complete")
        raise


def _begin(out: Path, beginning: Beginning) -> Work:
    """Begin a run, or go on with one.

    Raises:
        OutputError: the folder cannot be written, or what is there cannot be resumed.
    """
    refuse_while_claimed(unfinished_folder(out))
    begin = unfinished.resume if beginning.resume else unfinished.start
    try:
        make_parents(out)
        work = begin(out, beginning.about, beginning.inputs)
        unfinished.write_command(work, beginning.command)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); {ELSEWHERE}") from error
    return work


def _complete(work: Work) -> None:
    """Make a run with its tables and pages last, list its files, and remove what it needs no longer."""
    if not work.is_assembled():
        sync_all(work.folder)
        append(work.folder, "complete", {})
    unfinished.clear_working(work.folder)
    known = {name: of for name, of in (read_list(work.folder) or {}).items() if name != MANIFEST_FILE}
    write_list(work.folder, list_all(work.folder, known))
    sync_all(work.folder)


def _older_aside(out: Path) -> list[Path]:
    """Return older runs that a killed process had moved aside and not yet removed, when there is nothing in their place."""
    if os.path.lexists(out):
        return []
    begins = prefix(out, OLD)
    return [folder for folder in folders(out) if folder.name.startswith(begins)]


def _leave(work: Work, error: BaseException, command: str) -> str:
    """Keep what is done, and clear a folder in which nothing is; return what became of the run, and add it to a signal."""
    if work.holds_anything():
        clean = f"eptreplay clean {shlex.quote(str(place(work.out)))}"
        state = f"{work.state()} and kept; to go on: {command}; to clear it: {clean}"
        older = ""
    else:
        with suppress(OSError):
            unfinished.clear(work.folder)
        state = f"nothing of it is kept; make room, or {ELSEWHERE}"
        older = "nothing of the run is left"
        if (work.out / RUN_FILE).exists():
            older = "the older run there is as it was"
    if isinstance(error, Stopped):
        error.add_note(f"{work.out} was not written; {older or state}")
    return state
