"""The arrays that reuse distances are kept in (see reuse.py)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point
from eptreplay.model._numba.arrays import (
    Field,
    allocated,
    array,
    assembled,
    record_type,
    records,
    structure_of_arrays,
)
from eptreplay.model._numba.types import Records
from eptreplay.model.state.fast_path import UNSAMPLED
from eptreplay.model.statistics.intervals import CHUNK_ROWS
from eptreplay.model.statistics.reuse_buckets import BUCKETS
from eptreplay.model.statistics.sample import (
    EVERY_PAGE,
    GROUPS,
    NO_PAGE,
    draw_pages,
)

WORD_SHIFT = 6  # log2 of the bits of a word of marks
WORD_MASK = 63
RECENT = 8  # pages in the list of those used last
SLOTS_PER_PAGE = 4  # the more there are, the less often marks are moved together

# What is one number per guest.
# fmt: off
REUSE_FIELDS = (
    #     name          type      unit     owner                meaning
    Field("begin",      np.int64, "",      "statistics/reuse*", "flat number of the guest's page 0"),
    Field("end",        np.int64, "",      "statistics/reuse*", "flat number after its last page"),
    Field("threshold",  np.int64, "pages", "statistics/reuse*", "pages whose hash is below it are in the sample"),
    Field("weight",     np.int64, "",      "statistics/reuse*", "accesses, and pages, that one of the sample stands for"),
    Field("most_pages", np.int64, "pages", "statistics/reuse*", "the most pages the sample may have"),
    Field("recent",     np.int64, "pages", "statistics/reuse*", "pages in the list of those used last"),
    Field("marked",     np.int64, "pages", "statistics/reuse*", "pages of the sample that are not in the list, each with a mark"),
    Field("next_slot",  np.int64, "",      "statistics/reuse*", "the first slot that was not used yet"),
)
# fmt: on

REUSE = record_type(REUSE_FIELDS)


# fmt: off
@structure_of_arrays
class Reuse:
    """Reuse distances of the guests of a host; where none are kept, it has no guests."""

    state: Records = array(REUSE, "guests", meaning="what is one number per guest")
    watched: NDArray[np.uint8] = array(
        np.uint8, "watched_bytes", unit="flags", owner="statistics/sample",
        meaning="one byte per flat page, with the bit UNSAMPLED; the last one stands for all pages beyond",
    )
    rows: NDArray[np.int32] = array(
        np.int32, "chunk", unit="row", owner="statistics/sample", meaning="rows of a chunk that access the sample"
    )
    used: NDArray[np.int64] = array(
        np.int64, "two_chunks", unit="page", owner="statistics/sample", meaning="pages that they access, without immediate repetitions"
    )
    recent: NDArray[np.int64] = array(
        np.int64, "guests", "recent", unit="page", owner="statistics/reuse*",
        meaning="flat pages used last, the latest first; NO_PAGE behind them",
    )
    slot: NDArray[np.int32] = array(
        np.int32, "guest_pages", unit="number + 1", owner="statistics/reuse*", meaning="1 + the slot of the page's mark; 0: it has none"
    )
    page: NDArray[np.int32] = array(
        np.int32, "guests", "slots", unit="page", owner="statistics/reuse*", meaning="the page that a slot was given to"
    )
    marks: NDArray[np.uint64] = array(
        np.uint64, "guests", "words", unit="flags", owner="statistics/reuse*",
        meaning="bit s % 64 of word s / 64: slot s is a page's mark",
    )
    tree: NDArray[np.int32] = array(
        np.int32, "guests", "tree_nodes", unit="marks", owner="statistics/reuse*",
        meaning="Fenwick tree over the marks in words that are full",
    )
    counts: NDArray[np.int64] = array(
        np.int64, "guests", "groups", "buckets", unit="accesses", owner="statistics/reuse*",
        meaning="accesses to the sample by distance among its pages, at the present rate",
    )
    distances: NDArray[np.int64] = array(
        np.int64, "guests", "groups", "buckets", unit="accesses", owner="statistics/reuse*",
        meaning="accesses by distance, of what was counted at higher rates before",
    )
    places: NDArray[np.int64]
# fmt: on


def new_reuse(
    bases: NDArray[np.int64], most_pages: int, weight: int = 1, watched: NDArray[np.uint8] | None = None
) -> Reuse:
    """Return the reuse distances of guests that made no access yet.

    Args:
        bases: shape [guests + 1]: flat number of every guest's page 0, and of the page after the last one's.
        most_pages: the most pages in the sample of each guest.
        weight: pages that one of the sample stands for at the beginning, a power of two; 1: every page is in it.
        watched: shape [guest pages + 1], UNSAMPLED everywhere: State.fast_path; None: an array of its own.
    """
    guests, pages = len(bases) - 1, int(bases[-1])
    longest = int(np.diff(bases).max(initial=0))
    words = (SLOTS_PER_PAGE * (min(longest, most_pages) + 1) >> WORD_SHIFT) + 1
    state = records(guests, REUSE)
    state.begin = bases[:-1]
    state.end = bases[1:]
    state.threshold = EVERY_PAGE // weight
    state.weight = weight
    state.most_pages = most_pages
    lengths = {
        "guests": guests,
        "guest_pages": pages,
        "chunk": CHUNK_ROWS,
        "two_chunks": 2 * CHUNK_ROWS,
        "slots": words << WORD_SHIFT,
        "words": words,
        "tree_nodes": words + 1,
        "groups": GROUPS,
        "buckets": BUCKETS,
    }
    given = {
        "state": state,
        "watched": np.full(pages + 1, UNSAMPLED) if watched is None else watched,
        "recent": np.full((guests, RECENT), NO_PAGE, np.int64),
    }
    reuse = assembled(Reuse, allocated(Reuse, lengths, given))
    draw_sample(reuse)
    return reuse


def no_reuse() -> Reuse:
    """Return what stands for reuse distances where none are kept."""
    return new_reuse(np.zeros(1, np.int64), 0)


@entry_point
def draw_sample(reuse: Reuse) -> None:
    """Write which pages of every guest are in its sample."""
    for guest in range(len(reuse.state)):
        known = reuse.state[guest]
        draw_pages(reuse.watched, np.int64(known.begin), np.int64(known.end), np.int64(known.threshold))
