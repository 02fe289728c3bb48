"""Lines fit the terminal where it is one, and are left alone where another program reads them."""

from __future__ import annotations

import pytest
from tests.command_line import eptreplay

OURS = (
    ("profiles", "list"),
    ("profiles", "show", "haswell"),
    ("profiles", "show", "zen2"),
    ("profiles", "from-msr", "0xf0106334141"),
)
HELP = (("--help",), ("replay", "--help"), ("compare", "--help"), ("profiles", "--help"))
CASES = [(command, columns) for columns in (60, 80, 200) for command in (*OURS, *HELP)] + [
    (command, 40) for command in OURS
]


@pytest.mark.parametrize(("command", "columns"), CASES)
def test_no_line_is_wider_than_the_terminal(
    command: tuple[str, ...], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    answer = eptreplay(*command)
    assert answer.code == 0, answer.err
    assert max(len(line) for line in answer.out.splitlines() if "http" not in line) <= columns


def test_a_narrow_list_of_profiles_tells_the_same_in_paragraphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    narrow = eptreplay("profiles", "list").out
    monkeypatch.setenv("COLUMNS", "300")
    wide = eptreplay("profiles", "list").out
    listed, note = wide.split("\n\n")
    names = [line.split()[0] for line in listed.splitlines()[1:]]
    paragraphs, narrow_note = narrow.split("\n\n")
    assert [line.split(":")[0] for line in paragraphs.splitlines() if not line.startswith(" ")] == names
    assert "A/D hardware" in paragraphs
    assert narrow_note.split() == note.split()


def test_what_another_program_reads_is_a_line_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = eptreplay("profiles", "list").out.split("\n\n")[0].splitlines()
    assert lines[0].startswith("profile ")
    assert len({len(line.split("  ")[0]) > 0 for line in lines}) == 1
    assert max(map(len, lines)) > 120
