"""Reuse distances are the places of pages in a list with the latest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.model.state.fast_path import NO_MEMORY, UNSAMPLED
from eptreplay.model.state.rows import rows_of
from eptreplay.model.statistics.reuse import note_reuses, reuse_of
from eptreplay.model.statistics.reuse_arrays import Reuse, new_reuse
from eptreplay.model.statistics.reuse_buckets import BUCKETS, FINE, bucket_starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAGES = 40
NOTHING_KNOWN = np.array([0] * PAGES + [NO_MEMORY], np.uint8)


def note(reuse: Reuse, pages: list[int], *, size: int | None = None, offset: int = 0) -> None:
    """Take in accesses to pages, at an offset in the page and of a size."""
    gpa = np.array(pages, np.uint64) * np.uint64(4096) + np.uint64(offset)
    sizes = np.full(0 if size is None else len(pages), size or 0, np.uint16)
    rows = rows_of(gpa, np.zeros(len(gpa), np.uint8), size=sizes)
    fast_path = np.append(np.repeat(NOTHING_KNOWN[:-1], len(reuse.state)), NOTHING_KNOWN[-1:])
    note_reuses(reuse, fast_path, rows, 0, len(gpa))


def noted(
    pages: list[int], most_pages: int = PAGES, *, size: int | None = None, offset: int = 0
) -> NDArray[np.int64]:
    """Return how many accesses fall into each bucket of distances."""
    reuse = new_reuse(np.array([0, PAGES]), most_pages)
    note(reuse, pages, size=size, offset=offset)
    counts: NDArray[np.int64] = reuse_of(reuse, 0).distances.sum(axis=0)
    return counts


def by_definition(pages: list[int]) -> NDArray[np.int64]:
    """Return the same by a list of pages, the latest first; first accesses and those of distance 0 are left out."""
    counts = np.zeros(BUCKETS, np.int64)
    latest: list[int] = []
    for page in pages:
        if page in latest:
            distance = latest.index(page)
            latest.remove(page)
            if distance:
                counts[np.searchsorted(bucket_starts(), distance, side="right") - 1] += 1
        latest.insert(0, page)
    return counts


def random_pages(seed: int, count: int = 20_000) -> list[int]:
    return [int(page) for page in np.random.default_rng(seed).integers(0, PAGES, count)]


@given(st.lists(st.integers(0, PAGES - 1), max_size=600))
def test_distances_are_places_in_the_list_of_pages_used_last(pages: list[int]) -> None:
    assert noted(pages).tolist() == by_definition(pages).tolist()


def test_slots_are_closed_up_as_often_as_it_takes() -> None:
    pages = random_pages(7)
    assert noted(pages).tolist() == by_definition(pages).tolist()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, PAGES - 1)), max_size=300))
def test_guests_of_a_host_do_not_disturb_each_other(accesses: list[tuple[int, int]]) -> None:
    reuse = new_reuse(np.array([0, PAGES, 2 * PAGES, 3 * PAGES]), PAGES)
    note(reuse, [guest * PAGES + page for guest, page in accesses])
    for number in range(3):
        alone = by_definition([page for guest, page in accesses if guest == number])
        assert reuse_of(reuse, number).distances.sum(axis=0).tolist() == alone.tolist()


@pytest.mark.parametrize("weight", [1, 2, 4])
def test_a_sample_is_never_larger_than_allowed(weight: int) -> None:
    reuse = new_reuse(np.array([0, PAGES]), 10, weight)
    note(reuse, random_pages(3))
    (state,) = reuse.state
    assert 0 < state.recent + state.marked <= 10
    assert state.weight == 2 ** round(np.log2(state.weight)) >= 4
    assert np.count_nonzero(reuse.watched & UNSAMPLED == 0) >= state.recent + state.marked
    assert np.count_nonzero(reuse.slot) == state.marked


def test_a_sample_stands_for_pages_and_accesses_by_the_inverse_of_its_rate() -> None:
    pages = random_pages(5)
    reuse = new_reuse(np.array([0, PAGES]), PAGES, 4)
    sampled = [page for page in pages if reuse.watched[page] & UNSAMPLED == 0]
    assert 0 < len(set(sampled)) < PAGES // 2
    note(reuse, pages)
    expected = np.zeros(BUCKETS, np.int64)
    starts = bucket_starts()
    for bucket, count in enumerate(by_definition(sampled)):
        expected[np.searchsorted(starts, 4 * starts[bucket], side="right") - 1] += 4 * count
    assert reuse_of(reuse, 0).distances.sum(axis=0).tolist() == expected.tolist()


def test_what_was_counted_at_a_higher_rate_keeps_its_weight_when_the_rate_is_halved() -> None:
    reuse = new_reuse(np.array([0, PAGES]), 20)
    note(reuse, [1, 2, 1, 2])
    note(reuse, list(range(3, PAGES)))
    assert reuse.state.weight[0] > 1
    assert reuse_of(reuse, 0).distances.sum(axis=0)[1] == 2


def test_an_access_that_crosses_into_the_next_page_touches_both() -> None:
    assert noted([3, 3], size=8, offset=4092)[1] == 2
    assert noted([3, 4, 3], size=8, offset=4092)[:4].tolist() == [0, 0, 2, 0], "3 4, 4 5, 3 4"


def test_pages_that_are_no_memory_are_left_out() -> None:
    assert noted([1, PAGES, 1, PAGES + 70_000, 1]).sum() == 0
    assert noted([1, 2, PAGES, 1])[1] == 1


def test_buckets_are_exact_below_sixteen_and_eight_an_octave_above() -> None:
    starts = bucket_starts()
    assert len(starts) == BUCKETS
    assert starts[: FINE + 9].tolist() == [*range(16), 16, 18, 20, 22, 24, 26, 28, 30, 32]
    assert (np.diff(starts) > 0).all()
