"""Reuse distances are the places of pages in a list with the latest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.model.reuse import BUCKETS, FINE, Reuse, bucket_starts, new_reuse, note_reuses
from eptreplay.model.state import NO_MEMORY

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAGES = 40
QUIET = np.array([0] * PAGES + [NO_MEMORY], np.uint8)


def noted(pages: list[int], most_pages: int = PAGES, *, size: int | None = None, offset: int = 0) -> Reuse:
    """Return the distances of accesses to pages, at an offset in the page and of a size."""
    reuse = new_reuse(PAGES, most_pages)
    gpa = np.array(pages, np.uint64) * np.uint64(4096) + np.uint64(offset)
    sizes = np.full(0 if size is None else len(pages), size or 0, np.uint16)
    gpa.flags.writeable = sizes.flags.writeable = False
    note_reuses(reuse, QUIET, gpa, sizes)
    return reuse


def by_definition(pages: list[int]) -> tuple[NDArray[np.float64], int]:
    """Return how many accesses fall into each bucket, those of distance 0 left out, and how many are the first."""
    counts = np.zeros(BUCKETS)
    first = 0
    latest: list[int] = []
    for page in pages:
        if page not in latest:
            first += 1
        else:
            distance = latest.index(page)
            latest.remove(page)
            if distance:
                counts[np.searchsorted(bucket_starts(), distance, side="right") - 1] += 1
        latest.insert(0, page)
    return counts, first


@given(st.lists(st.integers(0, PAGES - 1), max_size=600))
def test_distances_are_places_in_the_list_of_pages_used_last(pages: list[int]) -> None:
    found = noted(pages)
    counts, first = by_definition(pages)
    assert found.distances.sum(axis=0).tolist() == counts.tolist()
    assert found.first.sum() == first


def test_slots_are_closed_up_as_often_as_it_takes() -> None:
    random = np.random.default_rng(7)
    pages = random.integers(0, PAGES, 20_000).tolist()
    counts, first = by_definition(pages)
    found = noted(pages)
    assert found.distances.sum(axis=0).tolist() == counts.tolist()
    assert found.first.sum() == first == PAGES


def test_a_sample_is_never_larger_than_allowed() -> None:
    random = np.random.default_rng(3)
    pages = random.integers(0, PAGES, 20_000).tolist()
    found = noted(pages, most_pages=10)
    state = found.state[0]
    assert 0 < state.pages <= 10
    assert state.weight == 2 ** round(np.log2(state.weight)) >= 4
    assert np.count_nonzero(found.slot) == state.pages


def test_an_access_that_crosses_into_the_next_page_touches_both() -> None:
    found = noted([3, 3], size=8, offset=4092)
    assert found.first.sum() == 2
    assert found.distances.sum(axis=0)[1] == 2


def test_pages_that_are_no_memory_are_left_out() -> None:
    found = noted([1, PAGES, 1, PAGES + 70_000, 1])
    assert found.first.sum() == 1
    assert found.distances.sum() == 0


def test_buckets_are_exact_below_sixteen_and_eight_an_octave_above() -> None:
    starts = bucket_starts()
    assert len(starts) == BUCKETS
    assert starts[: FINE + 9].tolist() == [*range(16), 16, 18, 20, 22, 24, 26, 28, 30, 32]
    assert (np.diff(starts) > 0).all()
