from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from eptreplay.ingest.sources.manifest import verify, write_manifest

SAMPLES = Path(__file__).parents[2] / "traces"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.parquet", "b.parquet"):
        (tmp_path / name).write_bytes(name.encode())
    write_manifest(tmp_path)
    return tmp_path


def test_an_untouched_folder_has_no_problems(folder: Path) -> None:
    assert verify(folder) == []


def test_the_sample_traces_are_those_of_their_manifest() -> None:
    assert verify(SAMPLES) == []
    assert len(list(SAMPLES.glob("*.parquet"))) == 3


def test_sha256sum_reads_the_manifest(folder: Path) -> None:
    tool = shutil.which("sha256sum")
    if tool is None:
        pytest.skip("this system has no sha256sum")
    subprocess.run([tool, "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)


def test_a_changed_file_is_named_with_both_sums(folder: Path) -> None:
    (folder / "b.parquet").write_bytes(b"other")
    (problem,) = verify(folder)
    assert problem.startswith("b.parquet: its SHA-256 is d9298a10d1b07358")
    assert "the manifest says" in problem


def test_missing_and_unlisted_files_are_named(folder: Path) -> None:
    (folder / "a.parquet").rename(folder / "c.parquet")
    assert verify(folder) == [
        "c.parquet: not listed",
        "a.parquet: it cannot be read (No such file or directory)",
    ]


def test_lines_that_are_no_sums_are_named(folder: Path) -> None:
    manifest = folder / "SHA256SUMS"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([*lines, lines[0], "hello"]) + "\n")
    assert verify(folder) == ["a.parquet: listed twice", "SHA256SUMS, line 4: not of the form 'SHA256  NAME'"]


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    (problem,) = verify(tmp_path)
    assert problem.startswith("SHA256SUMS: it cannot be read")
