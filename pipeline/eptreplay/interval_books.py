"""What the books say of one interval, copied out of the model before the next one closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.model.books import HISTORIES, TOUCHED_AT_ALL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.model.books import Books


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
