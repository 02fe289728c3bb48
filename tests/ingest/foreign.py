"""Foreign traces for tests: read in one go, from bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.ingest.importing.dropped import Dropped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.ingest.importing.format import Format, Opened


class Trickle(io.BytesIO):
    """A stream that gives a few bytes at a time, as a pipe may."""

    def read(self, count: int | None = -1, /) -> bytes:
        return super().read(count if count is None or count < 0 else min(count, 1013))


def read_all(
    format_or_opened: Format | Opened, data: bytes, dropped: Dropped | None = None, **options: str
) -> dict[str, NDArray[Any]]:
    """Return all columns of a trace that are there, and `places`."""
    opened = format_or_opened
    if hasattr(opened, "open"):
        opened = opened.open({name.replace("_", "-"): value for name, value in options.items()})
    columns: dict[str, list[NDArray[Any]]] = {}
    places: list[str] = []
    for chunk in opened.read(Trickle(data), dropped or Dropped()):
        for name in ("address", "op", "time", "vcpu", "size", "count", "arg", "space"):
            values = getattr(chunk, name)
            if values is not None:
                assert len(values) == len(chunk)
                columns.setdefault(name, []).append(values)
        if chunk.place:
            places += map(chunk.place, range(len(chunk)))
    found = {name: np.concatenate(values) for name, values in columns.items()}
    return found | {"places": np.array(places)}


def counts(dropped: Dropped) -> dict[str, int]:
    """Return how many records were left out, by reason."""
    return {reason: each.records for reason, each in (dropped.on_purpose | dropped.bad).items()}
