"""The output folder: written under a temporary name and renamed when all is done, so it is complete or absent.

An older run is renamed first and removed last, and only files that it wrote itself are removed: whenever the process is
killed, one complete run exists, and `leftovers` says where.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from eptreplay.errors import OutputError
from eptreplay.run.beside import LONGEST, NEW, OLD, place, prefix
from eptreplay.run.lock import held
from eptreplay.run.signals import Stopped, deferred
from eptreplay.run.written import (
    LIST_FILE,
    list_all,
    named,
    read_list,
    remove,
    strangers,
    sync_all,
    sync_folder,
    write_list,
)
from eptreplay.tables.files import RUN_FILE, TABLES_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eptreplay.run.written import Listed

ELSEWHERE = "give another folder with --out"
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def check_output(out: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuse an output folder that cannot be written or holds something else.

    Args:
        out: must not exist, be empty, or be an older run with `overwrite`.
        overwrite: whether an older run may be replaced.
        inputs: files and folders that the command reads.

    Raises:
        OutputError: with what to do.
    """
    _check_name(out)
    if out.is_symlink():
        raise OutputError(f"{out}: is a link to {out.readlink()}; give the folder itself with --out")
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; give a folder with --out")
    _check_inputs(out, inputs)
    parent = next(folder for folder in (place(out), *place(out).parents) if folder.is_dir())
    if parent == place(out):
        _list_of_older(out, overwrite=overwrite)
        parent = parent.parent
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{out}: cannot be written (no permission for {parent}); {ELSEWHERE}")


def _check_name(out: Path) -> None:
    """Refuse what cannot be the name of a folder."""
    if str(out) == "-":
        raise OutputError(f"-: results are a folder and cannot go to standard output; {ELSEWHERE}")
    whole = place(out)
    if not whole.name:
        raise OutputError(f"{out}: is the root of the file system; {ELSEWHERE}")
    try:
        parent = next(folder for folder in whole.parents if folder.is_dir())
        longest = os.pathconf(parent, "PC_NAME_MAX") - LONGEST
        out.lstat()
    except FileNotFoundError:
        pass
    except NotADirectoryError as error:
        raise OutputError(f"{out}: is below a file, not a folder; {ELSEWHERE}") from error
    except (OSError, ValueError) as error:
        shown = f"{out!s:.60}..." if len(str(out)) > 60 else str(out)
        raise OutputError(
            f"{shown}: cannot be a folder ({getattr(error, 'strerror', error)}); {ELSEWHERE}"
        ) from error
    if len(os.fsencode(whole.name)) > longest:
        raise OutputError(f"{whole.name[:60]}...: is a name of more than {longest} bytes; {ELSEWHERE}")


def _check_inputs(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse an output folder that is an input or contains one: inputs are never replaced."""
    at = place(out)
    for path in inputs:
        real = path.resolve()
        if real == at or at in real.parents:
            raise OutputError(f"{out}: holds {path}, which is read; {ELSEWHERE}")


def _list_of_older(out: Path, *, overwrite: bool) -> Listed | None:
    """Return the files of the older run in the place of the new one; None where there is no run, or an empty folder.

    Raises:
        OutputError: what is there is not a run, or holds other files too, or may not be replaced.
    """
    try:
        empty = not any(out.iterdir())
    except OSError as error:
        raise OutputError(f"{out}: cannot be looked into ({error.strerror}); {ELSEWHERE}") from error
    if empty:
        return None
    if not os.path.lexists(out / RUN_FILE):
        raise OutputError(f"{out}: holds files that are no run of eptreplay; {ELSEWHERE}")
    if not overwrite:
        raise OutputError(f"{out}: holds an older run; {ELSEWHERE}, or --overwrite to replace it")
    listed = read_list(out)
    if listed is None:
        raise OutputError(
            f"{out}: has a {RUN_FILE} but no list of the files that a run wrote ({LIST_FILE}), so what may be removed "
            f"cannot be told; {ELSEWHERE}, or remove this one yourself"
        )
    strange = strangers(out, listed)
    if strange:
        raise OutputError(
            f"{out}: {named(strange)} in it were not written by the older run as they are, so it is not replaced; "
            f"move them away, or {ELSEWHERE}"
        )
    return listed


@contextmanager
def reserved(out: Path, *, overwrite: bool, inputs: Sequence[Path]) -> Iterator[None]:
    """Reserve an output folder for this process from the start of a command to its end.

    Args:
        out: see `check_output`.
        overwrite: likewise.
        inputs: likewise.

    Raises:
        OutputError: the folder cannot be written, holds something else, or another process writes it.
    """
    check_output(out, overwrite=overwrite, inputs=inputs)
    made = make_parents(out)
    try:
        with held(out):
            yield
    finally:
        for folder in made:
            with suppress(OSError):  # something is in it
                folder.rmdir()


def make_parents(out: Path) -> list[Path]:
    """Make the folders that an output folder is to be in; return those that were missing, the lowest first."""
    missing = [folder for folder in place(out).parents if not folder.exists()]
    try:
        place(out).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); {ELSEWHERE}") from error
    return missing


@contextmanager
def new_output(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary folder, with one for tables in it, that takes the place of `out` when the block ends well.

    Args:
        out: must not exist, be empty, or be an older run with `overwrite`.
        overwrite: whether an older run may be replaced.

    Raises:
        OutputError: the folder cannot be written, or holds something else; if that shows only at the end, the
            finished run is kept beside it and named.
    """
    check_output(out, overwrite=overwrite)
    work = _temporary(out)
    try:
        yield work
        write_list(work, list_all(work, read_list(work) or {}))
        sync_all(work)
    except BaseException as error:
        with deferred():
            shutil.rmtree(work, ignore_errors=True)
        if isinstance(error, Stopped):
            older = (
                "the older run there is as it was"
                if (out / RUN_FILE).exists()
                else "nothing of the run is left"
            )
            error.add_note(f"{out} was not written; {older}")
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise OutputError(
                f"{out}: was not written ({error.strerror}); make room, or {ELSEWHERE}"
            ) from error
        raise
    try:
        with deferred():
            move_into_place(work, out, overwrite=overwrite)
    except Stopped as stop:
        stop.add_note(f"{out} is complete")
        raise


def _temporary(out: Path) -> Path:
    """Make a temporary folder beside the output folder."""
    make_parents(out)
    try:
        work = Path(tempfile.mkdtemp(prefix=prefix(out, NEW), dir=place(out).parent))
        (work / TABLES_FOLDER).mkdir()
        work.chmod(0o777 & ~_umask())
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); {ELSEWHERE}") from error
    return work


def _umask() -> int:
    """Return the process's file mode creation mask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def move_into_place(work: Path, out: Path, *, overwrite: bool) -> None:
    """Put a finished work folder in the place of the output folder: rename the old one, rename the new one, remove the old one."""
    at = place(out)
    old, listed = None, None
    try:
        if at.is_dir():
            listed = _list_of_older(out, overwrite=overwrite)
        if listed is not None:
            old = Path(tempfile.mkdtemp(prefix=prefix(out, OLD), dir=at.parent))
            at.rename(old)
            sync_folder(at.parent)
        work.rename(at)  # onto nothing or an empty folder: the system refuses anything else
    except (OutputError, OSError) as error:
        older = _restore_older(old, at)
        raise OutputError(
            f"{_why(error, out)}; the finished run is in {_make_visible(work, at)}{older}"
        ) from error
    sync_folder(at.parent)
    left = [] if old is None or listed is None else remove(old, listed)
    if left:
        raise OutputError(
            f"{out} is complete; {named(left)} that came into the older run while it was replaced are kept in {old}"
        )


def _restore_older(old: Path | None, at: Path) -> str:
    """Put an older run back in its place; return where it is if something else is there by now."""
    if old is None:
        return ""
    with suppress(OSError):
        old.rmdir()  # which it allows only if the older run was never moved
        return ""
    try:
        old.rename(at)
    except OSError:
        return f", and the older run in {old}"
    return ""


def _why(error: OutputError | OSError, out: Path) -> str:
    """Return why a finished run could not be put in its place."""
    if isinstance(error, OutputError):
        return str(error)
    if os.path.lexists(out):
        return f"{out}: something came there while the run went on, and is kept"
    return f"{out}: cannot be written ({error.strerror})"


def _make_visible(work: Path, at: Path) -> Path:
    """Give a finished run that cannot take its place a name that is not hidden, and return it."""
    for number in itertools.count(1):
        kept = at.with_name(f"{at.name}-{number}")
        try:
            kept.mkdir()
            work.rename(kept)
        except FileExistsError:
            continue
        except OSError:
            return work
        return kept
    raise AssertionError
