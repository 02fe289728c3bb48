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
BLANK, TAB, QUOTE = 32, 9, 34
DOT, COLON, UPPER_X, LOWER_X = 46, 58, 88, 120
OPENING, CLOSING, ROUND_OPENING, ROUND_CLOSING = 91, 93, 40, 41
MOST = np.uint64(2**64 - 1)
TEN = np.uint64(10)
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
    r"""Return the position behind a quoted text; a doubled mark, or one after a backslash, is part of it."""
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
def digit_value(letter: np.uint8) -> int:
    """Return the value of a hexadecimal digit, 16 for anything else."""
    if 48 <= letter <= 57:
        return int(letter) - 48
    small = int(letter) | 32
    return small - 87 if 97 <= small <= 102 else 16


@part
def is_prefixed(text: Text, at: int, end: int) -> bool:
    """Return whether 0x and a digit stand here."""
    if at + 2 >= end or text[at] != 48:
        return False
    return bool((text[at + 1] == LOWER_X or text[at + 1] == UPPER_X) and digit_value(text[at + 2]) < 16)


@part
def take_hex(text: Text, at: int, end: int, registers: Registers, a: int) -> int:
    """Take a hexadecimal number of at most 64 bits."""
    if is_prefixed(text, at, end):
        at += 2
    value, first = np.uint64(0), at
    while at < end and digit_value(text[at]) < 16:
        if value >> np.uint64(60):
            return FAILED
        value = (value << np.uint64(4)) | np.uint64(digit_value(text[at]))
        at += 1
    registers[a] = value
    return at if at > first else FAILED


@part
def take_decimal(text: Text, at: int, end: int, registers: Registers, a: int) -> int:
    """Take a decimal number of at most 64 bits."""
    value, first = np.uint64(0), at
    while at < end and 48 <= text[at] <= 57:
        digit = np.uint64(text[at]) - np.uint64(48)
        if value > (MOST - digit) // TEN:
            return FAILED
        value = value * TEN + digit
        at += 1
    registers[a] = value
    return at if at > first else FAILED


@kernel
def take_fraction(text: Text, at: int, end: int, registers: Registers, a: int, scale: int) -> int:
    """Take a decimal number with or without a fraction, times 10^scale."""
    at = take_decimal(text, at, end, registers, a)
    if at < 0:
        return FAILED
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
            if value > (MOST - digit) // TEN:
                return FAILED
            value = value * TEN + digit
            left -= 1
    registers[a] = value
    return at


@kernel
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
    behind = at
    while behind < end and in_word(text[behind]):
        behind += 1
    for row in range(len(words)):
        low, high = words[row, 1], words[row, 2]
        if words[row, 0] != table or high - low != behind - at:
            continue
        same = True
        for i in range(high - low):
            letter = text[at + i]
            if 65 <= letter <= 90:
                letter = np.uint8(letter + 32)
            same &= letter == literals[low + i]
        if same:
            registers[a] = np.uint64(words[row, 3])
            return behind
    return FAILED


@kernel
def in_word(letter: np.uint8) -> bool:
    """Return whether a character is part of a word: a letter, a digit, one of _ / -."""
    return bool(48 <= letter <= 57 or 65 <= letter <= 90 or 97 <= letter <= 122 or letter in (95, 47, 45))


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
        while at > begin and in_word(text[at - 1]):
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
    return low if take_fraction(text, low, at, registers, a, 9) == at else FAILED


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
