"""What several commands say about the folder of a run: what killed runs left beside it, damage, and signals."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from eptreplay.cli.console import note
from eptreplay.errors import EptReplayError, OutputError, RenderError
from eptreplay.run.leftovers import leftovers
from eptreplay.run.signals import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from eptreplay.report.pages.text import Unrendered

DAMAGED_OR_OURS = "tables or run.json are damaged, or this is a fault of eptreplay"
"""What is said of the tables of a run from anywhere that raise what no check foresees."""


def say_leftovers(out: Path) -> None:
    """Say what killed runs left beside the folder of a run."""
    for line in leftovers(out):
        note(line)


@contextmanager
def damage_in_one_line(*runs: Path) -> Iterator[None]:
    """Turn whatever goes wrong with runs that may come from somebody else into an error of one line.

    What run.json and the tables must be is checked first; this is for values that no check foresees.

    Raises:
        OutputError: the runs' tables do not fit together.
    """
    try:
        yield
    except RenderError as error:  # of pages that are made aside: it does not say of which run
        raise OutputError(_not_shown(runs, str(error))) from error
    except (EptReplayError, BrokenPipeError):
        raise
    except OSError as error:
        raise OutputError(
            f"{error.filename or runs[0]}: cannot be read or written ({error.strerror})"
        ) from error
    except Exception as error:
        raise OutputError(_not_shown(runs, f"{type(error).__name__}: {error}")) from error


def say_not_shown(pageless: Sequence[Unrendered]) -> None:
    """Say which guests of a run from anywhere have no page; its tables may be damaged."""
    for failure in pageless:
        why = f"{failure.why}; {DAMAGED_OR_OURS}" if failure.traceback else failure.why
        note(f"guest '{failure.guest}' has no page: {why}")


def _not_shown(runs: Sequence[Path], why: str) -> str:
    """Return in a line that runs cannot be shown."""
    names = " or ".join(map(str, runs))
    return f"{names}: cannot be shown ({' '.join(why.split()):.200}); {DAMAGED_OR_OURS}: replay again"


@contextmanager
def complete(out: Path) -> Iterator[None]:
    """Add to a signal that comes while a result is being announced that the result is complete."""
    try:
        yield
    except Stopped as stop:
        stop.add_note(f"{out} is complete")
        raise
