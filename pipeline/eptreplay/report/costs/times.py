"""What can be said of a guest's times: why there are none, and whether they can be true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.report.read.approximated import has_times
from eptreplay.report.read.numbers import seconds
from eptreplay.units import nanoseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.report.costs.cost_terms import Estimate
    from eptreplay.report.read.run import Guest


def why_untimed(guest: Guest) -> str:
    """Return why nothing can be said per second of a guest, and what helps; empty where something can."""
    row, unit = guest.any_summary, guest.about["time_unit"]
    first, last = row["first_time"], row["last_time"]
    if not row["rows"]:
        return "Its trace has no rows, and so no times."
    if first is None or last is None:
        return (
            "The run does not know when its trace begins and ends: times are missing there, or an older version replayed it; "
            "replay it again."
        )
    if nanoseconds(unit) is None:
        return _why_no_unit(guest, unit)
    if first == last:
        return (
            f"All of its rows have the same time ({first:,} {unit}): its clock is too coarse, or was not recorded; "
            "record it with a finer one."
        )
    if guest.bounds is None and guest.seconds is not None:
        return (
            f"Its clock advances by {last - first:,} {unit} in all, too little to cut the intervals of this run by time: "
            f"replay it with --intervals {last - first} or fewer."
        )
    return ""


def _why_no_unit(guest: Guest, unit: str) -> str:
    """Return why times are in no unit of time, and what helps."""
    if not has_times(guest.about):
        return "Times were not recorded: the number of an access stands for its time. Record it with times to see rates."
    return (
        f"Its trace counts {unit}, and nothing says how many make a second: say how many make a microsecond, with clock_mhz "
        "in the metadata or in guest.toml, or with --clock-mhz."
    )


def doubt(guest: Guest, estimates: Sequence[Estimate]) -> str:
    """Return that a guest's times cannot be true, and what is likely wrong; empty where they can."""
    impossible = [each for each in estimates if each.impossible]
    if not impossible:
        return ""
    most = max(impossible, key=lambda each: each.seconds().value)
    return (
        f"Its times cannot be right: {most.profile} alone would cost {seconds(most.seconds().value)}, and its vCPUs had "
        f"{seconds(most.vcpu_seconds or 0.0)}. Likely its time unit is wrong (it says {guest.about['time_unit']}; time_unit "
        f"in the metadata or in guest.toml sets it), or its rows are a sample, or filtered, and were stamped anew; or a cost was "
        "assumed far too high."
    )
