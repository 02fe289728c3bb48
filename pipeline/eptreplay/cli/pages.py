"""What several commands print about pages: progress, guests without a page, and the first page."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING

from eptreplay.cli.console import note, say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eptreplay.cli.console import ProgressBar
    from eptreplay.report.pages.html import OnPage
    from eptreplay.report.pages.text import Unrendered


def pages_into(bar: ProgressBar) -> OnPage:
    """Return a callback that shows pages made as progress."""

    def on_page(made: int, of: int) -> None:
        if made:
            bar.advance(1)
        else:
            bar.begin(of, "guests", "rendering")

    return on_page


def say_pageless(pageless: Sequence[Unrendered]) -> None:
    """Say which guests have no page, and where a fault of ours occurred."""
    for failure in pageless:
        note(f"guest '{failure.guest}': its tables are complete, but it has no page: {failure.why}")
    for failure in pageless[:1]:
        if failure.traceback:
            note(
                f"a fault of eptreplay itself; please report it to the project:\n{failure.traceback.rstrip()}"
            )


def show_page(run: Path, *, open_page: bool) -> None:
    """Say where the first page of a run is, and open it in a browser if asked to."""
    page = run / "index.html"
    say(f"open {page}")
    if open_page and not webbrowser.open(page.absolute().as_uri()):
        note(f"no browser was found; open {page} yourself")
