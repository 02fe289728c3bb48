"""Pre-copy live migration, estimated from the dirty history of the trace itself.

Round 0 sends all memory; every round after that sends what was dirtied during the one before and was not given back since.  When what is left
fits into the allowed pause, the guest is stopped, the rest is sent, and it goes on at the other end (Clark et al., Live
Migration of Virtual Machines, NSDI 2005).  A migration that is not there after MAX_ROUNDS rounds does not converge.

How much a round finds dirty is not a rate times a time: it is the number of distinct pages that the trace wrote
in the intervals the round overlaps.  An interval that a round overlaps only in part counts in full, so rounds are
never too small, and an estimate that converges holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.analysis.history import NOTHING_GONE, RepeatedGone
from eptreplay.request.link import FASTEST
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from fractions import Fraction

    from eptreplay.analysis.history import Repeated

MAX_ROUNDS = 30
"""Rounds before the pause, at most: as Xen's xc_domain_save long had it."""

SLOWEST_EXPONENT = 6


class Round(NamedTuple):
    """One round.

    Args:
        start_bytes: bytes sent before it.
        sent_bytes: bytes it sends.
        dirtied_bytes: bytes dirtied meanwhile.
    """

    start_bytes: int
    sent_bytes: int
    dirtied_bytes: int


@dataclass(frozen=True, slots=True)
class Migration:
    """What came of a migration.

    Args:
        bandwidth: bits per second.
        rounds: those before the pause, at least one.
        left_bytes: what is sent in the pause.
        converges: whether the pause is short enough.
        lost_bytes: of what the last round sends, the part that is not dirtied again meanwhile.
    """

    bandwidth: int
    rounds: tuple[Round, ...]
    left_bytes: int
    converges: bool
    lost_bytes: int

    @property
    def sent_bytes(self) -> int:
        """Bytes sent in all, the pause included."""
        return sum(done.sent_bytes for done in self.rounds) + self.left_bytes

    @property
    def retry_bytes(self) -> int:
        """What a second attempt has to send first if nothing of the last round arrived and its bits are put back."""
        return self.left_bytes + self.lost_bytes

    def seconds(self, count: int) -> float:
        """Return how long the link takes for a number of bytes."""
        return 8 * count / self.bandwidth


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest to migrate.

    Args:
        memory_bytes: all memory that it has at the beginning.
        dirty: its pages by when they were written; a unit that is larger than a page counts as its pages.
        span: length of the trace, seconds, above 0.
        gone: its pages by when they were given back.
    """

    memory_bytes: int
    dirty: Repeated
    span: Fraction
    gone: RepeatedGone = field(default_factory=lambda: RepeatedGone(NOTHING_GONE, 1))

    def dirtied(self, bandwidth: int, start_bytes: int, end_bytes: int) -> int:
        """Return the bytes dirtied, and not given back since, while the link sends those from `start_bytes` to `end_bytes`."""
        begin, _ = self._interval(bandwidth, start_bytes)
        over, end = self._interval(bandwidth, end_bytes)
        return self.dirty.to_send(begin, end, over) * PAGE_BYTES

    def gone_bytes(self, bandwidth: int, end_bytes: int) -> int:
        """Return what of its first memory is given back, and not written again, when the link has sent so many bytes."""
        over, end = self._interval(bandwidth, end_bytes)
        return self.gone.absent(end, over) * PAGE_BYTES

    def _interval(self, bandwidth: int, sent_bytes: int) -> tuple[int, int]:
        """Return how many intervals are over when the link has sent so many bytes, and how many have begun."""
        # A byte takes 8 / bandwidth seconds, and span / intervals seconds are an interval: in whole numbers, since
        # a round that ends where an interval does must not reach into the next.
        intervals = 8 * self.dirty.intervals * self.span.denominator
        bytes_ = bandwidth * self.span.numerator
        return sent_bytes * intervals // bytes_, -(-sent_bytes * intervals // bytes_)


def migrate(guest: Guest, bandwidth: int, downtime_ns: int) -> Migration:
    """Migrate a guest over a link of `bandwidth` bits per second with a pause of at most `downtime_ns` nanoseconds."""
    allowed = bandwidth * downtime_ns // (8 * 10**9)  # bytes
    rounds: list[Round] = []
    start, sending = 0, guest.memory_bytes
    while True:
        dirtied = guest.dirtied(bandwidth, start, start + sending)
        rounds.append(Round(start, sending, dirtied))
        if dirtied <= allowed or len(rounds) == MAX_ROUNDS:
            break
        start, sending = start + sending, dirtied
    return Migration(
        bandwidth=bandwidth,
        rounds=tuple(rounds),
        left_bytes=dirtied,
        converges=dirtied <= allowed,
        lost_bytes=_lost(guest, bandwidth, rounds),
    )


def _lost(guest: Guest, bandwidth: int, rounds: list[Round]) -> int:
    """Return what the last round sends and the guest does not dirty again meanwhile, bytes.

    The dirty bits of what a round sends are cleared when it begins.  If nothing of it arrives, the bits that are set by
    then name only what was dirtied since: this much would be missing at the other end after a second attempt.
    """
    last = rounds[-1]
    if len(rounds) == 1:
        return guest.memory_bytes - last.dirtied_bytes - guest.gone_bytes(bandwidth, last.sent_bytes)
    since = rounds[-2].start_bytes
    return guest.dirtied(bandwidth, since, last.start_bytes + last.sent_bytes) - last.dirtied_bytes


def smallest_bandwidth(guest: Guest, downtime_ns: int) -> int | None:
    """Return the smallest bandwidth of three digits that converges, from 1 Mbit/s to 1 Tbit/s, bits per second; None if none does.

    It is found by bisection, as if more bandwidth were never worse.
    """
    low, high = 0, 900 * (len(str(FASTEST)) - 1 - SLOWEST_EXPONENT)
    if not migrate(guest, FASTEST, downtime_ns).converges:
        return None
    while low < high:
        middle = (low + high) // 2
        if migrate(guest, _three_digits(middle), downtime_ns).converges:
            high = middle
        else:
            low = middle + 1
    return _three_digits(low)


def _three_digits(number: int) -> int:
    """Return the bandwidth of three digits that has a number, counted on from 1 Mbit/s, bits per second."""
    return int((100 + number % 900) * 10 ** (number // 900 + SLOWEST_EXPONENT - 2))
