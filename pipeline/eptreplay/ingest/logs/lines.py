"""Logs read line by line: chunks of whole lines, matched against the patterns of a format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.logs.text_scan import (
    BAD_AT,
    BAD_LINE,
    BAD_LINES,
    CONTROLS,
    FIRST_PRINTED,
    LINE,
    RECORDS,
    new_state,
    scan_lines,
)
from eptreplay.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import NDArray

    from eptreplay.ingest.importing.dropped import Dropped
    from eptreplay.ingest.logs.patterns import Grammar

NEWLINE = 10
CHUNK_BYTES = 1 << 20
LONGEST_LINE = 1 << 16
"""A longer line is no line: what is read is no text."""
LARGEST = 1 << 31
"""A larger size stands for this one, bytes: it fits the column, and is refused there."""
ROOM = 1 << 16
"""Records that are taken out at a time."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SHOWN = 60
"""Characters of a bad line that a message shows."""


@dataclass(frozen=True, slots=True)
class Matched:
    """Records of consecutive lines.

    Args:
        values: by name, shape (n,), the numbers of each record; 0 where its pattern does not take one.
        pattern: shape (n,), which pattern each matched.
        line: shape (n,), line of each, from 1.
    """

    values: dict[str, NDArray[np.uint64]]
    pattern: NDArray[np.uint8]
    line: NDArray[np.int64]

    def __len__(self) -> int:
        """Records."""
        return len(self.line)

    def place(self, index: int) -> str:
        """Return where a record stands, in words."""
        return f"line {int(self.line[index]):,}"


@dataclass(frozen=True, slots=True)
class Log:
    """A kind of text.

    Args:
        grammar: its lines.
        bad: what a line is that matches none of them: "not a line that lackey prints".
        ends: whether its writer ends every line, so that a last line without an end is cut off.
    """

    grammar: Grammar
    bad: str
    ends: bool = True

    def read(self, stream: BinaryIO, dropped: Dropped) -> Iterator[Matched]:
        """Yield the records of a text, chunk by chunk.

        Raises:
            BadRecordError: a line matches no pattern, and such lines are not to be left out.
        """
        line = 0
        for text in _whole_lines(stream, dropped, cut_off=self.ends):
            line = yield from _scan(self, np.frombuffer(text, np.uint8), line, dropped)

    def accesses(self, stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        """Yield the records of a text whose values are `address` and `size` in bytes, `op`, and `vcpu` if its lines have one.

        Raises:
            BadRecordError: see `read`.
        """
        for found in self.read(stream, dropped):
            values = found.values
            yield Records(
                address=values["address"],
                op=values["op"].astype(np.uint8),
                vcpu=values["vcpu"].astype(np.uint16) if "vcpu" in values else None,
                size=np.minimum(values["size"], LARGEST).astype(np.uint32),
                place=found.place,
            )


def without(
    found: Matched, left_out: NDArray[np.bool_], reason: str, count: Callable[[str, int, str], None]
) -> Matched:
    """Return records without some.

    Args:
        found: the records.
        left_out: shape (n,), which to leave out.
        reason: why.
        count: told of them: `Dropped.leave_out` or `Dropped.bad_records`.
    """
    if not left_out.any():
        return found
    count(reason, int(np.count_nonzero(left_out)), found.place(int(np.argmax(left_out))))
    kept = ~left_out
    return Matched(
        {name: each[kept] for name, each in found.values.items()}, found.pattern[kept], found.line[kept]
    )


def _whole_lines(stream: BinaryIO, dropped: Dropped, *, cut_off: bool) -> Iterator[bytes]:
    """Yield a text in pieces of whole lines."""
    rest, line, first = b"", 0, True
    while piece := stream.read(CHUNK_BYTES):
        if first:
            piece, first = piece.removeprefix(BYTE_ORDER_MARK), False
        end = piece.rfind(b"\n") + 1
        if end:
            whole = rest + piece[:end]
            line += whole.count(b"\n")
            yield whole
            rest = piece[end:]
        else:
            rest += piece
        if len(rest) > LONGEST_LINE + CHUNK_BYTES:
            rest = rest[:LONGEST_LINE]  # the rest of the line follows, and is bad like its begin
    if rest and cut_off:
        dropped.bad_records(
            "the input ends within a line", 1, f"line {line + 1:,} ({_shown(rest[: 4 * _SHOWN])})"
        )
    elif rest:
        yield rest


def _scan(log: Log, text: NDArray[np.uint8], before: int, dropped: Dropped) -> Generator[Matched, None, int]:
    """Yield the records of whole lines; return the lines there were until now.

    Args:
        log: the kind of text.
        text: the lines.
        before: lines before these.
        dropped: takes lines that are no records.
    """
    grammar = log.grammar
    registers = np.zeros(max(1, len(grammar.names)), np.uint64)
    seen = np.zeros((len(grammar.starts), 2), np.int64)
    state = new_state()
    state[CONTROLS] = int(np.count_nonzero(text < FIRST_PRINTED)) != _line_ends_and_tabs(text)
    tables = (grammar.program, grammar.starts, grammar.literals, grammar.places, grammar.words)
    newlines = np.flatnonzero(text == NEWLINE)
    if text[-1] != NEWLINE:
        newlines = np.append(newlines, len(text))
    while state[LINE] < len(newlines):
        values = np.empty((len(registers), ROOM), np.uint64)
        kinds, lines = np.empty(ROOM, np.uint8), np.empty(ROOM, np.int64)
        scan_lines(text, newlines, *tables, registers, values, kinds, lines, seen, state)
        found = int(state[RECORDS])
        if found:
            named = dict(zip(grammar.names, values[:, :found], strict=True))
            yield Matched(named, kinds[:found], lines[:found] + (before + 1))
    if state[BAD_LINES]:
        at, line = int(state[BAD_AT]), before + int(state[BAD_LINE]) + 1
        shown = _shown(text[at : at + 4 * _SHOWN].tobytes())
        dropped.bad_records(log.bad, int(state[BAD_LINES]), f"line {line:,} ({shown})")
    for pattern, (count, first) in zip(grammar.lines, seen.tolist(), strict=True):
        if pattern.reason:
            dropped.leave_out(pattern.reason, count, f"line {before + first + 1:,}")
    return before + int(state[LINE])


def _line_ends_and_tabs(text: NDArray[np.uint8]) -> int:
    """Return how many characters below a blank a text has that it may have."""
    return sum(int(np.count_nonzero(text == each)) for each in b"\n\r\t")


def _shown(line: bytes) -> str:
    """Return the begin of a line, harmless to show."""
    text = printable(line.partition(b"\n")[0].rstrip(b"\r").decode("utf-8", "backslashreplace"))
    return f"'{text}'" if len(text) <= _SHOWN else f"'{text[: _SHOWN - 1]}…'"
