"""Quantities as people write them: durations, numbers of rows, sizes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from eptreplay.errors import UsageError

PAGE_BYTES = 4096
"""Bytes of a page, of guests and of the host."""

BLOCK_PAGES = 512
"""Pages of a 2 MB block: a superpage, a reservation, a page-table page's entries."""

CYCLES = "cycles"
"""The unit of a trace that counts cycles at a rate that nobody says."""

NANOSECONDS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000}


_RATE = re.compile(rf"{CYCLES} at ([0-9.e+-]+) MHz")


def cycles_at(mhz: float) -> str:
    """Return the unit of a trace that counts cycles at a known rate."""
    return f"{CYCLES} at {repr(float(mhz)).removesuffix('.0')} MHz"


def rate_mhz(unit: str) -> str | None:
    """Return the rate, in MHz, of a unit that `cycles_at` made; None of another one."""
    rate = _RATE.fullmatch(unit)
    return None if rate is None else rate[1]


def nanoseconds(unit: str) -> Fraction | None:
    """Return the length in ns of a trace's unit of time; None if it is no time, or of unknown length."""
    if unit in NANOSECONDS:
        return Fraction(NANOSECONDS[unit])
    rate = rate_mhz(unit)
    if rate is not None:
        return Fraction(1000) / Fraction(rate)
    return Fraction(1, 1000) if unit == "ps" else None


@dataclass(frozen=True, slots=True)
class Every:
    """A distance along a trace: `amount` rows, or `amount` nanoseconds of trace time if `timed`."""

    amount: int
    timed: bool

    def __str__(self) -> str:
        """Return the distance as a user would write it."""
        if not self.timed:
            return f"{self.amount} rows"
        for unit in ("min", "s", "ms", "us"):
            if self.amount % NANOSECONDS[unit] == 0:
                return f"{self.amount // NANOSECONDS[unit]} {unit}"
        return f"{self.amount} ns"

    def fits(self, unit: str) -> bool:
        """Return whether a distance in time is a whole number of a trace's unit of time."""
        try:
            return self.in_units_of(unit) > 0
        except UsageError:
            return False

    def in_units_of(self, unit: str) -> int:
        """Return the distance in a trace's unit of time; in cycles to the nearest, since their rate is a measured number.

        Raises:
            UsageError: the trace counts in something that is no time, or not finely enough.
        """
        length = nanoseconds(unit)
        if length is None:
            raise UsageError(f"'{self}' is a time, but the trace counts {unit}; give a number of rows")
        amount, rest = divmod(self.amount, length)
        if unit.startswith(CYCLES):
            amount, rest = round(self.amount / length), Fraction(0)
        if rest or amount == 0:
            raise UsageError(f"'{self}' is no whole number of the trace's units ({unit}); give a longer time")
        return amount


def parse_every(text: str) -> Every:
    """Read a distance along a trace: `1000000`, `1_000_000`, `1M` (rows) or `10ms`, `1.5s` (trace time).

    Raises:
        UsageError: it is neither, or not above 0.
    """
    compact = text.strip().replace("_", "").replace(",", "")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", compact)
    rows = {"": 1, "rows": 1, "k": 1_000, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000}
    if match:
        number, unit = match[1], match[2]
        scale = rows.get(unit, NANOSECONDS.get(unit, 0))
        amount = round(float(number) * scale) if "." in number else int(number) * scale
        if amount > 0:
            return Every(amount, timed=unit in NANOSECONDS)
    raise UsageError(
        f"'{text}' is no distance along a trace; give rows as in 1000000 or 1M, "
        "or trace time as in 500us, 10ms, 1.5s, 2min"
    )


def parse_duration(text: str) -> int:
    """Read a time: `300ms`, `1.5s`; nanoseconds.

    Raises:
        UsageError: it is none, or not above 0.
    """
    try:
        every = parse_every(text)
    except UsageError:
        every = Every(0, timed=False)
    if not every.timed:
        raise UsageError(f"'{text}' is no time; give one as in 500us, 300ms, 1.5s")
    return every.amount


def binary_size(count: int) -> str:
    """Return a number of bytes in the largest binary unit below it, as in `512 MiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


def parse_size(text: str) -> int:
    """Read a number of bytes: `536870912`, `512M`, `512MiB`, `1.5G`; K, M, G, T are powers of 1024.

    Raises:
        UsageError: it is none, or not above 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip().replace("_", ""), re.IGNORECASE)
    if match:
        scale: int = 1024 ** " KMGT".index(match[2].upper() or " ")
        size = round(float(match[1]) * scale) if "." in match[1] else int(match[1]) * scale
        if size > 0:
            return size
    raise UsageError(f"'{text}' is no amount of memory; give bytes, or a unit as in 512M, 1.5GiB")
