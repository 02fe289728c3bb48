"""Where in a plan a value stands: tomllib tells the line of wrong syntax only, and a wrong value has a line too."""

from __future__ import annotations

import re
from typing import NamedTuple

_TABLE = re.compile(r"\s*\[\s*([\w\s.\"'-]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"|'[^']*'))*)\s*=")
_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'")
_LONG = ('"""', "'''")

Path = tuple[str, ...]
"""A key with the tables it is in, outermost first."""


class Lines(NamedTuple):
    """The lines of a plan, and the number, from 1, of the one in which each key stands."""

    text: tuple[str, ...]
    keys: dict[Path, int]

    def of(self, path: Path, value: object = None) -> int:
        """Return the line of a key, or of a value of its list; where it cannot be told, of what it is in."""
        for length in range(len(path), 0, -1):
            first = self.keys.get(path[:length])
            if first is not None:
                return self._of_value(first, value)
        return 1

    def _of_value(self, first: int, value: object) -> int:
        """Return the first line from the key on, and before the next key, that has the value's text."""
        if isinstance(value, list):
            value = value[0] if value else None
        after = [line for line in self.keys.values() if line > first]
        end = min(after, default=len(self.text) + 1)
        wanted = str(value).lower() if isinstance(value, bool) else str(value)
        for number in range(first, end) if value is not None else ():
            if wanted in self.text[number - 1]:
                return number
        return first


def lines_of(text: str) -> Lines:
    """Return where the keys of a plan stand, whose syntax has been checked."""
    lines = tuple(text.split("\n"))
    keys: dict[Path, int] = {}
    table: Path = ()
    depth, within = 0, ""  # of brackets, and of a string of several lines
    for number, line in enumerate(lines, 1):
        if not depth and not within:
            if head := _TABLE.match(line):
                table = _parts(head[1])
                keys.setdefault(table, number)
                continue
            if key := _KEY.match(line):
                keys.setdefault(table + _parts(key[1]), number)
        depth, within = _after(line, depth, within)
    return Lines(lines, keys)


def _parts(text: str) -> Path:
    """Return the parts of a dotted key as the options are named: with underscores."""
    return tuple(part.strip().strip("\"'").replace("-", "_") for part in text.split("."))


def _after(line: str, depth: int, within: str) -> tuple[int, str]:
    """Return in how many brackets the line after this one is, and in which kind of string of several lines."""
    rest = line
    while True:
        if within:
            _, found, rest = rest.partition(within)
            if not found:
                return depth, within
            within = ""
        begins = [(rest.find(quote), quote) for quote in _LONG if quote in rest]
        before = rest[: min(begins)[0]] if begins else rest
        plain = _STRING.sub("", before).split("#")[0]
        depth += sum(map(plain.count, "[{")) - sum(map(plain.count, "]}"))
        if not begins or "#" in _STRING.sub("", before):
            return depth, ""
        at, within = min(begins)
        rest = rest[at + len(within) :]
