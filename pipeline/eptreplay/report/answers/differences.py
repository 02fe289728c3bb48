"""Differences of estimated costs, in words: what cannot be told apart is said to be so (rules: docs/reports.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eptreplay.report.costs.cost_terms import sum_of_differences
from eptreplay.report.costs.costs import Range
from eptreplay.report.read.numbers import change, points, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.report.answers.standing import Standing

NOT_APART: Final = "cannot be told apart"


def more(base: Standing, other: Standing) -> Range:
    """Return how much more time a profile costs than another, and the range of that."""
    pairs = list(zip(base.estimates, other.estimates, strict=True))
    difference = other.seconds - base.seconds
    return sum_of_differences(pairs) if pairs else Range(difference, difference, difference)


def equal(base: Standing, other: Standing) -> bool:
    """Return whether two profiles cost exactly the same."""
    found = more(base, other)
    return found.low == found.high == 0


def distinguishable(base: Standing, other: Standing) -> bool:
    """Return whether one profile costs more than the other by all assumptions: the range of the difference is without 0."""
    found = more(base, other)
    return found.low > 0 or found.high < 0


def difference_text(base: Standing, other: Standing) -> str:
    """Return the difference in words: points of run time, percent of CPU time where that is not known, or that there is none."""
    if equal(base, other):
        return ""
    if not distinguishable(base, other):
        return NOT_APART
    if base.share is not None and other.share is not None:
        return points(base.share, other.share)
    return change(base.seconds, other.seconds) or f"{seconds(other.seconds - base.seconds)} more"


def changes(found: Sequence[Standing]) -> list[str]:
    """Return for every profile the difference to the one that it is measured by."""
    return [difference_text(found[at.base], at) for at in found]


def range_of(base: Standing, other: Standing) -> str:
    """Return the difference in seconds with its range, each with a sign."""
    return more(base, other).as_text(lambda value: f"{'+' * (value > 0)}{seconds(value)}")
