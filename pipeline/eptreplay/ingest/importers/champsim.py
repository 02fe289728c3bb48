"""ChampSim: instructions with the addresses that they load from and store to, in records of 64, 72 or 96 bytes.

Layout: inc/trace_instruction.h of ChampSim. All numbers are little-endian, and a record is padded to 8 bytes:

| bytes | 64 (`input_instr`) | 72 (with a load type) | 96 (`cloudsuite_instr`) |
|---|---|---|---|
| instruction pointer | 0 | 0 | 0 |
| is_branch, branch_taken | 8, 9 | 8, 9 | 8, 9 |
| registers | 10 to 15 | 10 to 15 | 10 to 17 |
| addresses of stores | 16, 24 | 16, 24 | 24 to 48 |
| addresses of loads | 32 to 56 | 32 to 56 | 56 to 80 |
| load type | | 64 | 90 in some forks |
| address space | | | 88, 89 |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from eptreplay.ingest.binary.blocks import BLOCK_BYTES, EMPTY, at_byte, read_full, whole_records
from eptreplay.ingest.importing.dropped import BadRecordError
from eptreplay.ingest.importing.format import Approximated, Format, Opened, Origin
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.scans.champsim_scan import BAD_FLAGS, NO_ADDRESS, scan_instructions, spread_spaces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from eptreplay.ingest.importing.dropped import Dropped


class Layout(NamedTuple):
    """A kind of record.

    Args:
        record_bytes: its length.
        stores: how many stores it has room for; loads are four.
        asid_word: number of the 8-byte word that begins with the address space; -1: it has none.
        padding: bytes that are always 0.
    """

    record_bytes: int
    stores: int
    asid_word: int
    padding: tuple[int, ...]


LAYOUTS = {
    64: Layout(64, 2, -1, ()),
    72: Layout(72, 2, -1, tuple(range(65, 72))),
    96: Layout(96, 4, 11, (*range(18, 24), *range(91, 96))),
}

_LOADS_AND_FETCH = 5
_TELLING = 64
"""So many records have to fit before their length is taken from them."""
_PIECE_BYTES = BLOCK_BYTES // 2
"""So many are looked at together: their accesses are a few MB."""


def _open(options: Mapping[str, str]) -> Opened:
    """Apply the options: the length of a record."""
    layout = LAYOUTS[int(options["record-bytes"])] if "record-bytes" in options else None

    def read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        return _read(stream, dropped, layout)

    missing = (Approximated.NO_SIZE, Approximated.NO_TIME, Approximated.NO_VCPU, Approximated.VIRTUAL)
    return Opened(
        Origin(
            record="one fetch, load or store of a traced program; an instruction's loads come before its stores",
            approximated=missing,
            virtual=True,
        ),
        read,
    )


def _read(stream: BinaryIO, dropped: Dropped, layout: Layout | None) -> Iterator[Records]:
    head = read_full(stream, _PIECE_BYTES)
    if not head:
        raise BadRecordError(EMPTY, at_byte(0))
    reader = _Reader(layout or layout_of(head), dropped)
    for offset, block in whole_records(stream, reader.layout.record_bytes, dropped, head):
        for begin in range(0, len(block), reader.piece_bytes):
            records = reader.accesses(block[begin : begin + reader.piece_bytes].view("<u8"), offset + begin)
            if len(records):
                yield records


class _Reader:
    """Reads records of a layout; has the arrays that their accesses are entered in.

    Args:
        layout: of the records.
        dropped: takes what is left out of them.
    """

    def __init__(self, layout: Layout, dropped: Dropped) -> None:
        self.layout = layout
        self.piece_bytes = _PIECE_BYTES // layout.record_bytes * layout.record_bytes
        self._dropped = dropped
        room = self.piece_bytes // layout.record_bytes * (_LOADS_AND_FETCH + layout.stores) + 1
        self._address, self._op = np.empty(room, np.uint64), np.empty(room, np.uint8)

    def accesses(self, words: NDArray[np.uint64], offset: int) -> Records:
        """Return the accesses of whole records, which begin at an offset, after what is left out of them was handed on."""
        layout = self.layout
        left, first = np.zeros(2, np.int64), np.zeros(2, np.int64)
        ends = np.empty(len(words) * 8 // layout.record_bytes, np.int32)
        into = (self._address, self._op, ends)
        count = int(scan_instructions(words, layout.record_bytes // 8, layout.stores, *into, left, first))

        def place(number: int) -> str:
            return at_byte(offset + layout.record_bytes * number)

        reason = "instruction without a pointer: no fetch"
        self._dropped.leave_out(reason, int(left[NO_ADDRESS]), place(int(first[NO_ADDRESS])))
        reason = (
            f"no instruction of {layout.record_bytes} bytes: is_branch or branch_taken is neither 0 nor 1"
        )
        self._dropped.bad_records(reason, int(left[BAD_FLAGS]), place(int(first[BAD_FLAGS])))
        space = None
        if layout.asid_word >= 0:
            space = np.empty(count, np.uint64)
            spread_spaces(words, layout.record_bytes // 8, layout.asid_word, ends, space)
        return Records(
            address=self._address[:count].copy(),
            op=self._op[:count].copy(),
            space=space,
            place=lambda index: place(int(np.searchsorted(ends, index, "right"))),
        )


def layout_of(head: bytes) -> Layout:
    """Tell the length of records by their content: which one keeps flags at 0 or 1, padding at 0 and pointers at what they can be.

    Args:
        head: the first bytes of an input.

    Raises:
        BadRecordError: none fits, or more than one does.
    """
    fitting = [layout for layout in LAYOUTS.values() if _fits(head, layout)]
    if len(fitting) == 1:
        return fitting[0]
    lengths = ", ".join(map(str, LAYOUTS))
    if not fitting:
        reason = f"no ChampSim trace: its first records are none of {lengths} bytes; if it is one, say which with --record-bytes"
        raise BadRecordError(reason, at_byte(0))
    also = " and ".join(str(layout.record_bytes) for layout in fitting)
    raise BadRecordError(f"records could be {also} bytes long; say which with --record-bytes", at_byte(0))


def _fits(head: bytes, layout: Layout) -> bool:
    """Return whether the first bytes can be records of a layout."""
    count = min(len(head) // layout.record_bytes, 16 * _TELLING)
    if not count:
        return False
    records = np.frombuffer(head, np.uint8, count * layout.record_bytes).reshape(count, layout.record_bytes)
    pointers = records[:, :8].copy().view("<u8")
    canonical = (pointers >> np.uint64(47) == 0) | (pointers >> np.uint64(47) == (1 << 17) - 1)
    flags = records[:, 8:10]
    return bool(
        (flags <= 1).all()
        and not records[:, list(layout.padding)].any()
        and canonical.all()
        and 2 * np.count_nonzero(pointers) > count
    )


FORMAT = Format(
    name="champsim",
    title="ChampSim instruction traces (.champsimtrace.xz, .champsim.gz), also CloudSuite's",
    options=frozenset({"record-bytes"}),
    open=_open,
    guess=None,
)
