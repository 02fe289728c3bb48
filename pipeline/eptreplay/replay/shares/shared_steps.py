"""An iterator that several threads read, each from its beginning."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS_AHEAD = 8
"""How many steps the fastest thread may be ahead of the slowest: so many pieces of decoded batches are in memory."""

T = TypeVar("T")


class SharedSteps(Generic[T]):
    """An iterator that several threads read, each from its beginning; its items are made once, by the thread that needs the next."""

    def __init__(self, items: Iterator[T], readers: int) -> None:
        self._items = items
        self._made: deque[T] = deque()
        self._first = 0
        self._next = [0] * readers
        self._making = False
        self._ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def read(self, reader: int) -> Iterator[T]:
        """Yield all items to one of the readers.

        Raises whatever making them raised, or the error that another reader failed with.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._can_go_on(reader))
                if self._error is not None:
                    raise self._error
                has_all = self._next[reader] - self._first == len(self._made)
                if has_all:
                    if self._ended:
                        return
                    self._making = True
            if has_all:
                self._make()
            else:
                yield self._take(reader)

    def _can_go_on(self, reader: int) -> bool:
        made = len(self._made)
        at = self._next[reader] - self._first
        may_make = not self._making and made < STEPS_AHEAD
        return self._error is not None or at < made or self._ended or may_make

    def _take(self, reader: int) -> T:
        """Return the next item of a reader, and forget those that all have had."""
        with self._changed:
            item = self._made[self._next[reader] - self._first]
            self._next[reader] += 1
            while self._made and min(self._next) > self._first:
                self._made.popleft()
                self._first += 1
                self._changed.notify_all()
            return item

    def _make(self) -> None:
        """Make the next item while others use those there are."""
        try:
            item = [next(self._items)]
        except StopIteration:
            item = []
        except BaseException as error:
            self.fail(error)
            raise
        with self._changed:
            self._made.extend(item)
            self._ended = not item
            self._making = False
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Make all readers end with an error."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()
