"""The pages of a run: made in a temporary folder, from its tables alone, and moved in when all are complete.

A run may come from somebody else: nothing is written through a link, and of what lies in its folder only files
that the run itself wrote (its list says which) are replaced or removed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from eptreplay.errors import OutputError
from eptreplay.report.charts.csvs import CSV_FOLDER
from eptreplay.report.pages.html import ASSETS_FOLDER, render
from eptreplay.report.pages.text import GUESTS_FOLDER
from eptreplay.report.read.run import open_run
from eptreplay.run.beside import STAGE
from eptreplay.run.signals import deferred
from eptreplay.run.written import (
    files_in,
    fits,
    named,
    read_list,
    remove_empty,
    sync_all,
    sync_folder,
    version,
    write_list,
)
from eptreplay.tables.costs import COSTS
from eptreplay.tables.files import RUN_FILE, TABLES_FOLDER, inside
from eptreplay.tables.schema import REPLAYED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eptreplay.report.costs.costs import Assumptions
    from eptreplay.report.pages.html import OnPage
    from eptreplay.report.pages.text import Unrendered
    from eptreplay.run.written import Listed

FOLDERS = (GUESTS_FOLDER, CSV_FOLDER, ASSETS_FOLDER)
SOURCES = (RUN_FILE, *(f"{TABLES_FOLDER}/{table.name}.parquet" for table in REPLAYED))
"""What pages are made from."""


def make_pages(
    folder: Path, assumed: Assumptions | None = None, *, workers: int = 1, on_page: OnPage | None = None
) -> list[Unrendered]:
    """Make the pages of a run and its table of costs, in the place of older ones.

    What goes wrong before all are made leaves the folder as it was.

    Args:
        folder: of the run.
        assumed: parameters of the estimates; None: the defaults.
        workers: the most processes that render side by side.
        on_page: called with how many pages are made, and of how many.

    Returns:
        Guests without a page, in the order of the run.

    Raises:
        UsageError: the folder is not a run.
        OutputError: the run is damaged, or files that the run did not write are in the way.
        OSError: the folder cannot be written.
    """
    open_run(folder)
    listed = read_list(folder)
    with _stage(folder) as stage:
        unrendered = render(stage, assumed, workers=workers, on_page=on_page)
        for name in SOURCES:
            (stage / name).unlink(missing_ok=True)
        sync_all(stage)
        pages: Listed = {
            name: (written,)
            for name in files_in(stage)
            if (written := version(f"{stage}/{name}")) is not None
        }
        _refuse_strangers(folder, pages, listed)
        with deferred():
            _move_in(stage, folder, pages, listed or {})
    return unrendered


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """Give a temporary folder inside a run, with the run's tables in it but for the one that is made with the pages."""
    stage = Path(tempfile.mkdtemp(prefix=STAGE, dir=folder))
    try:
        (stage / TABLES_FOLDER).mkdir()
        for name in SOURCES:
            source = inside(folder, name)
            if source.exists():
                _link(source, stage / name)
        yield stage
    finally:
        with deferred():
            shutil.rmtree(stage, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    """Make a hard link to a file; copy it where the file system has no links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)


def _refuse_strangers(folder: Path, pages: Listed, listed: Listed | None) -> None:
    """Refuse to replace files that the run did not write, or that were changed since."""
    known = listed or {}
    standing = [
        name for name in pages if not _may_move_whole(folder, name) and os.path.lexists(inside(folder, name))
    ]
    strange = [name for name in standing if not fits(folder / name, (*known.get(name, ()), *pages[name]))]
    if strange and listed is None:
        raise OutputError(
            f"{folder}: has no list of the files it wrote (files.json), so {named(strange)} cannot be told from yours; "
            f"move {', '.join(('index.html', *FOLDERS))} and {TABLES_FOLDER}/{COSTS.name}.* away, or replay into another folder"
        )
    if strange:
        raise OutputError(
            f"{folder}: {named(strange)} would be replaced, but the run did not write them as they are; move them away"
        )


def _move_in(stage: Path, folder: Path, pages: Listed, listed: Listed) -> None:
    """Move finished pages into a run, and remove those of its own that are no longer made.

    At every moment each file is one that the list in the folder knows, so that this can be killed and done again.
    """
    both = dict(listed)
    for name, written in pages.items():
        both[name] = tuple(dict.fromkeys((*listed.get(name, ()), *written)))
    write_list(folder, both)
    new = [name for name in FOLDERS if (stage / name).is_dir() and _may_move_whole(folder, f"{name}/")]
    for name in new:
        (stage / name).rename(folder / name)
    for name in pages:
        if name.partition("/")[0] not in new:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).replace(folder / name)
    gone = [name for name in listed if name not in pages and name.split("/")[0] in FOLDERS]
    for name in gone:
        path = inside(folder, name)
        if fits(path, listed[name]):
            path.unlink()
    for name in FOLDERS:
        if (folder / name).is_dir() and name not in new:
            remove_empty(folder / name)
            sync_all(folder / name)
    sync_folder(folder)
    left = {name: pages.get(name, listed.get(name, ())) for name in both if name not in gone}
    if left != both:
        write_list(folder, left)


def _may_move_whole(folder: Path, name: str) -> bool:
    """Return whether a file is in a folder of pages that the run has not yet: it can be moved in with all that is in it."""
    first, slash, _ = name.partition("/")
    return bool(slash) and first in FOLDERS and not os.path.lexists(folder / first)
