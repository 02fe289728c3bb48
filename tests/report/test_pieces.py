"""Small pieces of pages: whatever text they are given is escaped."""

from __future__ import annotations

from markupsafe import Markup

from eptreplay.report.pages.pieces import cell, known, rows, swatch, tip
from eptreplay.report.sections.parts import Cell, Grid, Head

BAD = "<b>\"&'"
ESCAPED = "&lt;b&gt;&#34;&amp;&#39;"


def test_text_is_escaped_wherever_it_stands() -> None:
    assert tip(BAD, BAD) == f'<span class="tip" tabindex="0" data-tip="{ESCAPED}">{ESCAPED}</span>'
    assert known(Head(BAD)) == ESCAPED
    assert known(Head(BAD, BAD, style=1)) == swatch(1) + " " + tip(BAD, BAD)
    value = cell({"text": BAD, "change": BAD, "bar": 12.5}, 3)
    assert value.count(ESCAPED) == 2
    assert "<b>" not in value
    assert 'width="12.5%"' in value
    grid = Grid("id", "t", "a", "l", [Head("a"), Head("b", word=True)], [(Head(BAD), [Cell(BAD, "no")])])
    assert rows(grid) == f'<tr><th scope="row">{ESCAPED}</th><td class="word no">{ESCAPED}</td></tr>\n'


def test_text_and_markup_that_look_alike_are_not_taken_for_each_other() -> None:
    assert tip("<i>", "") == tip("<i>", "").replace("<i>", "")
    assert "<i>" in tip(Markup("<i>"), "")
    assert "<i>" not in tip("<i>", "")


def test_a_table_without_rows_says_so() -> None:
    grid = Grid("id", "t", "a", "l", [Head("a"), Head("b")], [], BAD)
    assert rows(grid) == f'<tr><td class="word" colspan="2">{ESCAPED}</td></tr>\n'
