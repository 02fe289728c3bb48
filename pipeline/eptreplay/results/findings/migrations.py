"""Rows of the tables `migrations` and `migration_rounds`: a verdict per bandwidth, and the rounds behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eptreplay.analysis.history import NOTHING_GONE, Repeated, RepeatedGone
from eptreplay.analysis.migration import Guest, Migration, migrate, smallest_bandwidth
from eptreplay.request.link import GBIT
from eptreplay.results.columns import columns_of
from eptreplay.results.findings.histories import MOST_INTERVALS
from eptreplay.tables.analysis import MIGRATION_ROUNDS, MIGRATIONS
from eptreplay.units import BLOCK_PAGES, PAGE_BYTES

if TYPE_CHECKING:
    from fractions import Fraction

    from eptreplay.analysis.history import Gone, History
    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.request.link import Link
    from eptreplay.results.columns import Columns
    from eptreplay.results.findings.times import Times

SUPERPAGE_BYTES = BLOCK_PAGES * PAGE_BYTES


def migrations(
    result: GuestResult, pages: History, regions: History, times: Times, link: Link
) -> tuple[Columns, Columns]:
    """Return migrations over every bandwidth at either granularity, and their rounds."""
    verdicts: list[dict[str, Any]] = []
    rounds: list[dict[str, Any]] = []
    gone = NOTHING_GONE if result.given_back is None else result.given_back.pages
    if times.span is not None:
        for page_bytes, history in ((PAGE_BYTES, pages), (SUPERPAGE_BYTES, regions)):
            guest = _guest(result, history, gone, times)
            smallest = smallest_bandwidth(guest, link.downtime_ns)
            for bandwidth in link.bandwidths:
                found = migrate(guest, bandwidth, link.downtime_ns)
                where = {"page_bytes": page_bytes, "gbit_per_second": bandwidth / GBIT}
                allowed = {
                    "downtime_target_s": link.downtime_ns / 1e9,
                    "smallest_gbit_per_second": None if smallest is None else smallest / GBIT,
                }
                verdicts.append(where | allowed | _verdict(found, times.span))
                rounds += [where | row for row in _rounds(found)]
    return columns_of(MIGRATIONS, result, verdicts), columns_of(MIGRATION_ROUNDS, result, rounds)


def _guest(result: GuestResult, history: History, gone: Gone, times: Times) -> Guest:
    """Return the guest to migrate, from the first interval of its trace to the last.

    Where intervals are joined, the last one counts as long as the others.  What was given back before the first access is
    not there at the beginning.
    """
    coarser = history.within(*times.life).coarser(MOST_INTERVALS)
    stretched = times.of_intervals(coarser.intervals * coarser.joined)
    assert stretched is not None  # noqa: S101 - the caller has checked that times are known
    pages = result.trace.ram_pages - (0 if result.given_back is None else result.given_back.initial)
    absent = RepeatedGone(gone.moved(times.life.begin).coarser(coarser.joined), coarser.intervals)
    return Guest(pages * PAGE_BYTES, Repeated(coarser), stretched, absent)


def _verdict(found: Migration, span: Fraction) -> dict[str, Any]:
    """Return what came of a migration, and of a second attempt if its last round were lost."""
    total = found.seconds(found.sent_bytes)
    verdict = "diverges"
    if found.converges:
        verdict = "converges" if total <= span else "repeats"
    return {
        "converges": found.converges,
        "verdict": verdict,
        "rounds": len(found.rounds),
        "total_s": total,
        "downtime_s": found.seconds(found.left_bytes),
        "sent_bytes": found.sent_bytes,
        "trace_lengths": total / float(span),
        "failed_round": len(found.rounds) - 1,
        "failed_bytes": found.rounds[-1].sent_bytes,
        "lost_bytes": found.lost_bytes,
        "retry_bytes": found.retry_bytes,
    }


def _rounds(found: Migration) -> list[dict[str, Any]]:
    """Return the rounds of a migration, the pause of one that converges among them."""
    steps = [(False, *done) for done in found.rounds]
    if found.converges:
        steps.append((True, found.sent_bytes - found.left_bytes, found.left_bytes, 0))
    return [
        {
            "round": number,
            "paused": paused,
            "start_s": found.seconds(start),
            "duration_s": found.seconds(sent),
            "sent_bytes": sent,
            "dirtied_bytes": dirtied,
        }
        for number, (paused, start, sent, dirtied) in enumerate(steps)
    ]
