"""Text: kinds of access as words or letters, numbers in decimal or hexadecimal digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from eptreplay.ingest.taking.converted import null_mask, read_only
from eptreplay.ingest.trace.schema import Event, Op
from eptreplay.ingest.trace.source import Converted, Unfit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.ingest.trace.source import Mask

WORDS: dict[str, int] = {
    **dict.fromkeys(("read", "r", "rd", "load", "ld", "l"), int(Op.READ)),
    **dict.fromkeys(("write", "w", "wr", "store", "st", "s"), int(Op.WRITE)),
    **dict.fromkeys(
        ("fetch", "f", "ifetch", "instruction", "instr", "insn", "i", "execute", "exec", "x"), int(Op.FETCH)
    ),
    **{event.name.lower(): int(event) for event in Event},
}
"""Words and letters of kinds of access, and names of events, in lower case."""

_MOST_WORDS = 1024
"""A batch with more words than these has no kinds of access in this column."""
_CODES = 256


@dataclass(frozen=True, slots=True)
class Kinds:
    """Kinds of access as words, letters or digits, case and blanks around them aside; an enum is one too."""

    def __call__(self, array: pa.Array) -> Converted:
        """Convert rows."""
        nulls = null_mask(array)
        coded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        words = [_text(word) for word in coded.dictionary.slice(0, _MOST_WORDS).to_pylist()]
        codes = np.array([_code(word) for word in words] + [-1], np.int16)
        # Nulls get the place behind the last word, as do words beyond the most there can be.
        places = np.minimum(coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False), len(words))
        found = codes[places]
        bad = found < 0
        if nulls is not None:
            bad &= ~nulls
        unfit = None
        if bad.any():
            first = array[int(bad.argmax())].as_py()
            unfit = Unfit(bad, f"'{_text(first)!s:.40}' is no kind of access")
        return Converted(read_only(np.maximum(found, 0).astype(np.uint8)), nulls, unfit)


@dataclass(frozen=True, slots=True)
class Digits:
    """Numbers as text: hexadecimal behind 0x, otherwise decimal.

    Args:
        target: the type to make.
        hexadecimal: whether digits without 0x are hexadecimal, too.
    """

    target: np.dtype[Any]
    hexadecimal: bool = False

    def __call__(self, array: pa.Array) -> Converted:
        """Convert rows."""
        import polars as pl  # noqa: PLC0415 - takes a moment to load, and few traces are text

        nulls = null_mask(array)
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if not pa.types.is_string(array.type):
            array = array.cast(pa.large_string())
        text = pl.Series(pl.from_arrow(array)).str.strip_chars().str.to_lowercase()
        digits = text.str.strip_prefix("0x")
        prefixed = text.str.starts_with("0x").fill_null(value=False)
        base16 = digits.str.to_integer(base=16, dtype=pl.UInt64, strict=False)
        if self.hexadecimal or bool(prefixed.all()):
            found = base16
        else:
            base10 = digits.str.to_integer(base=10, dtype=pl.UInt64, strict=False)
            found = base16.zip_with(prefixed, base10)
        return self._checked(found.to_arrow(), nulls, array)

    def _checked(self, found: pa.Array, nulls: Mask | None, array: pa.Array) -> Converted:
        """Return the numbers, and which rows have none."""
        bad: NDArray[np.bool_] = found.is_null().to_numpy(zero_copy_only=False)
        values = found.fill_null(0).to_numpy(zero_copy_only=False)
        bad = bad | (values > int(np.iinfo(self.target).max))
        if nulls is not None:
            bad &= ~nulls
        unfit = None
        if bad.any():
            first = _text(array[int(bad.argmax())].as_py())
            unfit = Unfit(
                bad, f"'{first!s:.40}' is no {'hexadecimal ' if self.hexadecimal else ''}number that fits"
            )
        return Converted(read_only(np.where(bad, 0, values).astype(self.target)), nulls, unfit)


def _text(word: object) -> str:
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)


def _code(word: str) -> int:
    """Return the code of a word; -1 if it means nothing."""
    word = word.strip().lower()
    known = WORDS.get(word)
    if known is not None:
        return known
    return int(word) if word.isascii() and word.isdigit() and len(word) < 4 and int(word) < _CODES else -1
