"""The command `clean`: remove what unfinished and killed runs left, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.cli.console import say
from eptreplay.errors import Exit
from eptreplay.run.lock import held
from eptreplay.run.unfinished.clear import clear_leftovers

if TYPE_CHECKING:
    from pathlib import Path


def clean(out: Path) -> int:
    """Carry out `clean` and return the exit code."""
    with held(out):
        cleared = clear_leftovers(out)
    for line in cleared.removed:
        say(line)
    for line in cleared.kept:
        say(line)
    if not (cleared.removed or cleared.kept):
        say(f"{out}: nothing was left by an unfinished or killed run")
    return Exit.SOME_FAILED if cleared.kept else Exit.GOOD
