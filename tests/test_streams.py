"""Commands end as Unix tools do when what they say cannot be written: no traceback, and a code that says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.command_line import eptreplay, small_trace

FULL = Path("/dev/full")
COMMANDS = {
    "help": ("--help",),
    "help of replay": ("replay", "--help"),
    "version": ("--version",),
    "profiles list": ("profiles", "list"),
    "profiles show": ("profiles", "show", "haswell"),
    "profiles from-msr": ("profiles", "from-msr", "0xf0106334141"),
    "check": ("check", "guest.parquet"),
    "summary": ("summary", "run"),
    "report": ("report", "run"),
    "replay": ("replay", "guest.parquet", "-p", "ept-ad", "--out", "new", "--overwrite"),
    "compare": ("compare", "run", "run2", "--out", "compared", "--overwrite"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("streams")
    trace = small_trace(made / "guest.parquet")
    for run in ("run", "run2"):
        assert eptreplay("replay", trace, "-p", "ept-ad", "--out", made / run).code == 0
    return made


def ended(folder: Path, command: str, redirection: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell that redirects its output."""
    words = " ".join(["-m", "eptreplay", *COMMANDS[command]])
    return subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} {words} {redirection}"],
        cwd=folder,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_line_and_code_2(folder: Path, command: str) -> None:
    end = ended(folder, command, "> /dev/full")
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert line.startswith("eptreplay: standard output: No space left on device")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_went_away_is_no_matter(folder: Path, command: str) -> None:
    end = ended(folder, command, "2>err | true")
    assert (folder / "err").read_text() == ""
    assert end.stdout == ""


def test_the_code_then_is_that_of_a_broken_pipe(folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    end = subprocess.run(
        [sys.executable, "-m", "eptreplay", *COMMANDS["summary"]],
        cwd=folder,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (end.returncode, end.stderr) == (141, b"")


@pytest.mark.parametrize("command", ["help", "summary", "profiles list"])
def test_a_closed_output_is_one_line_and_code_2(folder: Path, command: str) -> None:
    end = ended(folder, command, ">&-")
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert "Bad file descriptor" in line


def test_no_file_of_a_run_is_taken_for_a_closed_output(folder: Path) -> None:
    assert ended(folder, "replay", ">&- 2>&-").returncode == 2
    assert eptreplay("summary", folder / "new").code == 0


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_an_error_that_cannot_be_said_still_has_its_code(folder: Path, redirection: str) -> None:
    end = ended(folder, "check", f"nosuch.parquet {redirection}")
    assert end.returncode == 2
    assert "Traceback" not in end.stdout + end.stderr


def test_a_name_that_the_encoding_of_the_output_lacks_is_shown(tmp_path: Path) -> None:
    small_trace(tmp_path / "客户机.parquet")
    end = subprocess.run(
        [sys.executable, "-m", "eptreplay", "check", "客户机.parquet"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert end.returncode == 0, end.stderr
    assert end.stdout.startswith("\\u5ba2\\u6237\\u673a: 3,000 rows")
