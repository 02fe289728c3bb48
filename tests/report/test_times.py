"""Why nothing is said per second, and whether times can be right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.report.runs import MadeGuest, write_run

from eptreplay.ingest.importing.format import Approximated
from eptreplay.report.answers.answers import answers
from eptreplay.report.answers.standing import standings
from eptreplay.report.costs.costs import Assumptions
from eptreplay.report.costs.times import why_untimed
from eptreplay.report.read.run import open_run
from eptreplay.report.read.verified import unverified

if TYPE_CHECKING:
    from pathlib import Path


def made(tmp_path: Path, about: dict[str, Any], intervals: dict[str, Any], **summary: object) -> Any:  # noqa: ANN401  a guest
    guest = MadeGuest("g")
    run = write_run(tmp_path / "run", [guest])
    (found,) = open_run(run).guests()
    found.about.update(about)
    for row in found.summary.values():
        row.update(summary)
    for name, frame in found._intervals.items():
        found._intervals[name] = frame.with_columns(**intervals)
    return found


@pytest.mark.parametrize(
    ("about", "intervals", "summary", "told"),
    [
        (
            {"time_unit": "cycles", "about": {"approximated": f"no vCPUs: x; {Approximated.NO_TIME}"}},
            {},
            {},
            "the number of an access stands for its time",
        ),
        ({"time_unit": "cycles"}, {}, {}, "counts cycles, and nothing says how many make a second"),
        (
            {"time_unit": "s"},
            {},
            {"first_time": 7, "last_time": 7},
            r"the same time \(7 s\): its clock is too coarse",
        ),
        (
            {"time_unit": "s"},
            {"start_time": None, "end_time": None},
            {"first_time": 0, "last_time": 3},
            "advances by 3 s in all, .* replay it with --intervals 3 or fewer",
        ),
        ({}, {}, {"rows": 0}, "has no rows"),
        ({}, {}, {"first_time": None}, "does not know when its trace begins and ends"),
    ],
)
def test_the_true_cause_is_named(
    tmp_path: Path, about: dict[str, Any], intervals: dict[str, Any], summary: dict[str, Any], told: str
) -> None:
    import re  # noqa: PLC0415  for one assertion

    import polars as pl  # noqa: PLC0415  likewise

    columns = {name: pl.lit(value, pl.Int64) for name, value in intervals.items()}
    guest = made(tmp_path, about, columns, **summary)
    assert re.search(told, why_untimed(guest))
    assert "has no times" not in why_untimed(guest)


def test_of_a_trace_with_times_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert not why_untimed(made(tmp_path, {}, {}))


def test_times_that_cannot_be_are_questioned_instead_of_told_as_a_share(tmp_path: Path) -> None:
    guest = made(tmp_path, {}, {}, last_time=50)
    profiles = [{"name": name, "costs": {}, "slug": name} for name in guest.profiles]
    found = standings(guest, profiles, Assumptions())
    assert [at.share for at in found] == [None, None]
    sentence = answers(guest, found)[0].sentence
    assert "Its times cannot be right" in sentence
    assert "time unit is wrong (it says ns;" in sentence
    assert "%" not in sentence


@pytest.mark.parametrize(
    ("guards", "told"),
    [
        ([""], "Unverified input: neither"),
        (["", "", "SHA256SUMS"], "Unverified input of 2 guests (g0 and g1)"),
        (["page checksums"], "verified by page checksums, which guard neither"),
        (["SHA256SUMS"], ""),
        ([None], ""),
    ],
)
def test_input_that_nothing_guards_is_called_unverified(guards: list[str | None], told: str) -> None:
    guests = [
        {"name": f"g{number}"} | ({} if guard is None else {"verified_by": guard})
        for number, guard in enumerate(guards)
    ]
    found = unverified(guests)
    assert told in found
    assert bool(told) == bool(found)
