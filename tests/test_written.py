"""What a run wrote lasts through a loss of power, also where that is a great many files."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from eptreplay.errors import OutputError
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


def test_the_list_is_json_as_the_standard_library_indents_it(tmp_path: Path) -> None:
    one, other = written.Version(3, "0" * 64), written.Version(0, "f" * 64)
    listed = {'b "é\n': (one, other), "a/c": (one,)}
    written.write_list(tmp_path, listed)
    files = {name: [of._asdict() for of in listed[name]] for name in sorted(listed)}
    text = json.dumps({"files": files}, indent=1, ensure_ascii=False)
    assert (tmp_path / written.LIST_FILE).read_text(encoding="utf-8") == f"{text}\n"
    assert written.read_list(tmp_path) == listed


@pytest.mark.parametrize("size", [0, 1, written.SMALL, written.SMALL + 1])
def test_a_file_is_known_by_its_size_and_digest(tmp_path: Path, size: int) -> None:
    held = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    (tmp_path / "a").write_bytes(held)
    assert written.version(tmp_path / "a") == written.Version(size, hashlib.sha256(held).hexdigest())


@pytest.mark.parametrize(
    "name", ["", ".", "/a", "a/", "a//b", "./a", "a/..", "../a", "a/./b", written.LIST_FILE]
)
def test_a_list_names_no_path_that_leads_out(tmp_path: Path, name: str) -> None:
    files = {name: [{"bytes": 1, "sha256": "0" * 64}]}
    (tmp_path / written.LIST_FILE).write_text(json.dumps({"files": files}))
    with pytest.raises(OutputError, match="damaged"):
        written.read_list(tmp_path)
