"""Two runs on the pages of one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.report.runs import MadeGuest, analysis, write_run

from eptreplay.errors import UsageError
from eptreplay.report.compare import merge
from eptreplay.report.pages.html import render
from eptreplay.report.read.run import open_run
from eptreplay.tables.files import RUN_FILE, TABLES_FOLDER, TableWriter, read_run_file, read_table
from eptreplay.tables.schema import INTERVALS, SUMMARY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

PROFILES = ("haswell", "nehalem")


def run(
    folder: Path,
    names: Sequence[str],
    profiles: Sequence[str] = PROFILES,
    intervals: int = 8,
    seconds: float = 8,
) -> Path:
    guests = [MadeGuest(name, intervals, seconds) for name in names]
    for guest in guests:
        analysis(guest, profiles)
    return write_run(folder, guests, profiles)


def merged(tmp_path: Path, first: Path, second: Path) -> Path:
    (tmp_path / "both" / TABLES_FOLDER).mkdir(parents=True)
    merge(first, second, tmp_path / "both")
    return tmp_path / "both"


def test_namesakes_stand_beside_each_other_and_are_measured_by_the_first_run(tmp_path: Path) -> None:
    both = merged(
        tmp_path, run(tmp_path / "before", ["g"]), run(tmp_path / "after", ["g"], ("nehalem", "zen2"))
    )
    profiles = read_run_file(both)["profiles"]
    assert [(profile["name"], profile["base"]) for profile in profiles] == [
        ("haswell @ before", 0),
        ("nehalem @ before", 1),
        ("nehalem @ after", 1),
        ("zen2 @ after", 3),
    ]
    assert read_table(both, SUMMARY)["profile"].to_list() == [profile["name"] for profile in profiles]


def test_every_row_of_the_shared_guests_is_kept(tmp_path: Path) -> None:
    first, second = run(tmp_path / "before", ["b", "a"]), run(tmp_path / "after", ["a", "b", "c"])
    both = merged(tmp_path, first, second)
    frame = read_table(both, INTERVALS)
    assert frame["guest"].unique(maintain_order=True).to_list() == ["b", "a"]
    for folder, label in ((first, "before"), (second, "after")):
        one = read_table(folder, INTERVALS)
        for name in ("a", "b"):
            mine = one.filter((one["guest"] == name) & (one["profile"] == "nehalem")).drop("profile")
            theirs = frame.filter((frame["guest"] == name) & (frame["profile"] == f"nehalem @ {label}"))
            assert theirs.drop("profile").equals(mine)
    assert read_run_file(both)["failed"] == [{"guest": "c", "error": "only in after"}]


def test_tables_without_profiles_are_those_of_the_first_run_and_differences_are_told(tmp_path: Path) -> None:
    same = merged(tmp_path / "same", run(tmp_path / "x", ["g"]), run(tmp_path / "y", ["g"]))
    assert read_run_file(same)["compared"]["differ"] == []
    differ = merged(tmp_path / "differ", tmp_path / "x", run(tmp_path / "z", ["g"], intervals=9))
    assert "heatmap" in read_run_file(differ)["compared"]["differ"]
    render(differ)
    assert "(heatmap, writers" in (differ / "index.html").read_text(encoding="utf-8")


def test_runs_of_several_lengths_are_drawn_by_interval(tmp_path: Path) -> None:
    both = merged(tmp_path, run(tmp_path / "x", ["g"]), run(tmp_path / "y", ["g"], intervals=5, seconds=3))
    (guest,) = open_run(both).guests()
    assert guest.span.symbol == ""
    assert guest.intervals == 8


def test_the_pages_of_a_comparison_answer_what_differs(tmp_path: Path) -> None:
    both = merged(tmp_path, run(tmp_path / "before", ["g", "h"]), run(tmp_path / "after", ["g", "h"]))
    render(both)
    for page in [both / "index.html", *(both / "guests").iterdir()]:
        text = page.read_text(encoding="utf-8")
        assert "What differs between the runs?" in text
        assert "Every profile costs the same in both." in text
        assert "comparison of before (policy plain) with after (policy plain)" in text
        assert "ercentages compare a profile with its namesake in the other run." in text


def test_runs_with_folders_of_one_name_are_a_and_b(tmp_path: Path) -> None:
    both = merged(tmp_path, run(tmp_path / "1/run", ["g"]), run(tmp_path / "2/run", ["g"]))
    assert read_run_file(both)["profiles"][0]["name"] == "haswell @ A"


def test_runs_of_other_guests_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no guest in common"):
        merged(tmp_path, run(tmp_path / "x", ["g"]), run(tmp_path / "y", ["h"]))


GUARDS = ("", "page checksums", "SHA256SUMS")


@pytest.mark.parametrize("first", [*GUARDS, None])
@pytest.mark.parametrize("second", [*GUARDS, None])
def test_input_is_verified_as_the_weaker_of_both_runs_is(
    tmp_path: Path, first: str | None, second: str | None
) -> None:
    for name, guard in (("x", first), ("y", second)):
        path = run(tmp_path / name, ["g"]) / RUN_FILE
        about = json.loads(path.read_text(encoding="utf-8"))
        about["guests"][0].pop("verified_by", None)
        about["guests"][0] |= {} if guard is None else {"verified_by": guard}
        path.write_text(json.dumps(about), encoding="utf-8")
    (guest,) = read_run_file(merged(tmp_path, tmp_path / "x", tmp_path / "y"))["guests"]
    if "" in {first, second}:
        assert guest["verified_by"] == ""
    elif None in {first, second}:
        assert "verified_by" not in guest
    else:
        assert guest["verified_by"] == min(str(first), str(second), key=GUARDS.index)


def test_tables_are_read_guest_by_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(number) for number in range(40)]
    first, second = run(tmp_path / "x", names), run(tmp_path / "y", names[::-1])
    held: list[int] = []
    append = TableWriter.append

    def watched(writer: TableWriter, rows: pa.Table) -> None:
        held.append(len(set(rows["guest"].to_pylist())))
        append(writer, rows)

    monkeypatch.setattr(TableWriter, "append", watched)
    both = merged(tmp_path, first, second)
    assert max(held) == 1
    assert read_table(both, SUMMARY)["guest"].unique(maintain_order=True).to_list() == names


def test_a_comparison_can_be_compared_again(tmp_path: Path) -> None:
    both = merged(tmp_path / "first", run(tmp_path / "x", ["g"]), run(tmp_path / "y", ["g"]))
    again = merged(tmp_path / "second", both, tmp_path / "x")
    render(again)
    assert len(read_run_file(again)["profiles"]) == 6
