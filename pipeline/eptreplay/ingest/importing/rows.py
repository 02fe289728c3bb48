"""Rows of a native trace from records: bad ones found, addresses placed in memory, long accesses divided."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.ingest.importing.format import LONGEST_ACCESS
from eptreplay.ingest.importing.memory import NOWHERE
from eptreplay.ingest.importing.page_numbers import count_pieces, cut_pieces
from eptreplay.ingest.native.order import in_order
from eptreplay.ingest.trace.ranges import LAST_TIME
from eptreplay.ingest.trace.schema import GPA_BITS, PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from eptreplay.ingest.importing.dropped import Dropped
    from eptreplay.ingest.importing.memory import Memory
    from eptreplay.ingest.importing.records import Records

    Mask = NDArray[np.bool_]

MOST_PIECES = 1 << 20
"""Rows that are made at a time; one access of 4 GB makes about as many."""
BACK = "its time is before that of a record before it"
_NO_SIZES = np.zeros(0, np.uint16)


@dataclass(slots=True)
class Seen:
    """What was seen of a trace until now.

    Args:
        records: accesses as the format has them, bad ones included.
        rows: of the native trace.
        last_time: time of the last row.
        vcpus: the highest vCPU and one.
    """

    records: int = 0
    rows: int = 0
    last_time: int = 0
    vcpus: int = 1


def good_records(
    chunks: Iterable[Records], dropped: Dropped, seen: Seen, longest: int = LONGEST_ACCESS
) -> Iterator[Records]:
    """Yield records without those that are wrong by themselves or out of order; each gets a time.

    Args:
        chunks: the records.
        dropped: takes those that are wrong.
        seen: counts records.
        longest: bytes that one record may cover.

    Raises:
        BadRecordError: a record is wrong, and such records are not to be left out.
    """
    checked = _in_themselves(chunks, dropped, seen, longest)
    if dropped.skip_bad:
        for records, keep in in_order((each, _time(each)) for each in checked):
            yield _without(records, ~keep, BACK, dropped, _placer(records, 0))
        return
    last_time = 0
    for records in checked:
        time = _time(records)
        if len(time):
            before = np.concatenate([np.array([last_time], np.uint64), time[:-1]])
            _without(records, time < before, BACK, dropped, _placer(records, 0))
            last_time = int(time[-1])
        yield records


def rows_of(records: Records, memory: Memory, dropped: Dropped) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the rows of records: time, gpa, op, and vcpu, size, count, arg where the records have them.

    Args:
        records: good ones.
        memory: where addresses lie.
        dropped: takes records that lie nowhere.

    Raises:
        BadRecordError: a record lies nowhere, and such records are not to be left out.
    """
    for part in _slices(records, memory.granule):
        source, address, size = _divided(part, memory.granule)
        gpa = memory.place(address, _taken(part.space, source))
        columns: dict[str, NDArray[Any] | None] = {
            "time": _taken(_time(part), source),
            "vcpu": _taken(part.vcpu, source),
            "gpa": gpa,
            "op": _taken(part.op, source),
            "size": size,
            "count": _taken(part.count, source),
            "arg": _taken(part.arg, source),
        }
        lost = gpa == NOWHERE
        if lost.any():
            first = int(np.argmax(lost))
            at = first if source is None else int(source[first])
            dropped.bad_records(
                "its page is not in the page map", int(np.count_nonzero(lost)), _placer(part, 0)(at)
            )
            columns = {name: None if each is None else each[~lost] for name, each in columns.items()}
        found = {name: each for name, each in columns.items() if each is not None}
        if len(found["gpa"]):
            memory.touched(found["gpa"], found.get("size"))
            yield found


def _in_themselves(
    chunks: Iterable[Records], dropped: Dropped, seen: Seen, longest: int
) -> Iterator[Records]:
    """Yield records without those that break a rule of their own; those without times get their number."""
    for chunk in chunks:
        first = seen.records
        seen.records += len(chunk)
        records = replace(chunk, place=_placer(chunk, first))
        if records.time is None:
            records = replace(records, time=np.arange(first, first + len(chunk), dtype=np.uint64))
        for reason, broken in _broken(records, longest):
            records = _without(records, broken(records), reason, dropped, _placer(records, first))
        yield records


def _broken(records: Records, longest: int) -> Iterator[tuple[str, Callable[[Records], Mask]]]:
    """Yield the rules for records that these can break."""
    if records.size is not None:
        yield "an access of no bytes", lambda each: _size(each) == 0
        yield f"an access of more than {longest:,} bytes", lambda each: _size(each) > longest
        yield "an access beyond the last address", lambda each: _last(each) < each.address
    if records.count is not None:
        yield "a record of no accesses", lambda each: _count(each) == 0
    yield "its time is beyond 2^63 - 1", lambda each: _time(each) > np.uint64(LAST_TIME)


def beyond_memory(records: Records, dropped: Dropped) -> Records:
    """Return records without those that lie beyond what guest-physical addresses reach.

    Raises:
        BadRecordError: there is such a record, and such records are not to be left out.
    """
    beyond = _last(records) >= np.uint64(1 << GPA_BITS)
    return _without(
        records, beyond, f"its address has more than {GPA_BITS} bits", dropped, _placer(records, 0)
    )


def _without(
    records: Records, broken: Mask, reason: str, dropped: Dropped, place: Callable[[int], str]
) -> Records:
    """Return records without some that are counted as bad."""
    if not broken.any():
        return records
    dropped.bad_records(reason, int(np.count_nonzero(broken)), place(int(np.argmax(broken))))
    kept = np.flatnonzero(~broken)
    before = records.place
    arrays = {
        name: None if (array := getattr(records, name)) is None else array[kept]
        for name in ("address", "op", "time", "vcpu", "size", "count", "arg", "space")
    }
    placed = None if before is None else lambda index: before(int(kept[index]))
    return replace(records, **arrays, place=placed)  # type: ignore[arg-type] # address and op are never None


def _placer(records: Records, first: int) -> Callable[[int], str]:
    """Return what says where a record stands; one without a place is named by its number, from 1."""
    return records.place or (lambda index: f"record {first + index + 1:,}")


def _time(records: Records) -> NDArray[np.uint64]:
    assert records.time is not None  # noqa: S101 - `_in_themselves` has seen to it
    return records.time


def _size(records: Records) -> NDArray[np.uint32]:
    assert records.size is not None  # noqa: S101 - asked of records that have sizes
    return records.size


def _count(records: Records) -> NDArray[np.uint32]:
    assert records.count is not None  # noqa: S101 - asked of records that have counts
    return records.count


def _last(records: Records) -> NDArray[np.uint64]:
    """Return the last byte of each access; below its first one where it goes beyond the last address."""
    if records.size is None:
        return records.address
    last: NDArray[np.uint64] = records.address + (_size(records) - np.uint32(1)).astype(np.uint64)
    return last


def _slices(records: Records, granule: int) -> Iterator[Records]:
    """Yield records in parts that make at most about MOST_PIECES rows each."""
    if records.size is None or int(records.size.max(initial=0)) <= PAGE_SIZE:
        yield records
        return
    pieces = np.empty(len(records), np.int64)
    count_pieces(np.ascontiguousarray(records.address), records.size, np.uint64(granule), pieces)
    part = np.cumsum(pieces) // MOST_PIECES
    ends = [*(np.flatnonzero(np.diff(part)) + 1).tolist(), len(records)]
    begin = 0
    for end in ends:
        yield _part(records, begin, end)
        begin = end


def _part(records: Records, begin: int, end: int) -> Records:
    """Return consecutive records."""
    arrays = {
        name: None if (array := getattr(records, name)) is None else array[begin:end]
        for name in ("address", "op", "time", "vcpu", "size", "count", "arg", "space")
    }
    place = _placer(records, 0)
    return replace(records, **arrays, place=lambda index: place(begin + index))  # type: ignore[arg-type] # as above


def _divided(
    records: Records, granule: int
) -> tuple[NDArray[np.int64] | None, NDArray[np.uint64], NDArray[np.uint16] | None]:
    """Return for each row the record it is of (None: each its own), its address, and its bytes where they are known."""
    address = np.ascontiguousarray(records.address)
    if records.size is None:
        return None, address, None
    size = np.ascontiguousarray(records.size)
    pieces = np.empty(len(address), np.int64)
    count_pieces(address, size, np.uint64(granule), pieces)
    rows = int(pieces.sum())
    if rows == len(address):
        return None, address, size.astype(np.uint16)
    source, cut = np.empty(rows, np.int64), np.empty(rows, np.uint64)
    sizes = np.empty(rows, np.uint16)
    cut_pieces(address, size, np.uint64(granule), source, cut, sizes)
    return source, cut, sizes


def _taken(values: NDArray[Any] | None, source: NDArray[np.int64] | None) -> NDArray[Any] | None:
    """Return the values of the records that rows are of."""
    return values if values is None or source is None else values[source]
