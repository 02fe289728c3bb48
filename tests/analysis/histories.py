"""Histories made from plain sets of pages, for tests to compare with."""

from __future__ import annotations

import numpy as np

from eptreplay.analysis.history import NEVER, History


def history_of(sets: list[set[int]]) -> History:
    """Return the history of pages that come up in each of several intervals, by the definition."""
    entries = []
    last: dict[int, int] = {}
    first: dict[int, int] = {}
    for interval, pages in enumerate(sets):
        for page in sorted(pages):
            entries.append((interval, last.get(page, NEVER), 1))
            first.setdefault(page, interval)
            last[page] = interval
    at, before, pages_ = np.array(entries, np.int64).reshape(-1, 3).T
    return History(
        intervals=len(sets),
        at=at,
        before=before,
        pages=pages_,
        first=np.array([first[page] for page in last], np.int64),
        last=np.array(list(last.values()), np.int64),
        weight=np.ones(len(last), np.int64),
    )


def union(sets: list[set[int]], begin: int, end: int) -> set[int]:
    """Return the pages of intervals [begin, end), where the first follows the last again."""
    return set().union(*(sets[interval % len(sets)] for interval in range(begin, end)))
