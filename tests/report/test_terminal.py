"""The essentials of a run in a terminal of any width."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from tests.report.runs import MadeGuest, analysis, write_run

from eptreplay.errors import UsageError
from eptreplay.report.costs.costs import Assumptions
from eptreplay.report.read.run import open_run
from eptreplay.report.terminal import print_summary, text_map
from eptreplay.safe_text import printable

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = ("haswell", "nehalem")


def full(name: str) -> MadeGuest:
    made = MadeGuest(name)
    analysis(made, PROFILES)
    return made


def printed(folder: Path, width: int = 80, names: tuple[str, ...] = ()) -> str:
    out = io.StringIO()
    print_summary(folder, names, Assumptions(), Console(file=out, width=width, highlight=False))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, width: int) -> None:
    write_run(tmp_path / "run", [full("a guest"), MadeGuest("b")])
    lines = printed(tmp_path / "run", width).splitlines()
    assert max(map(len, lines)) <= width


def test_the_four_questions_are_answered_for_every_guest(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [full("g")])
    text = printed(tmp_path / "run", 200)
    for question in (
        "What did this guest cost? 88 exits.",
        "What would another CPU change? under 0.01 points more from best to worst.",
        "What can be reclaimed? 14 MiB cold for 1 s.",
        "Can it migrate? yes, at 2.5 Gbit/s.",
    ):
        assert question in text


def test_the_map_says_what_a_character_is_worth(tmp_path: Path) -> None:
    (guest,) = open_run(write_run(tmp_path / "run", [full("g")])).guests()
    lines = text_map(guest, 60)
    assert "A character: 4 MiB of addresses, 1 s. Distinct pages in an interval:" in " ".join(lines)
    assert max(map(len, lines)) <= 60
    assert any(line.startswith(". 1   : 2 to") for line in lines)
    assert sum(" |" in line for line in lines) == 16


def test_a_character_is_the_sum_over_addresses_and_the_most_over_time(tmp_path: Path) -> None:
    made = MadeGuest("g", intervals=100)
    analysis(made, PROFILES)
    made.tables["heatmap"] = [
        {"interval": at, "gpa_start": page << 20, "bytes": 1 << 20, "pages_touched": 3}
        for at, page in ((0, 0), (1, 0), (1, 1))
    ] + [
        {"interval": 2, "gpa_start": at << 20, "bytes": 1 << 20, "pages_touched": 1} for at in range(4, 64, 4)
    ]
    (guest,) = open_run(write_run(tmp_path / "run", [made])).guests()
    lines = text_map(guest, 64)
    assert any("2 MiB of addresses, 0.16 s" in line for line in lines)
    (foot,) = (line for line in lines if line.lstrip().startswith("0 |"))
    assert foot.split("|")[1] == "@"
    assert any("@ 4 to 6" in line for line in lines)


def test_stretches_never_touched_are_one_line(tmp_path: Path) -> None:
    made = full("g")
    made.tables["heatmap"] = [row for row in made.tables["heatmap"] if row["gpa_start"] in (0, 63 << 20)]
    made.tables["heatmap"] += [{"interval": 0, "gpa_start": 0, "bytes": 1 << 20, "pages_touched": 5}]
    (guest,) = open_run(write_run(tmp_path / "run", [made])).guests()
    assert sum("~ never touched" in line for line in text_map(guest, 80)) >= 1


def test_only_the_costliest_are_told_of_unless_asked_for(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [MadeGuest(f"guest{number}") for number in range(5)])
    text = printed(tmp_path / "run")
    assert text.count("What did this guest cost?") == 3
    assert "2 more; --guest NAME tells of one of them." in text
    text = printed(tmp_path / "run", names=("guest4",))
    assert text.count("What did this guest cost?") == 1
    assert "guest4 -" in text


def test_an_unknown_guest_is_told_with_those_there_are(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [MadeGuest("web")])
    with pytest.raises(UsageError, match="no guest 'wbe'; the run has web"):
        printed(tmp_path / "run", names=("wbe",))


def test_a_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    name = "\x1b[2J[bold red]\x07\r\n"
    write_run(tmp_path / "run", [MadeGuest(name)])
    text = printed(tmp_path / "run")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert printable(name) in text
    assert "[bold red]" in text
