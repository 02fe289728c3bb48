"""`report`, `compare` and `summary` from end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.command_line import eptreplay, small_trace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    trace = small_trace(folder / "web.parquet")
    for name, policy in (("plain", "plain"), ("aged", "age")):
        answer = eptreplay(
            "replay",
            trace,
            "-p",
            "nehalem",
            "-p",
            "zen2",
            "--policy",
            policy,
            *(("--every", "500") if policy == "age" else ()),
            "--out",
            folder / name,
        )
        assert answer.code == 0, answer.err
    return folder


def pages(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_a_report_is_rendered_again_to_the_same_bytes(runs: Path) -> None:
    before = pages(runs / "aged")
    answer = eptreplay("report", runs / "aged")
    assert (answer.code, answer.out) == (0, f"open {runs / 'aged' / 'index.html'}\n")
    assert pages(runs / "aged") == before


def test_assumptions_change_pages_and_of_the_tables_only_that_of_costs(runs: Path) -> None:
    before = pages(runs / "aged")
    assert (
        eptreplay("report", runs / "aged", "--assume", "ipi_cycles=99999", "--assume", "clock_mhz=3200").code
        == 0
    )
    after = pages(runs / "aged")
    assert b"99,999" in after["index.html"]
    changed = {name for name in before if after[name] != before[name]}
    assert {name.split("/")[0] for name in changed} == {"index.html", "guests", "tables", "files.json"}
    assert {name for name in changed if name.startswith("tables")} == {
        "tables/costs.csv",
        "tables/costs.parquet",
    }
    assert eptreplay("report", runs / "aged").code == 0
    assert pages(runs / "aged") == before


def test_a_wrong_assumption_is_told_and_changes_nothing(runs: Path) -> None:
    before = pages(runs / "aged")
    answer = eptreplay("report", runs / "aged", "--assume", "ipis=3")
    assert answer.code == 2
    assert "ipi_cycles" in answer.err
    assert pages(runs / "aged") == before


def test_two_runs_are_compared_on_the_same_pages(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "both"
    answer = eptreplay("compare", runs / "plain", runs / "aged", "--out", out)
    assert answer.code == 0, answer.err
    text = (out / "index.html").read_text(encoding="utf-8")
    assert "What differs between the runs?" in text
    assert "nehalem @ aged" in text
    before = pages(out)
    assert eptreplay("report", out).code == 0
    assert pages(out) == before
    again = eptreplay("compare", runs / "plain", runs / "aged", "--out", out)
    assert again.code == 2
    assert "--overwrite" in again.err
    assert eptreplay("compare", runs / "plain", runs / "aged", "--out", out, "--overwrite").code == 0
    assert pages(out) == before


def test_what_is_no_run_cannot_be_compared_and_leaves_nothing(runs: Path, tmp_path: Path) -> None:
    answer = eptreplay("compare", runs / "plain", tmp_path, "--out", tmp_path / "out")
    assert answer.code == 2
    assert "no run of eptreplay" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_summary_answers_in_the_terminal(runs: Path) -> None:
    answer = eptreplay("summary", runs / "aged")
    assert answer.code == 0
    for text in ("1 guest under 2 profiles", "What can be reclaimed?", "pages touched", "A character"):
        assert text in answer.out
    assert eptreplay("summary", runs / "aged", "--guest", "nobody").code == 2


def test_a_page_is_opened_where_a_browser_is(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def browser(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr("webbrowser.open", browser)
    assert eptreplay("report", runs / "aged", "--open").code == 0
    assert opened == [(runs / "aged/index.html").as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    answer = eptreplay("report", runs / "aged", "--open")
    assert answer.code == 0
    assert "no browser was found" in answer.err


@pytest.mark.parametrize(
    "command", ["", "replay", "conform", "check", "report", "compare", "summary", "bench", "profiles"]
)
def test_help_fits_a_narrow_terminal(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    answer = eptreplay(*filter(None, (command, "--help")))
    assert answer.code == 0
    listed = answer.out.partition("Commands:")[2].splitlines()
    assert not [line for line in listed if line.rstrip().endswith("...")]
    assert max(map(len, answer.out.splitlines())) <= 60


def test_a_missing_trace_is_reported_before_the_output_folder_is(runs: Path, tmp_path: Path) -> None:
    answer = eptreplay("replay", tmp_path / "none.parquet", "--out", runs / "plain")
    assert answer.code == 2
    assert "none.parquet: there is no such file" in answer.err
    assert "--out" not in answer.err


def test_runs_that_are_compared_are_never_replaced_by_the_comparison(runs: Path) -> None:
    before = pages(runs)
    for out in (runs / "plain", runs / "aged", runs):
        answer = eptreplay("compare", runs / "plain", runs / "aged", "--out", out, "--overwrite")
        assert answer.code == 2
        assert "which is read" in answer.err
    assert pages(runs) == before


def test_a_trace_in_the_folder_of_a_run_is_kept_and_named(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "web.parquet")
    out = tmp_path / "run"
    assert eptreplay("replay", trace, "-p", "x86", "--out", out).code == 0
    (out / "web.parquet").write_bytes(trace.read_bytes())
    before = pages(out)
    for given, word in ((trace, "(web.parquet)"), (out / "web.parquet", "which is read")):
        answer = eptreplay("replay", given, "-p", "x86", "--out", out, "--overwrite")
        assert answer.code == 2
        assert word in answer.err
    assert pages(out) == before


def test_a_run_without_pages_is_no_trace_either(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    trace = small_trace(tmp_path / "in/web.parquet")
    assert eptreplay("replay", trace, "-p", "x86", "--out", tmp_path / "in/run").code == 0
    (tmp_path / "in/run/index.html").unlink()
    answer = eptreplay("replay", tmp_path / "in", "-p", "x86", "--out", tmp_path / "again")
    assert (answer.code, answer.out.splitlines()[0]) == (
        0,
        f"1 guest replayed; tables in {tmp_path / 'again/tables'}",
    )
