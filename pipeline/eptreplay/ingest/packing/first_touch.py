"""Addresses anywhere become addresses of a small memory: pages are numbered in the order in which they are first touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.ingest.trace.schema import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IN_PAGE = np.uint64(PAGE_SIZE - 1)
_SHIFT = np.uint64(PAGE_SHIFT)


class FirstTouch:
    """Numbers of pages, in the order of first touch.

    Attributes:
        pages: pages that have a number.
        divided: accesses that crossed the end of a page, and so became two rows.
    """

    def __init__(self) -> None:
        self._known = np.zeros(0, np.uint64)  # ascending
        self._numbers = np.zeros(0, np.uint64)
        self.divided = 0

    @property
    def pages(self) -> int:
        """How many pages have a number."""
        return len(self._known)

    def renumbered(self, columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return rows with the addresses that their pages' numbers make; pages that were neighbours need not stay it.

        Args:
            columns: columns of a trace by name, each of shape (n,), `gpa` among them.
        """
        columns = self._divided(columns)
        gpa = columns["gpa"]
        return {**columns, "gpa": self._of_pages(gpa >> _SHIFT) << _SHIFT | gpa & _IN_PAGE}

    def _of_pages(self, pages: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return the numbers of pages; those that are new get the next ones."""
        distinct, first, which = np.unique(pages, return_index=True, return_inverse=True)
        at = np.searchsorted(self._known, distinct)
        new = np.ones(len(distinct), np.bool_)
        inside = at < len(self._known)
        new[inside] = self._known[at[inside]] != distinct[inside]
        numbers = np.empty(len(distinct), np.uint64)
        numbers[~new] = self._numbers[at[~new]]
        in_order = np.argsort(np.argsort(first[new], kind="stable"), kind="stable")
        numbers[new] = np.uint64(len(self._known)) + in_order.astype(np.uint64)
        self._known = np.insert(self._known, at[new], distinct[new])
        self._numbers = np.insert(self._numbers, at[new], numbers[new])
        found: NDArray[np.uint64] = numbers[which]
        return found

    def _divided(self, columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return rows of which none crosses the end of a page."""
        size = columns.get("size")
        if size is None:
            return columns
        gpa = columns["gpa"]
        left = np.uint64(PAGE_SIZE) - (gpa & _IN_PAGE)
        crosses = size > left
        if not crosses.any():
            return columns
        self.divided += int(np.count_nonzero(crosses))
        rows = np.repeat(np.arange(len(gpa)), 1 + crosses)
        made = {name: values[rows] for name, values in columns.items()}
        heads = np.flatnonzero(crosses) + np.arange(int(np.count_nonzero(crosses)))
        made["size"][heads] = left[crosses]
        made["size"][heads + 1] = size[crosses] - left[crosses]
        made["gpa"][heads + 1] = gpa[crosses] + left[crosses]
        return made
