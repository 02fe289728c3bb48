"""From the interval statistics of a replay to the rows of the tables in tables/analysis.py; docs/analysis.md has the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.model.statistics.intervals import PAGES_TOUCHED, PAGES_WRITTEN, REGIONS_WRITTEN
from eptreplay.results.findings import dirtied, migrations, touched
from eptreplay.results.findings.intervals import Times, history

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.request.link import Link
    from eptreplay.results.findings.intervals import Columns


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
    verdicts, rounds = migrations.estimates(result, pages_written, regions_written, times, link)
    return {
        "heatmap": touched.heatmap(result),
        "dirty": dirtied.dirty(result, profiles),
        "writers": dirtied.writers(result, times),
        "dirty_rate": dirtied.dirty_rate(result, times),
        "migrations": verdicts,
        "migration_rounds": rounds,
        "working_set": touched.working_set(result, pages_touched, pages_written, times),
        "returns": touched.returns(
            result, {"touched": pages_touched, "written": pages_written, "regions": regions_written}
        ),
        "idle_age": touched.idle_age(result, times),
        "miss_ratio": touched.miss_ratio(result, pages_touched),
    }
