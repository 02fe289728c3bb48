"""Values of the command line that no command can use: refused in one line, in words that say what would be right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.command_line import eptreplay, small_trace

if TYPE_CHECKING:
    from pathlib import Path

NO_NUMBERS = ("nan", "inf", "-inf", "x", "", "1e400", "-1")

EMPTY_PATHS = {
    "replay": ["replay", ""],
    "replay --out": ["replay", "{trace}", "--out", ""],
    "conform": ["conform", ""],
    "conform --traces": ["conform", "{trace}", "--traces", ""],
    "check": ["check", ""],
    "report": ["report", ""],
    "compare first": ["compare", "", "{trace}"],
    "compare second": ["compare", "{trace}", ""],
    "compare --out": ["compare", "{trace}", "{trace}", "--out", ""],
    "summary": ["summary", ""],
    "bench": ["bench", ""],
}


@pytest.mark.parametrize("words", EMPTY_PATHS.values(), ids=EMPTY_PATHS)
def test_an_empty_path_stands_for_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    trace = small_trace(tmp_path / "guest.parquet")
    answer = eptreplay(*(word.format(trace=trace) for word in words))
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "eptreplay: a path is empty; an unset shell variable?\n"
    assert not list((tmp_path / "empty").iterdir())


@pytest.mark.parametrize("words", EMPTY_PATHS.values(), ids=EMPTY_PATHS)
def test_a_url_is_no_path_and_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    trace = small_trace(tmp_path / "guest.parquet")
    given = [word.format(trace=trace) or "ftp://user:pa55word@host/x?sig=pa55word" for word in words]
    answer = eptreplay(*given)
    assert (answer.code, answer.out) == (2, "")
    assert "pa55word" not in answer.err
    assert list(tmp_path.iterdir()) == [trace]


@pytest.mark.parametrize("value", [*NO_NUMBERS, "0", "1001"])
def test_a_speed_that_no_link_has_is_refused(tmp_path: Path, value: str) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    answer = eptreplay("replay", trace, "--out", tmp_path / "run", f"--bandwidth={value}")
    assert (answer.code, answer.out) == (2, "")
    told = f"'{value}' is no speed of a link; give Gbit/s, from 0.001 to 1000, as in 2.5"
    assert answer.err == f"eptreplay: {told}\n"


@pytest.mark.parametrize("value", [*NO_NUMBERS, "1.01"])
def test_a_share_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    answer = eptreplay(
        "replay", trace, "--out", tmp_path / "run", "--host-memory", "8M", f"--fragmentation={value}"
    )
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"eptreplay: '{value}' is no share; give a number from 0 to 1, as in 0.25\n"


def test_a_trace_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "traces").mkdir()
    trace = small_trace(tmp_path / "traces/guest.parquet")
    answer = eptreplay("replay", trace.parent, trace, "--out", tmp_path / "run")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert f"{trace}: is named twice" in answer.err


def test_a_run_beside_its_trace_is_no_part_of_the_guest(tmp_path: Path) -> None:
    (tmp_path / "guest=g").mkdir()
    small_trace(tmp_path / "guest=g/0.parquet")
    for number in range(2):
        answer = eptreplay("replay", tmp_path, "-p", "x86", "--out", tmp_path / f"guest=g/run{number}")
        assert answer.code == 0, answer.err
        assert answer.out.startswith("1 guest replayed")
    tables = "tables/summary.parquet"
    assert (tmp_path / "guest=g/run0" / tables).read_bytes() == (
        tmp_path / "guest=g/run1" / tables
    ).read_bytes()
