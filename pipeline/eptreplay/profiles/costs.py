"""costs.toml, read once and on first use: what an event costs, how far that may be off, and who says so."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from eptreplay.profiles.facts import Status

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class CostParameter:
    """What one event costs.

    Args:
        name: as in costs.toml; the unit is its last part.
        value: what estimates use.
        low: the least it may be.
        high: the most it may be.
        unit: "cycles", "us" or "MHz".
        meaning: what is counted, and what is not.
        status: how well it is known.
        sources: ids of the sources; `sources()` resolves them.
        note: what the sources say, and how value and range follow from it.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    meaning: str
    status: Status
    sources: tuple[str, ...] = ()
    note: str = ""


@cache
def cost_parameters() -> Mapping[str, CostParameter]:
    """Return every parameter by name, in the order of costs.toml."""
    # Imported here because 'eptreplay --help' does not need them and they are slow to import.
    import tomllib  # noqa: PLC0415 - only where the file is read: --help needs neither
    from importlib.resources import files  # noqa: PLC0415 - likewise

    found = tomllib.loads(files("eptreplay.profiles").joinpath("costs.toml").read_text(encoding="utf-8"))
    return {
        name: CostParameter(
            name,
            float(entry["value"]),
            float(entry["low"]),
            float(entry["high"]),
            entry["unit"],
            entry["meaning"],
            Status(entry["status"]),
            tuple(entry.get("src", ())),
            entry["note"],
        )
        for name, entry in found.items()
    }
