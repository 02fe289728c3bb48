"""Reading recordings that are JSON, or a line of JSON a step, before anything in them is believed."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

from eptreplay.errors import TraceError

if TYPE_CHECKING:
    from pathlib import Path


def opened(path: Path) -> str:
    """Return the text of a file, unpacked if its name ends in .gz.

    Raises:
        TraceError: it is no text, or damaged.
    """
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise TraceError(str(path), f"the file cannot be read: {error}", expected="a recording") from error


def first_keys(path: Path) -> frozenset[str]:
    """Return the keys of the JSON object that a file is, or that its first line is; none if there is no such thing."""
    try:
        head = _first_value(path)
    except (OSError, EOFError, ValueError, zlib.error, RecursionError):
        return frozenset()
    return frozenset(head) if isinstance(head, dict) else frozenset()


def _first_value(path: Path) -> object:
    """Return the JSON value of a file, or of its first line if it is one of lines."""
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return json.loads(lines.readline())
    with path.open(encoding="utf-8") as lines:
        return json.loads(lines.readline() if path.suffix == ".jsonl" else lines.read())


def document(path: Path, keys: frozenset[str]) -> dict[str, Any]:
    """Return the JSON object that a file is.

    Raises:
        TraceError: it is none, or lacks one of the keys.
    """
    return _object(path, opened(path), keys)


def lines_of(path: Path, keys: frozenset[str]) -> tuple[dict[str, Any], list[Any]]:
    """Return the object of the first line of a file, and the values of the other lines.

    Raises:
        TraceError: the file is damaged, or the first line lacks one of the keys.
    """
    first, *others = opened(path).splitlines() or [""]
    try:
        values = json.loads(f"[{','.join(others)}]")
    except (ValueError, RecursionError) as error:
        raise TraceError(
            str(path), f"not a recording: {error}", expected="one JSON value per line"
        ) from error
    return _object(path, first, keys), values


def _object(path: Path, text: str, keys: frozenset[str]) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TraceError(str(path), f"not a recording: {error}", expected="a JSON object") from error
    if not isinstance(value, dict) or not value.keys() >= keys:
        raise TraceError(
            str(path), "not a recording of its kind", expected=f"a JSON object with {sorted(keys)}"
        )
    return value


def whole_number(value: object, begin: int, end: int, where: str, what: str) -> int:
    """Return a value that must be a whole number in [begin, end).

    Raises:
        TraceError: it is not; names the place and what it is.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not begin <= value < end:
        raise TraceError(
            where, f"{what} is {str(value)[:60]}", expected=f"a whole number from {begin:,} to {end - 1:,}"
        )
    return value
