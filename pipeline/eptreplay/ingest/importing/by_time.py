"""Records of inputs that ran beside each other, such as the threads of a process, in the order of their times."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from eptreplay.ingest.importing.records import Records

_ARRAYS = ("address", "op", "time", "vcpu", "size", "count", "arg", "space")


def by_time(inputs: Sequence[Iterator[Records]]) -> Iterator[Records]:
    """Yield the records of several inputs in the order of their times; of one time, those of an earlier input first.

    The order within an input stays, also where its times go back. A chunk of each input is in memory.

    Args:
        inputs: chunks of each, all with times, and with the same arrays.
    """
    waiting: dict[int, Records] = {}
    ended: set[int] = set()
    while len(ended) < len(inputs):
        for number, chunks in enumerate(inputs):
            while number not in ended and not len(waiting.get(number, ())):
                chunk = next(chunks, None)
                if chunk is None:
                    ended.add(number)
                    waiting.pop(number, None)
                else:
                    waiting[number] = chunk
        if not waiting:
            return
        # The input whose chunk ends first may go on at that time: what later inputs have of it comes after.
        limit, least = min((int(_time(records).max()), number) for number, records in waiting.items())
        taken = []
        for number in sorted(waiting):
            records = waiting[number]
            later = _time(records) > limit if number <= least else _time(records) >= limit
            count = int(np.argmax(later)) if later.any() else len(records)
            if count:
                taken.append(_part(records, 0, count))
            waiting[number] = _part(records, count, len(records))
        if taken:
            yield _in_order(taken)


def _time(records: Records) -> NDArray[np.uint64]:
    assert records.time is not None  # noqa: S101 - only inputs with times are put in order by them
    return records.time


def _part(records: Records, begin: int, end: int) -> Records:
    """Return consecutive records."""
    place = records.place
    return replace(
        records,
        **_arrays(lambda name: _slice(getattr(records, name), begin, end)),
        place=None if place is None else lambda index: place(begin + index),
    )


def _slice(values: NDArray[Any] | None, begin: int, end: int) -> NDArray[Any] | None:
    return None if values is None else values[begin:end]


def _arrays(array: Callable[[str], NDArray[Any] | None]) -> dict[str, Any]:
    return {name: array(name) for name in _ARRAYS}


def _in_order(parts: Sequence[Records]) -> Records:
    """Return records of several inputs as one chunk, in the order of their times."""
    if len(parts) == 1:
        return parts[0]
    whole = np.concatenate([np.maximum.accumulate(_time(records)) for records in parts])
    order = np.argsort(whole, kind="stable")
    ends = np.cumsum([len(records) for records in parts])

    def joined(name: str) -> NDArray[Any] | None:
        values = [getattr(records, name) for records in parts]
        return None if values[0] is None else np.concatenate(values)[order]

    def place(index: int) -> str:
        at = int(order[index])
        part = int(np.searchsorted(ends, at, "right"))
        said = parts[part].place
        inside = at - (int(ends[part - 1]) if part else 0)
        return said(inside) if said else f"record {inside + 1:,}"

    return replace(parts[0], **_arrays(joined), place=place)
