"""What several commands say about the folder of a run: what killed runs left beside it, damage, and signals."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from eptreplay.cli.console import note
from eptreplay.errors import EptReplayError, OutputError
from eptreplay.run.leftovers import leftovers
from eptreplay.run.signals import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
    except (EptReplayError, BrokenPipeError):
        raise
    except OSError as error:
        raise OutputError(
            f"{error.filename or runs[0]}: cannot be read or written ({error.strerror})"
        ) from error
    except Exception as error:
        names = " or ".join(map(str, runs))
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise OutputError(
            f"{names}: cannot be shown ({text:.200}); tables or run.json are damaged, or this is a fault of eptreplay: replay again"
        ) from error


@contextmanager
def complete(out: Path) -> Iterator[None]:
    """Add to a signal that comes while a result is being announced that the result is complete."""
    try:
        yield
    except Stopped as stop:
        stop.add_note(f"{out} is complete")
        raise
