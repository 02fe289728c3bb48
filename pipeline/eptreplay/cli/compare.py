"""The command `compare`: two runs of the same guests on the same pages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from eptreplay.cli.console import ProgressBar
from eptreplay.cli.pages import pages_into, show_page
from eptreplay.cli.run_folder import complete, damage_in_one_line, say_leftovers, say_not_shown
from eptreplay.errors import Exit
from eptreplay.report.compare import merge
from eptreplay.report.costs.costs import parse_assumptions
from eptreplay.report.read.run import open_run
from eptreplay.run.output import new_output, reserved
from eptreplay.run.pages import make_pages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def compare(
    first: Path, second: Path, out: Path, assume: Sequence[str], *, overwrite: bool, open_page: bool
) -> int:
    """Carry out `compare` and return the exit code."""
    assumed = parse_assumptions(assume)
    for run in (first, second):
        say_leftovers(run.resolve())
        with damage_in_one_line(run):
            open_run(run)
    say_leftovers(out)
    with (
        damage_in_one_line(first, second),
        reserved(out, overwrite=overwrite, inputs=(first, second)),
        new_output(out, overwrite=overwrite) as work,
    ):
        merge(first, second, work)
        with ProgressBar(None, "guests", "rendering") as bar:
            pageless = make_pages(work, assumed, workers=os.cpu_count() or 1, on_page=pages_into(bar))
    with complete(out):
        say_not_shown(pageless)
        show_page(out, open_page=open_page)
    return Exit.SOME_FAILED if pageless else Exit.GOOD
