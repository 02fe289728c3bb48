"""What there is to tell of a replay at the end of an interval, copied out of the model before the next one closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.model.books import HISTORIES, TOUCHED_AT_ALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.model.books import Books


CAUSES = (
    "accessed",
    "dirty",
    "first_use",
    "unmapped",
    "write_protected",
    "superpage_protected",
    "swapped_out",
    "freed_clean",
)
KINDS = ("read", "write", "fetch")
EMULATED_CAUSES = 2  # the first two of CAUSES


class Returns(NamedTuple):
    """Pages that came up in an interval, by when they did before.

    Args:
        before: shape [n]: 1 + the interval of the time before, 0 for none; each once, in no order.
        pages: shape [n]: how many.
    """

    before: NDArray[np.int32]
    pages: NDArray[np.int32]


class IntervalBooks(NamedTuple):
    """The books of one interval.

    Args:
        tally: TALLY [1].
        returns: one for each of the HISTORIES.
        stretch: shape [n]: numbers of the stretches of addresses that were touched, ascending.
        heat: shape [n, 4]: distinct pages of those that were read, written, fetched from, touched.
        first_writes: shape [vCPUs]: pages of which each vCPU made the first write.
    """

    tally: NDArray[Any]
    returns: tuple[Returns, ...]
    stretch: NDArray[np.int64]
    heat: NDArray[np.int32]
    first_writes: NDArray[np.int64]


def copy_books(books: Books, tally: NDArray[Any]) -> IntervalBooks:
    """Return what the books say of the interval that closed last; `tally` is books.tally as a plain array."""
    stretch = np.flatnonzero(books.heat[:, TOUCHED_AT_ALL])
    return IntervalBooks(
        tally=tally.copy(),
        returns=tuple(_returns(books, history) for history in range(HISTORIES)),
        stretch=stretch,
        heat=books.heat[stretch],
        first_writes=books.first_writes.copy(),
    )


def _returns(books: Books, history: int) -> Returns:
    """Return the returns of one history that are not 0."""
    before = books.returned[history, : books.returned_count[history]].copy()
    return Returns(before, books.returns[history][before])


class Snapshot(NamedTuple):
    """The books at one moment.

    Args:
        rows: rows replayed so far.
        time: time of the cut, in the trace's unit; None where only the row is known.
        books: of the interval that closed last.
        cnt: COUNTERS [profiles].
        pmap: PMAP [profiles].
    """

    rows: int
    time: int | None
    books: IntervalBooks
    cnt: NDArray[np.void]
    pmap: NDArray[np.void]


def stacked(records: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    """Return records of one type and shape along a new first axis (numpy.stack compares their fields one by one)."""
    first = records[0]
    return np.frombuffer(b"".join(record.tobytes() for record in records), first.dtype).reshape(
        -1, *first.shape
    )


def counters(snapshots: Sequence[Snapshot]) -> dict[str, NDArray[np.int64]]:
    """Return all counters at several moments, cumulative: shape [snapshots, profiles] by name, as the tables order them."""
    tally = stacked([snapshot.books.tally for snapshot in snapshots])
    cnt = stacked([snapshot.cnt for snapshot in snapshots])
    pmap = stacked([snapshot.pmap for snapshot in snapshots])
    emulated = cnt["faults"][..., :EMULATED_CAUSES].sum(axis=-1)
    resolved = cnt["faults"][..., EMULATED_CAUSES:].sum(axis=-1)
    left = emulated + resolved
    every = np.ones(cnt.shape, np.int64)
    return {
        "rows": np.array([[snapshot.rows] for snapshot in snapshots]) * every,
        "reads": tally["reads"] * every,
        "writes": tally["writes"] * every,
        "fetches": tally["fetches"] * every,
        "unbacked": tally["unbacked"] * every,
        "hit_r": tally["reads"] - left[..., 0],
        "hit_w": tally["writes"] - left[..., 1],
        "hit_x": tally["fetches"] - left[..., 2],
        "ad_emulated_r": emulated[..., 0],
        "ad_emulated_w": emulated[..., 1],
        "vm_faults_r": resolved[..., 0],
        "vm_faults_w": resolved[..., 1],
        "vm_faults_x": resolved[..., 2],
        "traps": cnt["traps"],
        "pages_allocated": cnt["pages_allocated"],
        "promotions": cnt["promotions"],
        "demotions": cnt["demotions"],
        "p_failures": cnt["p_failures"],
        "mappings": cnt["mappings"],
        "resident": pmap["resident_count"],
        "wired": pmap["wired_count"],
        "eptgen": pmap["pm_eptgen"],
        "ipis": cnt["ipis"],
        "x86_ipis": cnt["x86_ipis"],
        "inv_page": cnt["inv_page"],
        "inv_range": cnt["inv_range"],
        "inv_all": cnt["inv_all"],
        "dirty_calls": cnt["dirty_calls"],
        "sweeps": cnt["sweeps"],
        "ts_referenced": cnt["ts_referenced"],
        "dirty_last_harvest": cnt["dirty_last_harvest"],
        "dirty_all_harvests": cnt["dirty_all_harvests"],
    }
