"""The command `report`: make the pages of a run again."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from eptreplay.cli.console import ProgressBar
from eptreplay.cli.pages import pages_into, show_page
from eptreplay.cli.run_folder import complete, damage_in_one_line, say_leftovers, say_not_shown
from eptreplay.errors import Exit
from eptreplay.report.costs.costs import parse_assumptions
from eptreplay.run.lock import held
from eptreplay.run.pages import make_pages
from eptreplay.run.signals import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def report(run: Path, assume: Sequence[str], *, open_page: bool) -> int:
    """Carry out `report` and return the exit code."""
    assumed = parse_assumptions(assume)
    folder = run.resolve()  # RUN may be a link
    say_leftovers(folder)
    with (
        damage_in_one_line(run),
        _older_pages_kept(run),
        held(folder),
        ProgressBar(None, "guests", "rendering") as bar,
    ):
        pageless = make_pages(run, assumed, workers=os.cpu_count() or 1, on_page=pages_into(bar))
    with complete(run):
        say_not_shown(pageless)
        show_page(run, open_page=open_page)
    return Exit.SOME_FAILED if pageless else Exit.GOOD


@contextmanager
def _older_pages_kept(run: Path) -> Iterator[None]:
    """Add to a signal that comes before new pages are moved in that the older ones are as they were."""
    try:
        yield
    except Stopped as stop:
        stop.add_note(f"the pages of {run} are as they were")
        raise
