"""The folder of results: collected beside its place and moved there when all is done, so it is whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from eptreplay.errors import OutputError
from eptreplay.report.files import RUN_FILE, TABLES_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_output(out: Path, *, overwrite: bool) -> None:
    """Refuse an output folder that cannot be written or holds something else.

    Raises:
        OutputError: with what to do.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; give a folder with --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / RUN_FILE).exists():
            raise OutputError(
                f"{out}: holds files that are no run of eptreplay; give another folder with --out"
            )
        if not overwrite:
            raise OutputError(
                f"{out}: holds an older run; give another folder with --out, or --overwrite to replace it"
            )
    parent = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"{out}: cannot be written (no permission for {parent}); give another folder with --out"
        )


@contextmanager
def new_output(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary folder, with one for tables in it, that takes the place of `out` when the block ends well.

    Args:
        out: must not exist, be empty, or be an older run with `overwrite`.
        overwrite: whether an older run may be replaced.

    Raises:
        OutputError: the folder cannot be written, or holds something else.
    """
    check_output(out, overwrite=overwrite)
    work = _temporary(out.absolute())
    try:
        yield work
        _move(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _temporary(out: Path) -> Path:
    """Make a temporary folder beside the output folder."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        (work / TABLES_FOLDER).mkdir()
        work.chmod(0o777 & ~_umask())
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be written ({error.strerror}); give another folder with --out"
        ) from error
    return work


def _umask() -> int:
    """Return the process's file mode creation mask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _move(work: Path, out: Path) -> None:
    """Put a finished work folder in the place of the output folder."""
    for file in sorted(work.rglob("*")):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    if out.exists():
        shutil.rmtree(out)
    work.rename(out)
