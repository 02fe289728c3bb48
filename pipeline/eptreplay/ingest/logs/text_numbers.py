"""Words and numbers taken out of a line of text: the compiled parts of `text_scan.py`.

What takes something returns the position behind it, or FAILED where it is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.compiled import kernel, part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Text = NDArray[np.uint8]
    Registers = NDArray[np.uint64]

FAILED = -1
WORD_LETTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/-")
BLANK, TAB, QUOTE = 32, 9, 34
DOT, COLON, UPPER_X, LOWER_X = 46, 58, 88, 120
OPENING, CLOSING, ROUND_OPENING, ROUND_CLOSING = 91, 93, 40, 41
MOST = np.uint64(2**64 - 1)
TEN = np.uint64(10)
LAST_SURE = np.uint64((2**64 - 10) // 10)
"""A number up to this one has room for any further digit, the next one for those up to 5."""
DIGITS = np.array(
    [int(chr(code), 16) if chr(code) in "0123456789abcdefABCDEF" else 255 for code in range(256)], np.uint8
)
"""Value of each character as a hexadecimal digit; 255 for one that is none."""
LETTERS = np.array(
    [ord(chr(code).lower()) if chr(code) in WORD_LETTERS else 0 for code in range(256)], np.uint8
)
"""Each character of a word as a small letter; 0 for one that no word has."""
FIRST_MIX, MIX, MIX_SHIFT = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3), np.uint64(24)
"""With which letters of a word are mixed into a number (FNV-1a)."""
NO_TABLE = -1
"""Table of a slot that holds no word."""
NO_CPU = MOST
"""What stands for a CPU or thread that a line does not name."""


@part
def is_blank(letter: np.uint8) -> bool:
    """Return whether a character is a blank or a tab."""
    return bool(letter == BLANK or letter == TAB)  # noqa: PLR1714, SIM109 - compiled


@part
def behind_blanks(text: Text, at: int, end: int) -> int:
    """Return the position behind blanks."""
    while at < end and is_blank(text[at]):
        at += 1
    return at


@part
def stands_here(text: Text, at: int, end: int, literals: Text, low: int, high: int) -> bool:
    """Return whether a literal stands here."""
    if at + high - low > end:
        return False
    for i in range(high - low):  # noqa: SIM110 - compiled
        if text[at + i] != literals[low + i]:
            return False
    return True


@kernel
def behind_quoted(text: Text, at: int, end: int) -> int:
    """Return the position behind a quoted text; a doubled mark is part of it."""
    if at >= end or text[at] != QUOTE:
        return FAILED
    at += 1
    while at < end:
        if text[at] == QUOTE:
            if at + 1 < end and text[at + 1] == QUOTE:
                at += 1
            else:
                return at + 1
        at += 1
    return FAILED


@kernel
def behind_field(text: Text, at: int, end: int, delimiter: int) -> int:
    """Return the position of the next delimiter, or the end."""
    if at < end and text[at] == QUOTE:
        at = behind_quoted(text, at, end)
        if at < 0:
            return FAILED
    while at < end and text[at] != delimiter and not (delimiter == BLANK and text[at] == TAB):
        at += 1
    return at


@part
def is_prefixed(text: Text, at: int, end: int) -> bool:
    """Return whether 0x and a digit stand here."""
    if at + 2 >= end or text[at] != 48:
        return False
    return bool((text[at + 1] == LOWER_X or text[at + 1] == UPPER_X) and DIGITS[text[at + 2]] < 16)


@part
def take_hex(text: Text, at: int, end: int, registers: Registers, a: int) -> int:
    """Take a hexadecimal number of at most 64 bits."""
    if is_prefixed(text, at, end):
        at += 2
    value, first = np.uint64(0), at
    while at < end:
        digit = DIGITS[text[at]]
        if digit > 15:
            break
        if value >> np.uint64(60):
            return FAILED
        value = (value << np.uint64(4)) | np.uint64(digit)
        at += 1
    registers[a] = value
    return at if at > first else FAILED


@part
def take_decimal(text: Text, at: int, end: int, registers: Registers, a: int) -> int:
    """Take a decimal number of at most 64 bits."""
    value, first = np.uint64(0), at
    while at < end:
        digit = DIGITS[text[at]]
        if digit > 9:
            break
        if value > LAST_SURE and (value > LAST_SURE + np.uint64(1) or digit > 5):
            return FAILED
        value = value * TEN + np.uint64(digit)
        at += 1
    registers[a] = value
    return at if at > first else FAILED


@kernel
def take_places(text: Text, at: int, end: int, registers: Registers, a: int, scale: int) -> int:
    """Multiply the whole part of a number, already taken, by 10^scale, with the fraction that may follow."""
    value, left = registers[a], scale
    dot = at < end and text[at] == DOT
    if dot:
        at += 1
    while left > 0 or (dot and at < end and 48 <= text[at] <= 57):
        digit = np.uint64(0)
        if dot and at < end and 48 <= text[at] <= 57:
            digit = np.uint64(text[at]) - np.uint64(48)
            at += 1
        if left > 0:
            if value > LAST_SURE and (value > LAST_SURE + np.uint64(1) or digit > 5):
                return FAILED
            value = value * TEN + digit
            left -= 1
    registers[a] = value
    return at


@part
def take_word(
    text: Text,
    at: int,
    end: int,
    literals: Text,
    words: NDArray[np.int64],
    registers: Registers,
    a: int,
    table: int,
) -> int:
    """Take a word of a table, whatever the case of its letters."""
    behind, mixed = at, FIRST_MIX + np.uint64(table)
    while behind < end and LETTERS[text[behind]] != 0:
        mixed = (mixed ^ np.uint64(LETTERS[text[behind]])) * MIX
        behind += 1
    slot = np.int64((mixed >> MIX_SHIFT) & np.uint64(len(words) - 1))
    while words[slot, 0] != NO_TABLE:
        low, high = words[slot, 1], words[slot, 2]
        if words[slot, 0] == table and high - low == behind - at:
            same = True
            for i in range(high - low):
                same &= LETTERS[text[at + i]] == literals[low + i]
            if same:
                registers[a] = np.uint64(words[slot, 3])
                return behind
        slot = (slot + 1) & (len(words) - 1)
    return FAILED


def slot_of_word(word: bytes, table: int, slots: int) -> int:
    """Return where a table of so many slots, a power of 2, looks first for a word in small letters."""
    mixed = int(FIRST_MIX) + table
    for letter in word:
        mixed = ((mixed ^ letter) * int(MIX)) & int(MOST)
    return (mixed >> int(MIX_SHIFT)) & (slots - 1)


@kernel
def take_head(text: Text, begin: int, at: int, registers: Registers, a: int) -> bool:
    """Take time (ns), CPU and thread from what stands before an event's name, from its end to its begin.

    `comm-12 [001] d..1. 3.5: `, `comm-12 (9) [001] 3.5: `, `comm 9/12 [001] 3.5: system:`, `comm 12 3.5: 1 system:`.
    """
    registers[a + 1] = registers[a + 2] = NO_CPU
    at = _time_before(text, begin, at, registers, a)
    if at >= 0:
        at = _cpu_before(text, begin, at, registers, a + 1)
    return at >= 0 and _thread_before(text, begin, at, registers, a + 2)


@kernel
def _time_before(text: Text, begin: int, at: int, registers: Registers, a: int) -> int:
    """Take the time; a system's name and a period may stand behind it. Return where it begins."""
    if at > begin and text[at - 1] == COLON:  # of the system's name
        at -= 1
        while at > begin and LETTERS[text[at - 1]] != 0:
            at -= 1
    at = back_blanks(text, begin, at)
    low = back_digits(text, begin, at)
    if low < at:  # a period
        at = back_blanks(text, begin, low)
    if at == begin or text[at - 1] != COLON:
        return FAILED
    at -= 1
    dot = back_digits(text, begin, at) - 1
    if dot + 1 == at or dot < begin or text[dot] != DOT:
        return FAILED
    low = back_digits(text, begin, dot)
    if low > begin and not is_blank(text[low - 1]):
        return FAILED
    after = take_decimal(text, low, at, registers, a)
    return low if after >= 0 and take_places(text, after, at, registers, a, 9) == at else FAILED


@kernel
def _cpu_before(text: Text, begin: int, at: int, registers: Registers, a: int) -> int:
    """Take the CPU if one stands there, with or without flags behind it. Return where it begins."""
    at = back_blanks(text, begin, at)
    bracket = at
    if at > begin and text[at - 1] != CLOSING:  # flags of the event, if a CPU stands before them
        while bracket > begin and not is_blank(text[bracket - 1]):
            bracket -= 1
        bracket = back_blanks(text, begin, bracket)
    if bracket == begin or text[bracket - 1] != CLOSING:
        return at
    low = back_digits(text, begin, bracket - 1)
    if low == begin or text[low - 1] != OPENING:
        return FAILED
    return low - 1 if take_decimal(text, low, bracket, registers, a) == bracket - 1 else FAILED


@kernel
def _thread_before(text: Text, begin: int, at: int, registers: Registers, a: int) -> bool:
    """Take the thread if one stands there, with or without its process in round brackets behind it."""
    at = back_blanks(text, begin, at)
    if at > begin and text[at - 1] == ROUND_CLOSING:
        while at > begin and text[at - 1] != ROUND_OPENING:
            at -= 1
        at = back_blanks(text, begin, at - 1)
    low = back_digits(text, begin, at)
    return low == at or take_decimal(text, low, at, registers, a) == at


@kernel
def back_blanks(text: Text, begin: int, at: int) -> int:
    """Return where the blanks before a position begin."""
    while at > begin and is_blank(text[at - 1]):
        at -= 1
    return max(at, begin)


@kernel
def back_digits(text: Text, begin: int, at: int) -> int:
    """Return where the digits before a position begin."""
    while at > begin and 48 <= text[at - 1] <= 57:
        at -= 1
    return at
