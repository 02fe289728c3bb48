"""Lines of text matched against patterns, and their numbers taken out: compiled, since every line of a log comes by here.

A pattern is a row of steps (`Step`), made from a template by `patterns.py`. A line is matched by the first pattern
whose steps all succeed.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.compiled import entry_point, part
from eptreplay.ingest.importing.text_numbers import (
    FAILED,
    behind_blanks,
    behind_field,
    behind_quoted,
    is_blank,
    is_prefixed,
    stands_here,
    take_decimal,
    take_fraction,
    take_head,
    take_hex,
    take_word,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Text = NDArray[np.uint8]
    Registers = NDArray[np.uint64]


class Step(IntEnum):
    """What a step of a pattern does at a position of a line; `a`, `b` are its arguments.

    Every step fails where it does not find what it looks for.
    """

    ACCEPT = 0
    """The line matches, whatever follows."""
    END = 1
    """The line matches if nothing but blanks follows."""
    LITERAL = 2
    """Literal a stands here; go behind it."""
    BLANKS = 3
    """At least a blanks stand here; go behind all."""
    HEX = 4
    """A hexadecimal number, with or without 0x, into register a."""
    DECIMAL = 5
    """A decimal number into register a."""
    NUMBER = 6
    """A number, hexadecimal if it begins with 0x, into register a."""
    FRACTION = 7
    """A decimal number with or without a fraction, times 10^b, into register a; further digits are cut off."""
    WORD = 8
    """A word of table b; its code into register a."""
    FIND = 9
    """Go behind the next literal a."""
    STAND = 10
    """Go to where the next literal a begins."""
    QUOTED = 11
    """A text in quotation marks; go behind it."""
    SKIP = 12
    """Go to the next character a, or to the end; one within quotation marks does not count. Blank: any blank."""
    MAYBE = 13
    """Go behind literal a if it stands here."""
    SET = 14
    """Put b into register a."""
    RECORD = 15
    """The registers are a record."""
    AGAIN = 16
    """Accept at the end of the line, go to step a of the pattern otherwise."""
    HEAD = 17
    """What stands before an event's name: time, CPU and thread into registers a, a + 1, a + 2; CPU or thread may be missing."""
    LAST_HEX = 18
    """The last word of the line is a hexadecimal number; it goes into register a."""
    HEX_BEFORE = 19
    """The word before this position, blanks between, is a hexadecimal number; it goes into register a. Go to its begin."""

    MAYBE_WORD = 20
    """A word of table b, its code into register a; 0 and no further where none stands."""


FULL = -2
NEWLINE, RETURN = 10, 13

# Numbers of the state that a scan is given and leaves.
AT, LINE, RECORDS, BAD_LINES, BAD_AT, BAD_LINE = 0, 1, 2, 3, 4, 5
STATE_SIZE = 6


@entry_point
def scan_lines(
    text: Text,
    program: NDArray[np.int64],
    starts: NDArray[np.int64],
    literals: Text,
    places: NDArray[np.int64],
    words: NDArray[np.int64],
    registers: Registers,
    values: NDArray[np.uint64],
    kinds: Text,
    lines: NDArray[np.int64],
    seen: NDArray[np.int64],
    state: NDArray[np.int64],
) -> None:
    """Match lines until the text ends or there is no room for more records.

    Args:
        text: whole lines; the last may lack its end.
        program: shape (steps, 3), step and its arguments.
        starts: first step of every pattern, in the order in which they are tried.
        literals: bytes of all literals and words.
        places: shape (literals, 2), begin and end in `literals`.
        words: shape (words, 4), table, begin, end, code; words are in small letters.
        registers: shape (registers,), is written.
        values: shape (registers, room), is written: column i is record i.
        kinds: shape (room,), is written: pattern of every record.
        lines: shape (room,), is written: line of every record, from 0 at the text's begin.
        seen: shape (patterns, 2), lines that matched each, and the first of them, from 0; is added to.
        state: AT and so on: where to begin, and what was found.
    """
    at, line, count = state[AT], state[LINE], 0
    while at < len(text):
        newline = at
        while newline < len(text) and text[newline] != NEWLINE:
            newline += 1
        end = newline - 1 if newline > at and text[newline - 1] == RETURN else newline
        after = FAILED
        for pattern in range(len(starts)):
            after = _match(
                text, at, end, starts[pattern], program, literals, places, words, registers, values, count
            )
            if after == FAILED:
                continue
            if after == FULL and count > 0:
                state[AT], state[LINE], state[RECORDS] = at, line, count
                return
            break
        if after < 0:
            if state[BAD_LINES] == 0:
                state[BAD_AT], state[BAD_LINE] = at, line
            state[BAD_LINES] += 1
        else:
            if seen[pattern, 0] == 0:
                seen[pattern, 1] = line
            seen[pattern, 0] += 1
            for record in range(count, after):
                kinds[record], lines[record] = pattern, line
            count = after
        at, line = newline + 1, line + 1
    state[AT], state[LINE], state[RECORDS] = at, line, count


@part
def _match(  # noqa: C901, PLR0912 - one branch a step
    text: Text,
    begin: int,
    end: int,
    first: int,
    program: NDArray[np.int64],
    literals: Text,
    places: NDArray[np.int64],
    words: NDArray[np.int64],
    registers: Registers,
    values: NDArray[np.uint64],
    count: int,
) -> int:
    """Match a line against a pattern; return the records there are then, FAILED, or FULL."""
    registers[:] = 0
    step, at, capacity = first, begin, values.shape[1]
    while True:
        what, a, b = program[step, 0], program[step, 1], program[step, 2]
        step += 1
        if what == Step.ACCEPT:
            return count
        if what == Step.END:
            return count if behind_blanks(text, at, end) == end else FAILED
        if what == Step.RECORD:
            if count == capacity:
                return FULL
            for register in range(len(registers)):
                values[register, count] = registers[register]
            count += 1
        elif what == Step.AGAIN:
            if behind_blanks(text, at, end) == end:
                return count
            step = first + a
        elif what == Step.SET:
            registers[a] = np.uint64(b)
        elif what in (Step.WORD, Step.MAYBE_WORD):
            behind = take_word(text, at, end, literals, words, registers, a, b)
            at = at if behind < 0 and what == Step.MAYBE_WORD else behind
        elif what <= Step.BLANKS or what in (Step.FIND, Step.STAND, Step.QUOTED, Step.SKIP, Step.MAYBE):
            at = _move(text, at, end, what, a, literals, places)
        else:
            at = _take(text, begin, at, end, what, a, b, registers)
        if at < 0:
            return FAILED


@part
def _move(  # noqa: PLR0911 - one return a step
    text: Text, at: int, end: int, what: int, a: int, literals: Text, places: NDArray[np.int64]
) -> int:
    """Carry out a step that takes no number; return the position after it."""
    if what == Step.BLANKS:
        behind = behind_blanks(text, at, end)
        return behind if behind - at >= a else FAILED
    if what == Step.QUOTED:
        return behind_quoted(text, at, end)
    if what == Step.SKIP:
        return behind_field(text, at, end, a)
    low, high = int(places[a, 0]), int(places[a, 1])
    if what in (Step.LITERAL, Step.MAYBE):
        if stands_here(text, at, end, literals, low, high):
            return at + high - low
        return at if what == Step.MAYBE else FAILED
    for place in range(at, end - (high - low) + 1):
        if stands_here(text, place, end, literals, low, high):
            return place if what == Step.STAND else place + high - low
    return FAILED


@part
def _take(  # noqa: PLR0911 - one return a step
    text: Text, begin: int, at: int, end: int, what: int, a: int, b: int, registers: Registers
) -> int:
    """Carry out a step that takes numbers; return the position after it."""
    if what == Step.HEX:
        return take_hex(text, at, end, registers, a)
    if what == Step.DECIMAL:
        return take_decimal(text, at, end, registers, a)
    if what == Step.NUMBER:
        return (
            take_hex(text, at, end, registers, a)
            if is_prefixed(text, at, end)
            else take_decimal(text, at, end, registers, a)
        )
    if what == Step.FRACTION:
        return take_fraction(text, at, end, registers, a, b)
    if what == Step.HEAD:
        return at if take_head(text, begin, at, registers, a) else FAILED
    last = end if what == Step.LAST_HEX else at
    while last > begin and is_blank(text[last - 1]):
        last -= 1
    low = last
    while low > begin and not is_blank(text[low - 1]):
        low -= 1
    if take_hex(text, low, last, registers, a) != last:
        return FAILED
    return at if what == Step.LAST_HEX else low


def new_state() -> NDArray[Any]:
    """Return the state with which a text is begun."""
    return np.zeros(STATE_SIZE, np.int64)
