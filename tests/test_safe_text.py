"""Text from outside: nothing in it steers a terminal, and no cell is a formula."""

from __future__ import annotations

import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.report.charts.csvs import cell, columns_text, csv_text
from eptreplay.safe_text import columns_of, neutral, printable
from eptreplay.tables.files import _neutral

ACTED_ON = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u2060\ufeff\u00ad\u061c\u180e\u034f\u3164\ufe0f",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
    "\ud800",
    "\udc9b",
    "\ue000",
    "\U000e0001",
    "\U000e0100",
]
BLANKS = [
    "",
    " ",
    "\t",
    "\r",
    "\n",
    "\xa0",
    "\u1680",
    "\u2003",
    "\u202f",
    "\u3000",
    "\u200b",
    "\ufeff",
    "\x00",
    " \ufeff\t",
]
STARTS = ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\ufe66", "\ufe62", "\ufe63", "\ufe6b"]
any_text = st.text(
    st.characters() | st.sampled_from(ACTED_ON) | st.sampled_from([*STARTS, *filter(None, BLANKS)][:20])
)


@pytest.mark.parametrize("character", ACTED_ON, ids=lambda character: f"{ord(character):04x}")
def test_a_character_that_a_terminal_acts_on_or_hides_is_spelled_out(character: str) -> None:
    code = ord(character)
    assert printable(f"a{character}b") in {f"a\\x{code:02x}b", f"a\\u{code:04x}b", f"a\\U{code:08x}b"}


@given(any_text)
def test_printable_text_is_one_line_of_what_can_be_seen(text: str) -> None:
    shown = printable(text)
    assert all(character.isprintable() or unicodedata.category(character) == "Zs" for character in shown)
    assert shown.splitlines() in ([], [shown])
    assert printable(shown) == shown


@pytest.mark.parametrize(
    "text", ["web-1vcpu", "größe", "客户机", "a b", "1,5 %", "é", "ひらがな", "\U0001f40e"]
)
def test_names_in_any_language_are_left_alone(text: str) -> None:
    assert printable(text) == text == neutral(text)


@pytest.mark.parametrize("blank", BLANKS, ids=repr)
@pytest.mark.parametrize("start", STARTS)
def test_a_formula_is_neutral_whatever_blank_hides_it(blank: str, start: str) -> None:
    text = f"{blank}{start}1+1"
    assert neutral(text) == f"'{printable(text)}"
    assert cell(text) == neutral(text)


@given(any_text)
def test_no_cell_is_a_formula_or_steers_a_terminal(text: str) -> None:
    written = neutral(text)
    assert written == printable(written)
    left = "".join(at for at in written if not at.isspace()).lstrip("\ufeff")
    assert not left.startswith(tuple(STARTS))


@given(st.lists(any_text.filter(lambda text: text.isprintable() or text.isascii()), max_size=20))
def test_tables_and_charts_write_cells_alike(texts: list[str]) -> None:
    frame = pl.DataFrame({"name": pl.Series(texts, dtype=pl.String)})
    assert frame.with_columns(_neutral("name"))["name"].to_list() == [cell(text) for text in texts]


def test_nothing_stays_nothing() -> None:
    frame = pl.DataFrame({"name": pl.Series([None, "=1", None], dtype=pl.String)})
    assert frame.with_columns(_neutral("name"))["name"].to_list() == [None, "'=1", None]


def test_headers_are_neutral_too() -> None:
    names = ["\ufeff=1", "\x1b[31m", "plain"]
    columns = columns_text([(name, pl.Series([1.0]).to_numpy()) for name in names])
    for text in (csv_text(names, []), columns):
        assert text.splitlines()[0] == "'\\ufeff=1,\\x1b[31m,plain"


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("客户", 4), ("e\u0301", 1), ("\uff1d", 2), ("", 0), ("é", 1)]
)
def test_wide_characters_take_two_columns_and_marks_none(text: str, columns: int) -> None:
    assert columns_of(text) == columns
