"""The tables that the links of a page hold, as a browser would save them."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from pathlib import Path

LINK = re.compile(r'<a [^>]*href="data:text/csv;charset=utf-8;name=[^",]*,([^"]*)" download="([^"]+)"')


def text_of(href: str) -> str:
    """Return what a link holds."""
    assert not set(' "#<>\n') & set(href)
    head, _, data = href.partition(",")
    assert head.startswith("data:text/csv;charset=utf-8;name=")
    return unquote(data)


def downloads(page: Path) -> dict[str, str]:
    """Return the tables of a page by the names under which they are saved."""
    text = page.read_text(encoding="utf-8")
    found = [(html.unescape(name), unquote(html.unescape(data))) for data, name in LINK.findall(text)]
    assert len({name for name, _ in found}) == len(found)
    return dict(found)
