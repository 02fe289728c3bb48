"""What a run wrote lasts through a loss of power, also where that is a great many files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from eptreplay.run import written

ALL = {"run", "run/a", "run/deep", "run/deep/b"}


def synced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Synchronise a small tree and return what was, one by one."""
    (folder / "run/deep").mkdir(parents=True)
    (folder / "run/a").write_text("a")
    (folder / "run/deep/b").write_text("b")
    found: list[str] = []

    def fsync(file: int) -> None:
        found.append(os.path.relpath(Path(f"/proc/self/fd/{file}").readlink(), folder))

    monkeypatch.setattr(os, "fsync", fsync)
    written.sync_all(folder / "run")
    return found


def test_few_files_are_synchronised_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "sync_file_system", lambda _: pytest.fail("not for so few"))
    assert set(synced(tmp_path, monkeypatch)) == ALL


@pytest.mark.parametrize("can", [True, False])
def test_many_files_are_left_to_the_file_system_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can: bool
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(written, "FEW", 3)

    def sync_file_system(folder: Path) -> bool:
        asked.append(folder)
        return can

    monkeypatch.setattr(written, "sync_file_system", sync_file_system)
    assert set(synced(tmp_path, monkeypatch)) == (set() if can else ALL)
    assert asked == [tmp_path / "run"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can")
def test_the_file_system_of_a_folder_can_be_synchronised(tmp_path: Path) -> None:
    assert written.sync_file_system(tmp_path)


def test_a_system_that_cannot_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    assert not written.sync_file_system(tmp_path)
