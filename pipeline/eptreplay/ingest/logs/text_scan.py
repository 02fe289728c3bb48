"""Lines of text matched against patterns, and their numbers taken out: compiled, since every line of a log comes by here.

A pattern is a row of steps (`Step`), made from a template by `patterns.py`. A line is matched by the first pattern
whose steps all succeed.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.compiled import entry_point, kernel, part
from eptreplay.ingest.logs.text_numbers import (
    DOT,
    FAILED,
    TAB,
    behind_blanks,
    behind_field,
    behind_quoted,
    is_blank,
    is_prefixed,
    stands_here,
    take_decimal,
    take_head,
    take_hex,
    take_places,
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
    MAYBE = 4
    """Go behind literal a if it stands here."""
    FIND = 5
    """Go behind the next literal a."""
    STAND = 6
    """Go to where the next literal a begins."""
    QUOTED = 7
    """A text in quotation marks; go behind it."""
    SKIP = 8
    """Go to the next character a, or to the end; one within quotation marks does not count. Blank: any blank."""
    HEX = 9
    """A hexadecimal number, with or without 0x, into register a."""
    NUMBER = 10
    """A number, hexadecimal if it begins with 0x, into register a."""
    DECIMAL = 11
    """A decimal number into register a."""
    FRACTION = 12
    """A decimal number with or without a fraction, times 10^b, into register a; further digits are cut off."""
    HEAD = 13
    """What stands before an event's name: time, CPU and thread into registers a, a + 1, a + 2; CPU or thread may be missing."""
    LAST_HEX = 14
    """The last word of the line is a hexadecimal number; it goes into register a."""
    HEX_BEFORE = 15
    """The word before this position, blanks between, is a hexadecimal number; it goes into register a. Go to its begin."""
    WORD = 16
    """A word of table b; its code into register a."""
    MAYBE_WORD = 17
    """A word of table b, its code into register a; 0 and no further where none stands."""
    SET = 18
    """Put b into register a."""
    RECORD = 19
    """The registers are a record."""
    AGAIN = 20
    """Accept at the end of the line, go to step a of the pattern otherwise."""


FULL = -2
RETURN = 13

# Numbers of the state that a scan is given and leaves.
AT, LINE, RECORDS, BAD_LINES, BAD_AT, BAD_LINE, CONTROLS = 0, 1, 2, 3, 4, 5, 6
STATE_SIZE = 7
FIRST_PRINTED = 32


@entry_point
def scan_lines(
    text: Text,
    newlines: NDArray[np.int64],
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
        text: whole lines.
        newlines: shape (lines,), where each ends; the last may end with the text.
        program: shape (steps, 3), step and its arguments.
        starts: first step of every pattern, in the order in which they are tried.
        literals: bytes of all literals and words.
        places: shape (literals, 2), begin and end in `literals`.
        words: shape (2^k, 4), slots with table or NO_TABLE, begin, end, code; words are in small letters.
        registers: shape (registers,), is written.
        values: shape (registers, room), is written: column i is record i.
        kinds: shape (room,), is written: pattern of every record.
        lines: shape (room,), is written: line of every record, from 0 at the text's begin.
        seen: shape (patterns, 2), lines that matched each, and the first of them, from 0; is added to.
        state: AT and so on: where to begin, and what was found; CONTROLS: whether there are control characters, and lines
            with one, which match nothing, have to be looked for.
    """
    at, line, count = state[AT], state[LINE], 0
    while line < len(newlines):
        newline = newlines[line]
        end = newline - 1 if newline > at and text[newline - 1] == RETURN else newline
        after = FAILED
        patterns = 0 if state[CONTROLS] != 0 and _has_control(text, at, end) else len(starts)
        for pattern in range(patterns):
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
            _note_bad(at, line, state)
        else:
            _note_seen(line, pattern, seen)
            for record in range(count, after):
                kinds[record], lines[record] = pattern, line
            count = after
        at, line = newline + 1, line + 1
    state[AT], state[LINE], state[RECORDS] = at, line, count


@kernel
def _note_bad(at: int, line: int, state: NDArray[np.int64]) -> None:
    """Count a line that matches nothing; remember the first."""
    if state[BAD_LINES] == 0:
        state[BAD_AT], state[BAD_LINE] = at, line
    state[BAD_LINES] += 1


@kernel
def _note_seen(line: int, pattern: int, seen: NDArray[np.int64]) -> None:
    """Count a line that matches a pattern; remember the first."""
    if seen[pattern, 0] == 0:
        seen[pattern, 1] = line
    seen[pattern, 0] += 1


@kernel
def _has_control(text: Text, at: int, end: int) -> bool:
    """Return whether a control character other than a tab stands in a line."""
    for place in range(at, end):  # noqa: SIM110 - compiled
        if text[place] < FIRST_PRINTED and text[place] != TAB:
            return True
    return False


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
        if what <= Step.SKIP:
            if what == Step.ACCEPT:
                return count
            if what == Step.END:
                return count if behind_blanks(text, at, end) == end else FAILED
            at = _move(text, at, end, what, a, literals, places)
        elif what <= Step.HEX_BEFORE:
            at = _take(text, begin, at, end, what, a, b, registers)
        elif what <= Step.MAYBE_WORD:
            behind = take_word(text, at, end, literals, words, registers, a, b)
            if behind < 0 and what == Step.MAYBE_WORD:
                registers[a] = np.uint64(0)  # not that of the record before it on the line
            else:
                at = behind
        elif what == Step.SET:
            registers[a] = np.uint64(b)
        elif what == Step.RECORD:
            if count == capacity:
                return FULL
            for register in range(len(registers)):
                values[register, count] = registers[register]
            count += 1
        else:  # AGAIN
            if behind_blanks(text, at, end) == end:
                return count
            step = first + a
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
    if what <= Step.MAYBE:
        if stands_here(text, at, end, literals, low, high):
            return at + high - low
        return at if what == Step.MAYBE else FAILED
    for place in range(at, end - (high - low) + 1):
        if stands_here(text, place, end, literals, low, high):
            return place if what == Step.STAND else place + high - low
    return FAILED


@part
def _take(text: Text, begin: int, at: int, end: int, what: int, a: int, b: int, registers: Registers) -> int:
    """Carry out a step that takes numbers; return the position after it."""
    if what <= Step.FRACTION:
        if what == Step.HEX or (what == Step.NUMBER and is_prefixed(text, at, end)):
            return take_hex(text, at, end, registers, a)
        at = take_decimal(text, at, end, registers, a)
        if what != Step.FRACTION or at < 0 or (b == 0 and (at == end or text[at] != DOT)):
            return at
        return take_places(text, at, end, registers, a, b)
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
