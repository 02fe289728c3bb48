"""The command `summary`: the essentials of a run as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.cli.run_folder import damage_in_one_line, say_leftovers
from eptreplay.errors import Exit
from eptreplay.report.costs.costs import parse_assumptions
from eptreplay.report.terminal import print_summary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def summary(run: Path, guests: Sequence[str], assume: Sequence[str]) -> int:
    """Carry out `summary` and return the exit code."""
    assumed = parse_assumptions(assume)
    say_leftovers(run.resolve())
    with damage_in_one_line(run):
        print_summary(run, guests, assumed)
    return Exit.GOOD
