"""Whatever names, metadata, columns and guest.toml hold, no command and no error writes it to a terminal as it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.command_line import Answer, eptreplay, small_trace
from tests.report.downloads import downloads

from eptreplay.cli.console import ProgressBar, say_all, say_table
from eptreplay.safe_text import columns_of, printable

if TYPE_CHECKING:
    from pathlib import Path

NASTY = "\x1b]0;owned\x07\x1b[31m\x9b2J\x7f\u202egpj\u2066\u200b\ufeff"
LINES = "a\nb\rc\u2028d\u2029"


def harmless(answer: Answer) -> None:
    """Check that all of an answer can be seen, line by line."""
    for text in (answer.out, answer.err):
        for line in text.split("\n"):
            assert line == printable(line), repr(line)


def one_line(answer: Answer) -> None:
    harmless(answer)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1, answer.err


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of two guests with nasty names, one of which is damaged and one of which has rows left out."""
    folder = tmp_path_factory.mktemp("hostile")
    op = np.zeros(3000, np.uint8)
    op[7] = 9
    small_trace(folder / f"{NASTY}{LINES}.parquet", op=op)
    (folder / f"bad{NASTY}.parquet").write_bytes(b"PAR1" + bytes(100))
    answer = eptreplay("replay", folder, "-p", "ept-ad", "--on-bad-rows", "skip", "--out", folder / "run")
    assert answer.code == 3
    assert "rows left out" in answer.err
    harmless(answer)
    return folder / "run"


def test_commands_that_show_a_run(run: Path, tmp_path: Path) -> None:
    for answer in (
        eptreplay("summary", run),
        eptreplay("report", run),
        eptreplay("compare", run, run, "--out", tmp_path / f"compare{NASTY}"),
        eptreplay("summary", run, "--guest", NASTY),
        eptreplay("check", run.parent / f"{NASTY}{LINES}.parquet", "--on-bad-rows", "skip"),
    ):
        harmless(answer)
        assert answer.out + answer.err


def test_a_run_from_somebody_else(run: Path, tmp_path: Path) -> None:
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    for profile in about["profiles"]:
        profile["title"] = profile["vendor"] = NASTY
    about["failed"] = [{"guest": NASTY, "error": LINES}]
    (run / "run.json").write_text(json.dumps(about), encoding="utf-8")
    harmless(eptreplay("summary", run))
    (tmp_path / NASTY).mkdir()
    (tmp_path / NASTY / "run.json").write_text("{" + NASTY)
    one_line(eptreplay("summary", tmp_path / NASTY))


def test_cells_of_a_run(run: Path) -> None:
    files = [*run.rglob("*.csv")]
    assert len(files) > 5
    for file in files:
        for line in file.read_bytes().decode().split("\n"):
            assert line == printable(line), file
    for page in (run / "guests").iterdir():
        for name, text in downloads(page).items():
            assert all(line == printable(line) for line in text.split("\n")), name


@pytest.mark.parametrize("text", [NASTY, LINES, f"={NASTY}"], ids=["escapes", "lines", "formula"])
def test_errors(tmp_path: Path, text: str) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    for arguments in (
        ("replay", tmp_path / text),
        ("check", tmp_path / text),
        ("conform", tmp_path / text),
        ("report", tmp_path / text),
        ("compare", tmp_path / text, tmp_path / text, "--out", tmp_path / "c"),
        ("bench", tmp_path / f"{text}.parquet"),
        ("profiles", "show", text),
        ("profiles", "from-msr", text),
        ("profiles", text),
        (text,),
        (f"--{text}",),
        ("replay", trace, f"--{text}"),
        ("replay", trace, "--policy", text),
        ("replay", trace, "-p", text),
        ("replay", trace, "-p", f"haswell:{text}=on"),
        ("replay", trace, "--policy", "age", "--every", text),
        ("replay", trace, "--host-memory", text),
        ("replay", trace, "--out", trace / text),
        ("report", tmp_path, "--assume", text),
    ):
        one_line(eptreplay(*arguments))


@pytest.mark.parametrize("key", ["memory_segments", "vcpus", "time_unit", "segments"])
@pytest.mark.parametrize("text", [NASTY, LINES], ids=["escapes", "lines"])
def test_metadata(tmp_path: Path, key: str, text: str) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    value = json.dumps([{"gpa": 0, "bytes": 1, "kind": text}]) if key == "segments" else text
    name = key.replace("segments", "memory_segments").replace("memory_memory", "memory")
    table = pq.read_table(trace)
    metadata = {**{k.decode(): v.decode() for k, v in table.schema.metadata.items()}, name: value}
    pq.write_table(table.replace_schema_metadata(metadata), trace)
    answer = eptreplay("check", trace)
    harmless(answer)
    assert answer.code == 2


@pytest.mark.parametrize("text", [NASTY, LINES], ids=["escapes", "lines"])
def test_columns(tmp_path: Path, text: str) -> None:
    columns: dict[str, Any] = {text: np.zeros(3000), "gpa": None}
    trace = small_trace(tmp_path / "guest.parquet", **columns)
    one_line(eptreplay("replay", trace, "--out", tmp_path / "run"))


@pytest.mark.parametrize("key", ["vcpus", "time_unit", "nonsense", "passthrough", "idle_gap"])
@pytest.mark.parametrize("text", [NASTY, LINES], ids=["escapes", "lines"])
def test_guest_toml(tmp_path: Path, key: str, text: str) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    (tmp_path / "guest.toml").write_text(f"{json.dumps(key)} = {json.dumps(text)}\n", encoding="utf-8")
    one_line(eptreplay("check", trace))
    (tmp_path / "guest.toml").write_text(text, encoding="utf-8")
    one_line(eptreplay("check", trace))


def test_titles_of_progress_bars() -> None:
    with ProgressBar(None, "rows", NASTY) as bar:
        bar.name(f"{NASTY}{LINES}")
        assert bar._bar.desc.rstrip(": ") == printable(f"{NASTY}{LINES}")


def test_a_table_of_wide_characters_is_straight(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    say_table(("name", "what"), [("客户机", "x"), ("ab", "x"), (NASTY, "x")])
    lines = capsys.readouterr().out.splitlines()
    assert len({columns_of(line[:-1]) for line in lines[1:]}) == 1
    assert len(lines) == 4


@pytest.mark.parametrize("columns", [20, 40])
def test_lines_of_wide_characters_fit_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    say_all([f"  {'客户机 虚拟' * 9}"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(columns_of, lines)) <= columns
    assert "".join("".join(lines).split()) == "客户机虚拟" * 9
