"""Natural order of names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eptreplay.ingest.trace.remote_path import AnyPath


def natural(path: AnyPath) -> tuple[list[list[int | str]], str]:
    """Return a key that sorts paths by their names, and numbers in these by value: part.2 comes before part.10."""
    return [[int(part) if part.isdigit() else part for part in _numbers(name)] for name in path.parts], str(
        path
    )


def _numbers(name: str) -> list[str]:
    """Return a name as text, number, text and so on."""
    return re.split(r"([0-9]+)", name)
