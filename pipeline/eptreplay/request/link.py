"""What live migrations are estimated with."""

from __future__ import annotations

from dataclasses import dataclass

GBIT = 10**9
DEFAULT_BANDWIDTHS = (GBIT, 5 * GBIT // 2, 10 * GBIT, 25 * GBIT, 100 * GBIT)
FASTEST = 1000 * GBIT


@dataclass(frozen=True, slots=True)
class Link:
    """What a guest is migrated over.

    Args:
        bandwidths: bits a second, ascending; each is tried.
        downtime_ns: the longest pause that is allowed, nanoseconds.
    """

    bandwidths: tuple[int, ...] = DEFAULT_BANDWIDTHS
    downtime_ns: int = 300_000_000
