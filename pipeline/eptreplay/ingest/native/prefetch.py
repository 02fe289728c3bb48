"""One step ahead: an iterator whose next item is made while the caller uses this one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

T = TypeVar("T")


def one_ahead(items: Generator[T, None, None]) -> Iterator[T]:
    """Yield the items of a generator, each made in a thread while the one before is in use.

    At most one item is in the making and one in use. What the generator raises is
    raised here, in its place in the order. The thread ends with the iteration: at its
    end, on an error, or when the caller closes or drops it.
    """
    end = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="eptreplay-ingest") as thread:
        try:
            pending = thread.submit(next, items, end)
            while (item := pending.result()) is not end:
                pending = thread.submit(next, items, end)
                yield item  # type: ignore[misc]  # the sentinel is filtered out above
        finally:
            pending.exception()  # the item in the making must be done before its generator can close
            items.close()
