"""Small pieces that templates put together by the thousand: as functions, since a macro takes ten times as long."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from eptreplay.report.charts.lines import line_classes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eptreplay.report.sections.parts import Grid, Head

KEPT = 2048
"""Pieces of a kind that are kept: most of a page stand on every other page too."""


@lru_cache(maxsize=KEPT)
def swatch(style: int) -> Markup:
    """Return a sample of a line."""
    return Markup(
        '<svg class="swatch" width="26" height="10" aria-hidden="true"><line x1="1" x2="25" y1="5" y2="5" '
        'class="line {}"/></svg>'
    ).format(line_classes(style))


@lru_cache(maxsize=KEPT, typed=True)
def tip(text: str, note: str) -> Markup:
    """Return text with a note that shows when one points at it."""
    return Markup('<span class="tip" tabindex="0" data-tip="{}">{}</span>').format(note, text)


@lru_cache(maxsize=KEPT, typed=True)
def known(head: Head) -> Markup:
    """Return the head of a column or row: the sample of its line, and its text, with what it means."""
    line = Markup() if head.style is None else swatch(head.style) + " "
    return line + (tip(head.text, head.about) if head.about else escape(head.text))


def cell(value: Mapping[str, Any], style: int) -> Markup:
    """Return a cell of a comparison: its text, its change, and a bar in the colour of a line."""
    change = f" <small>{escape(value['change'])}</small>" if value["change"] else ""
    return Markup(  # noqa: S704 - all parts are escaped
        f'<td><span class="value">{escape(value["text"])}</span>{change}<svg class="bar" width="100%" height="4" '
        f'aria-hidden="true"><rect width="{escape(value["bar"])}%" height="4" rx="2" class="fill {line_classes(style)}"/></svg></td>'
    )


def rows(table: Grid) -> Markup:
    """Return the rows of a table, or a row that says there are none."""
    words = ["word " if head.word else "" for head in table.heads[1:]]
    lines = []
    for head, cells in table.rows:
        parts = [
            f'<td class="{word}{value.tone}">{escape(value.text)}</td>'
            for word, value in zip(words, cells, strict=False)
        ]
        lines.append(f'<tr><th scope="row">{known(head)}</th>{"".join(parts)}</tr>\n')
    if not lines:
        lines = [f'<tr><td class="word" colspan="{len(table.heads)}">{escape(table.nothing)}</td></tr>\n']
    return Markup("".join(lines))  # noqa: S704 - all parts are escaped


PIECES = {"swatch": swatch, "tip": tip, "known": known, "cell": cell, "rows": rows}
