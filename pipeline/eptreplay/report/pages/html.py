"""Writes the pages of a run: an index that compares guests and profiles, and one page per guest, from its tables alone."""

from __future__ import annotations

import shutil
from importlib.resources import files as resources
from typing import TYPE_CHECKING

from eptreplay.errors import RenderError
from eptreplay.report.charts.csvs import CSV_FOLDER
from eptreplay.report.costs.costs import Assumptions
from eptreplay.report.pages.index import index_page
from eptreplay.report.pages.text import GUESTS_FOLDER, Pages, Unrendered
from eptreplay.report.pages.workers import in_order, rendered
from eptreplay.report.read.run import open_run
from eptreplay.tables.costs import COSTS
from eptreplay.tables.files import TABLES_FOLDER, TableWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from eptreplay.report.pages.index import Line

    OnPage = Callable[[int, int], None]
    """Called with how many pages are made, and of how many; first with 0."""

ASSETS_FOLDER = "assets"
ASSETS = ("report.css", "report.js")


def render(
    folder: Path, assumed: Assumptions | None = None, *, workers: int = 1, on_page: OnPage | None = None
) -> list[Unrendered]:
    """Write `index.html`, one page per guest and the table of costs into the folder of a run.

    A guest whose page cannot be made costs its page: it is named on the index and returned, the others are there.

    Args:
        folder: of the run.
        assumed: parameters of the estimates; None: the defaults.
        workers: the most processes that render side by side; few guests are rendered in this one.
        on_page: called before the first page, and after every one.

    Returns:
        Guests without a page, in the order of the run.

    Raises:
        UsageError: the folder is not a run.
        OutputError: a table is missing or damaged.
        RenderError: no guest's page can be made.
    """
    assumed = assumed or Assumptions()
    run = open_run(folder)
    remove_pages(folder)
    for name in (GUESTS_FOLDER, ASSETS_FOLDER):
        (folder / name).mkdir()
    for name in ASSETS:
        asset = resources("eptreplay.report").joinpath("static", name).read_bytes()
        (folder / ASSETS_FOLDER / name).write_bytes(asset)
    pages = Pages(folder, assumed)
    lines, unrendered = _write_guests(pages, workers, on_page)
    if unrendered and not lines:
        raise RenderError(unrendered[0].why)
    text = pages.index(index_page(run, lines), [failure.as_failure() for failure in unrendered])
    (folder / "index.html").write_text(text, encoding="utf-8")
    return unrendered


def _write_guests(pages: Pages, workers: int, on_page: OnPage | None) -> tuple[list[Line], list[Unrendered]]:
    """Write every guest's page and the table of costs; return the index's lines, and guests without a page, in order."""
    lines: list[Line] = []
    unrendered: list[Unrendered] = []
    with TableWriter(pages.folder / TABLES_FOLDER, COSTS) as writer:
        if on_page is not None:
            on_page(0, pages.guests)
        for number, done in enumerate(in_order(rendered(pages, workers)), 1):
            if isinstance(done, Unrendered):
                unrendered.append(done)
            else:
                lines.append(done.line)
                writer.write({name: [row[name] for row in done.costs] for name in COSTS.names()})
            if on_page is not None:
                on_page(number, pages.guests)
    return lines, unrendered


def remove_pages(folder: Path) -> None:
    """Remove all that `render` writes, or older versions of it did, from the folder of a run."""
    for name in (GUESTS_FOLDER, CSV_FOLDER, ASSETS_FOLDER):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "index.html").unlink(missing_ok=True)
