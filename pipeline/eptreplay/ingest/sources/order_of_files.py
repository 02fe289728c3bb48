"""In which order the files of one guest come: natural order of their names, or the order of their times."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.ingest.sources.times import with_ends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.sources.trace_file import TraceFile


class _Timed(NamedTuple):
    """A file with the times of its first and last row."""

    file: TraceFile
    first: int
    last: int


def in_order_of_time(files: Sequence[TraceFile]) -> tuple[list[TraceFile], tuple[str, ...]]:
    """Return the files of a guest in the order of the accesses, and a sentence if that is not the order of their names.

    The order of names is kept where time never goes back from a file to the next, and where no other order is better.

    Args:
        files: in natural order of their names. Where statistics do not say when one begins and ends, that is decoded.

    Raises:
        TraceError: a file is damaged.
    """
    if len(files) < 2 or any("guest" in file.columns for file in files):
        return list(files), ()
    timed = [_timed(file) for file in files if file.row_groups]
    known = [each for each in timed if each is not None]
    if len(known) < len(timed):
        return list(files), ()
    empty = [file for file in files if not file.row_groups]
    if not _follow(known):
        by_time = sorted(known, key=lambda each: (each.first, each.last))
        if _follow(by_time):
            said = f"its {len(files)} files are read in the order of their times, which is not that of their names"
            return [each.file for each in by_time] + empty, (said,)
    return [each.file for each in known] + empty, ()


def _timed(file: TraceFile) -> _Timed | None:
    """Return a file with its times, which then need not be looked for again; None if they are unknown."""
    groups = [group for group, _ in file.row_groups]
    found = with_ends(groups, {file.path: file.footer.digest})
    first, last = found[0].time_min, found[-1].time_max
    if first is None or last is None:
        return None
    row_groups = tuple((group, name) for group, (_, name) in zip(found, file.row_groups, strict=True))
    return _Timed(replace(file, row_groups=row_groups), first, last)


def _follow(files: Sequence[_Timed]) -> bool:
    """Return whether every file begins where the one before has ended, or later."""
    return all(one.last <= other.first for one, other in pairwise(files))
