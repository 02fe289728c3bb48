"""The answer about an upgrade: the same CPU under 10.0 and under a later release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.report.runs import MadeGuest, counters, write_run

from eptreplay.report.answers.answers import answers
from eptreplay.report.answers.standing import Standing, standings
from eptreplay.report.answers.upgrade import QUESTION, upgrades
from eptreplay.report.costs.costs import Assumptions
from eptreplay.report.pages.html import render
from eptreplay.report.read.run import open_run

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = ("haswell", "haswell@14.0")


def standing(profile: str) -> Standing:
    return Standing(profile, 0, 0, 0.0, None)


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["haswell", "haswell@14.0"], [(0, 1)]),
        (["haswell@14.0", "haswell@14-later", "haswell"], [(2, 0), (2, 1)]),
        (["haswell:ad=off", "haswell@14.0"], []),
        (["haswell:ad=off", "haswell@14.0:ad=off"], [(0, 1)]),
        (["haswell", "haswell@14.0:allow_2m_x_ept=0"], [(0, 1)]),
        (["haswell:ad=off", "haswell@14.0:ad=off,allow_2m_x_ept=0,fault_2m=off"], [(0, 1)]),
        (["haswell@14.0", "haswell@14-later"], []),
        (["haswell", "zen2"], []),
    ],
)
def test_a_later_release_is_measured_by_the_same_cpu_under_10_0(
    names: list[str], pairs: list[tuple[int, int]]
) -> None:
    assert [pair.numbers for pair in upgrades([standing(name) for name in names])] == pairs


def made_run(folder: Path, profiles: tuple[str, ...]) -> Path:
    made = MadeGuest("g")
    counters(made, profiles)
    for number, row in enumerate(made.tables["summary"]):
        row |= {
            "ipis": 100 * number,
            "dirty_calls": 7,
            "soft_fails": 20 * number,
            "soft_fail_reads": 12 * number,
        }
    return write_run(folder / "run", [made], profiles)


def test_the_card_has_the_numbers_of_both_and_the_reads_that_dirtied(tmp_path: Path) -> None:
    (guest,) = open_run(made_run(tmp_path, PROFILES)).guests()
    found = answers(guest, standings(guest, [{"name": name} for name in PROFILES], Assumptions()))
    (answer,) = (each for each in found if each.question == QUESTION)
    assert "From haswell under 10.0 to haswell@14.0" in answer.sentence
    assert "IPIs 0 -> 100" in answer.sentence
    assert "20 faults would have mapped 2 MB, but for the 2m_x rule" in answer.sentence
    assert "12 reads and fetches among them made their page dirty, too" in answer.sentence
    assert answer.anchor == "upgrade"


def test_an_upgrade_that_changes_nothing_is_said_to_change_nothing(tmp_path: Path) -> None:
    made = MadeGuest("g")
    counters(made, PROFILES)
    first = made.tables["summary"][0]
    for row in made.tables["summary"]:
        row |= {name: value for name, value in first.items() if name != "profile"}
    (guest,) = open_run(write_run(tmp_path / "run", [made], PROFILES)).guests()
    found = answers(guest, standings(guest, [{"name": name} for name in PROFILES], Assumptions()))
    (answer,) = (each for each in found if each.question == QUESTION)
    assert answer.figure == "nothing"


def test_pages_have_the_card_the_section_and_whose_page_daemon_it_is(tmp_path: Path) -> None:
    folder = made_run(tmp_path, PROFILES)
    about = (folder / "run.json").read_text()
    (folder / "run.json").write_text(
        about.replace('"name": "haswell@14.0"', '"release": "14.0", "name": "haswell@14.0"')
    )
    render(folder)
    (page,) = (folder / "guests").glob("*.html")
    text = page.read_text()
    assert QUESTION in text
    assert 'id="upgrade"' in text
    assert "The page daemon is that of 10.0 under every release" in text
    assert "a read makes the page dirty" in text
    index = (folder / "index.html").read_text()
    assert "Profiles without @ are of FreeBSD 10.0." in index
    assert "The page daemon is that of 10.0 under every release" in index


def test_a_run_of_one_release_says_nothing_of_an_upgrade(tmp_path: Path) -> None:
    folder = made_run(tmp_path, ("haswell", "nehalem"))
    render(folder)
    (page,) = (folder / "guests").glob("*.html")
    assert QUESTION not in page.read_text()
    assert 'id="upgrade"' not in page.read_text()
