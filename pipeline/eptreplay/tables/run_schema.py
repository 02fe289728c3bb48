"""What run.json holds: a run may come from somebody else, so nothing of it is used before it is checked.

A shape is a type for a value of that type, a list of one shape for a list, a dictionary for an object with these
keys, `Maybe` for what may be null or missing, and `Each` for an object with any keys. Keys that no shape names are left alone.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from eptreplay.errors import OutputError

LARGEST = 1 << 64
"""No count, size or time is larger."""


class Maybe(NamedTuple):
    """What may be null or missing."""

    shape: Any


class Each(NamedTuple):
    """An object with any keys, whose values have one shape."""

    shape: Any


OPTIONS = {"policy": str, "every": Maybe(str)}

PROFILE = {
    "name": str,
    "slug": str,
    "title": str,
    "entries": str,
    "flags": [str],
    "assumptions": [str],
    "costs": Maybe(Each({"value": float, "status": str})),
    "base": Maybe(int),
    "release": Maybe(str),
    "allow_2m_x_ept": Maybe(int),
    "fault_2m": Maybe(int),
}

GUEST = {
    "name": str,
    "slug": str,
    "time_unit": str,
    "memory_pages": int,
    "segments": [{"gpa": int, "bytes": int, "kind": str}],
    "about": Each(str),
    "bad_rows": Each(int),
    "verified_by": Maybe(str),
}

RUN = {
    "eptreplay": str,
    "options": OPTIONS,
    "host": Maybe({"memory_bytes": Maybe(int)}),
    "guests": [GUEST],
    "failed": [{"guest": str, "error": str}],
    "profiles": [PROFILE],
    "compared": Maybe({"runs": [{"name": str, "options": OPTIONS}], "differ": [str]}),
}

WORDS = {
    str: "a text",
    int: "a whole number, 0 or more",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def check_run(run: object, path: str) -> None:
    """Check what run.json holds.

    Args:
        run: what was read.
        path: of the file, for messages.

    Raises:
        OutputError: names the first value that is not what it must be.
    """
    _check(run, RUN, "", path)
    if isinstance(run, dict):
        for kind in ("guests", "profiles"):
            names: set[str] = set()
            if not run[kind]:
                _refuse(path, kind, "is empty", "at least one")
            for number, each in enumerate(run[kind]):
                names.add(each["name"])
                if len(names) <= number:
                    _refuse(
                        path, f"{kind}[{number}].name", "is there twice", "names of which no two are the same"
                    )
        for number, profile in enumerate(run["profiles"]):
            if (profile.get("base") or 0) >= len(run["profiles"]):
                _refuse(path, f"profiles[{number}].base", "is too large", "the number of a profile")
        if run.get("compared") is not None and not run["compared"]["runs"]:
            _refuse(path, "compared.runs", "is empty", "the runs that were compared")


def _check(value: Any, shape: Any, where: str, path: str) -> None:  # noqa: ANN401 - whatever JSON holds
    """Check a value and all that it holds."""
    if isinstance(shape, Maybe):
        if value is not None:
            _check(value, shape.shape, where, path)
    elif isinstance(shape, list):
        _check_type(value, list, where, path)
        for number, each in enumerate(value):
            _check(each, shape[0], f"{where}[{number}]", path)
    elif isinstance(shape, Each):
        _check_type(value, dict, where, path)
        for key, each in value.items():
            _check_text(key, f"{where}.{key!r:.40}", path)
            _check(each, shape.shape, f"{where}.{key!r:.40}", path)
    elif isinstance(shape, dict):
        _check_type(value, dict, where, path)
        for key, of in shape.items():
            at = f"{where}.{key}" if where else key
            if key not in value and not isinstance(of, Maybe):
                _refuse(path, at, "is missing", _word(of))
            _check(value.get(key), of, at, path)
    else:
        _check_type(value, shape, where, path)


def _check_type(value: object, kind: type, where: str, path: str) -> None:
    """Check a single value."""
    if kind is str:
        _check_text(value, where, path)
        return
    kinds = (int, float) if kind is float else (kind,)
    good = isinstance(value, kinds) and not isinstance(value, bool)
    if good and isinstance(value, (int, float)):
        good = math.isfinite(value) and 0 <= value <= LARGEST
    if not good:
        _refuse(path, where, f"is {value!r:.40}", WORDS[kind])


def _check_text(value: object, where: str, path: str) -> None:
    """Check a text: half of a surrogate pair can be in JSON, but never in a file."""
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        _refuse(path, where, f"is {value!a:.40}", WORDS[str])


def _word(shape: Any) -> str:  # noqa: ANN401 - a shape
    kind = list if isinstance(shape, list) else dict if isinstance(shape, (dict, Each)) else shape
    return WORDS[kind]


def _refuse(path: str, where: str, found: str, expected: str) -> None:
    raise OutputError(
        f"{path}: {where or 'the file'}: {found}, expected {expected}; "
        "this run was not written by eptreplay as it is, replay again"
    )
