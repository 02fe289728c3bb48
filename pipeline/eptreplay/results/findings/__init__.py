"""From interval statistics to the rows of the tables in tables/analysis.py; docs/analysis.md has the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.model.statistics.intervals import PAGES_TOUCHED, PAGES_WRITTEN, REGIONS_WRITTEN
from eptreplay.results.findings.dirty import dirty, dirty_rate, writers
from eptreplay.results.findings.heatmap import heatmap
from eptreplay.results.findings.histories import history
from eptreplay.results.findings.idle_age import idle_age
from eptreplay.results.findings.migrations import migrations
from eptreplay.results.findings.miss_ratio import miss_ratio
from eptreplay.results.findings.times import Times
from eptreplay.results.findings.working_set import returns, working_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.request.link import Link
    from eptreplay.results.columns import Columns


def findings(result: GuestResult, profiles: Sequence[str], link: Link) -> dict[str, Columns]:
    """Return the rows of every table of analysis, as columns by table name.

    Args:
        result: what the replay found.
        profiles: names of the profiles, in the order of the replay.
        link: what migrations are estimated with.
    """
    times = Times(result)
    pages_touched = history(result, PAGES_TOUCHED)
    pages_written = history(result, PAGES_WRITTEN)
    regions_written = history(result, REGIONS_WRITTEN)
    verdicts, rounds = migrations(result, pages_written, regions_written, times, link)
    return {
        "heatmap": heatmap(result),
        "dirty": dirty(result, profiles),
        "writers": writers(result, times),
        "dirty_rate": dirty_rate(result, times),
        "migrations": verdicts,
        "migration_rounds": rounds,
        "working_set": working_set(result, pages_touched, pages_written, times),
        "returns": returns(
            result, {"touched": pages_touched, "written": pages_written, "regions": regions_written}
        ),
        "idle_age": idle_age(result, times),
        "miss_ratio": miss_ratio(result, pages_touched),
    }
