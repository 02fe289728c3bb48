"""In which line of a TOML file a key stands: the standard library's reader does not say."""

from __future__ import annotations

import re

_TABLE = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\-\s]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*[\"']?([A-Za-z0-9_\-]+)[\"']?\s*[=.]")


def line_of(text: str, table: tuple[str | int, ...], key: str | None) -> int:
    """Return the line, from 1, of a key, or of the table that it should be in.

    Args:
        text: the file.
        table: name and number of each array of tables on the way: ("phase", 0, "access", 2); empty for the top.
        key: None for the table itself.
    """
    found = 1
    here: tuple[str | int, ...] = ()
    counts: dict[tuple[str | int, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = _TABLE.match(line)
        if header:
            here = _entered(header[2], header[1] == "[[", counts)
            if here == table:
                found = number
        elif here == table and key is not None and (name := _KEY.match(line)) and name[1] == key:
            return number
    return found


def _entered(name: str, is_array: bool, counts: dict[tuple[str | int, ...], int]) -> tuple[str | int, ...]:
    """Return where a table's header leads, and count tables of an array."""
    path: tuple[str | int, ...] = ()
    parts = [part.strip() for part in name.split(".")]
    for part in parts[:-1]:
        path += (part,)
        if path in counts:
            path += (counts[path],)
    path += (parts[-1],)
    if not is_array:
        return path
    counts[path] = counts.get(path, -1) + 1
    for below in [
        each
        for each in counts
        if each[: len(path)] == path and len(each) > len(path) + 1 and each[len(path)] == counts[path]
    ]:
        del counts[below]
    return (*path, counts[path])
