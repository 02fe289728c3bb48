"""Text that came from outside, made harmless: for a terminal, which acts on control characters, and for a spreadsheet."""

from __future__ import annotations

import unicodedata

INVISIBLE = frozenset(
    map(
        chr,
        [
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2800, 0x3164, 0xFFA0),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ],
    )
)
"""Characters that count as printable and yet show nothing: fillers, joiners, variation selectors."""

FORMULA_STARTS = frozenset("=+-@\ufe66\ufe62\ufe63\ufe6b\uff1d\uff0b\uff0d\uff20")
"""Characters with which a spreadsheet takes a cell for a formula (OWASP, CSV injection), and their small and wide forms."""

LINE_STARTS = ("\t", "\r", "\n")
"""Characters with which it may, too, as they end the cell before."""


def printable(text: str) -> str:
    r"""Return text as one line with every character spelled out that a terminal would act on or not show, as in `\x1b`.

    These are control and format characters (escapes, directions of writing, widths of zero), ends of lines and
    paragraphs, and what is no character at all.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelled(character) if _is_hidden(character) else character for character in text)


def neutral(text: str) -> str:
    """Return text as a cell of a CSV file: printable, and led by an apostrophe where a spreadsheet would run it.

    What a spreadsheet may leave out before a formula, such as blanks and a byte order mark, does not hide one.
    """
    begin = next((character for character in text if not _is_blank(character)), "")
    runs = begin in FORMULA_STARTS or text.startswith(LINE_STARTS)
    return f"'{printable(text)}" if runs and begin else printable(text)


def columns_of(text: str) -> int:
    """Return how many columns of a terminal printable text takes: two for a wide character, none for a mark on one."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if is_wide(character) else 1


def is_wide(character: str) -> bool:
    """Return whether a character takes two columns of a terminal, as those of Chinese, Japanese and Korean do."""
    return unicodedata.east_asian_width(character) in {"W", "F"}


def _is_hidden(character: str) -> bool:
    """Return whether a terminal would act on a character, or show nothing for it; blanks are what they seem to be."""
    if character in INVISIBLE:
        return True
    return not character.isprintable() and unicodedata.category(character) != "Zs"


def _is_blank(character: str) -> bool:
    return character.isspace() or _is_hidden(character)


def _spelled(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
