"""From what a replay found to the rows of every result table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.results.faults import fault_intervals, faults
from eptreplay.results.findings import findings
from eptreplay.results.host_memory import host_memory, swap_activity
from eptreplay.results.invalidations import invalidations, ipis
from eptreplay.results.pages import pages
from eptreplay.results.summary import intervals, summary
from eptreplay.results.swap_candidates import cold_age, swap_candidates
from eptreplay.results.translations import translations
from eptreplay.results.wiring import passthrough, wiring
from eptreplay.tables.host import COLD_AGE, HOST_MEMORY, SWAP_ACTIVITY, SWAP_CANDIDATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.request.link import Link
    from eptreplay.results.columns import Columns


def tables(result: GuestResult, profiles: Sequence[str], link: Link) -> dict[str, Columns]:
    """Return the rows of every table for one guest, as columns by table name.

    Args:
        result: what the replay found.
        profiles: names of the profiles, in the order of the replay.
        link: what migrations are estimated with.
    """
    return {
        "summary": summary(result, profiles),
        "intervals": intervals(result, profiles),
        "faults": faults(result, profiles),
        "fault_intervals": fault_intervals(result, profiles),
        "pages": pages(result, profiles),
        "translations": translations(result, profiles),
        **findings(result, profiles, link),
        "invalidations": invalidations(result, profiles),
        "ipis": ipis(result, profiles),
        **_of_host(result, profiles),
        "wiring": wiring(result, profiles),
        "passthrough": passthrough(result, profiles),
    }


def _of_host(result: GuestResult, profiles: Sequence[str]) -> dict[str, Columns]:
    """Return the rows of the tables about the memory of a host; none if the guest was replayed without one."""
    if result.host is None:
        of_host = (HOST_MEMORY, SWAP_ACTIVITY, SWAP_CANDIDATES, COLD_AGE)
        return {table.name: {name: [] for name in table.names()} for table in of_host}
    return {
        "host_memory": host_memory(result, result.host, profiles),
        "swap_activity": swap_activity(result, result.host, profiles),
        "swap_candidates": swap_candidates(result, result.host, profiles),
        "cold_age": cold_age(result, result.host, profiles),
    }
