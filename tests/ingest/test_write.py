from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eptreplay.errors import OutputError
from eptreplay.ingest.native import write
from eptreplay.ingest.native.listed import line_of, list_file, unlist_file
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.native.write import TraceMetadata, columns_of, new_trace
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.ingest.sources.manifest import verify
from eptreplay.ingest.trace.guard import Guard
from eptreplay.ingest.trace.schema import Segment

if TYPE_CHECKING:
    from pathlib import Path

SEGMENTS = (Segment(0, 1 << 20, "ram"), Segment(1 << 20, 4096, "rom"))
METADATA = TraceMetadata(SEGMENTS, 2, "us", {"capture": "by hand"})
COLUMNS = columns_of("time", "vcpu", "gpa", "op")


def rows_from(first: int, rows: int) -> dict[str, Any]:
    number = np.arange(first, first + rows)
    return {
        "time": number,
        "vcpu": number % 2,
        "gpa": number * 64 % (1 << 20),
        "op": (number % 3).astype(np.uint8),
    }


def test_what_was_written_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "ROW_GROUP_ROWS", 1000)
    path = tmp_path / "t.parquet"
    with new_trace(path, COLUMNS, METADATA, overwrite=False) as trace:
        for first in range(0, 3500, 700):
            trace.write(rows_from(first, 700))
        assert trace.rows == 3500
        assert not path.exists()
    found = open_trace(path)
    assert [group.rows for group in found.row_groups] == [1000, 1000, 1000, 500]
    assert (found.segments, found.vcpus, found.time_unit) == (SEGMENTS, 2, "us")
    assert found.metadata["capture"] == "by hand"
    assert found.verified_by is Guard.MANIFEST
    table = pq.read_table(path)
    for name, values in rows_from(0, 3500).items():
        assert table[name].to_numpy().tolist() == values.tolist()
    assert not any(column.nullable for column in table.schema)
    assert sum(batch.rows for batch in read_batches(found)) == 3500


def test_metadata_may_come_last_but_has_to_come(tmp_path: Path) -> None:
    with new_trace(tmp_path / "t.parquet", COLUMNS, overwrite=False) as trace:
        trace.metadata = METADATA
    assert open_trace(tmp_path / "t.parquet").vcpus == 2
    with (
        pytest.raises(ValueError, match="never set"),
        new_trace(tmp_path / "u.parquet", COLUMNS, overwrite=False),
    ):
        pass


def test_text_that_is_no_unicode_is_written_as_question_marks(tmp_path: Path) -> None:
    metadata = TraceMetadata(SEGMENTS, 1, "ns", {"source": "a\udcff"})
    with new_trace(tmp_path / "t.parquet", COLUMNS, metadata, overwrite=False):
        pass
    assert open_trace(tmp_path / "t.parquet").metadata["source"] == "a?"


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"gpa": np.array([-1])}, "-1"),
        ({"vcpu": np.array([1 << 16])}, "65536"),
        ({"op": pa.array([None], pa.uint8())}, "nulls"),
        ({"size": np.array([1])}, "size"),
        ({"time": np.array([1, 2])}, "1"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, columns: dict[str, Any], says: str) -> None:
    with (
        pytest.raises(ValueError, match=says),
        new_trace(tmp_path / "t.parquet", COLUMNS, METADATA, overwrite=False) as trace,
    ):
        trace.write({**rows_from(0, 1), **columns})
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with new_trace(path, COLUMNS, METADATA, overwrite=False) as trace:
        trace.write(rows_from(0, 10))
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}

    def fail() -> None:
        with new_trace(path, COLUMNS, METADATA, overwrite=True) as trace:
            trace.write(rows_from(0, 99))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_an_error_of_the_input_is_not_said_to_be_of_the_output(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="not a gzip"),
        new_trace(tmp_path / "t.parquet", COLUMNS, METADATA, overwrite=False),
    ):
        raise OSError("not a gzip file")


def test_a_file_that_is_there_is_replaced_only_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="--overwrite"), new_trace(path, COLUMNS, METADATA, overwrite=False):
        pass
    assert path.read_bytes() == b"precious"
    with new_trace(path, COLUMNS, METADATA, overwrite=True):
        pass
    assert open_trace(path).rows == 0


def test_a_name_taken_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(OutputError, match="already"), new_trace(path, COLUMNS, METADATA, overwrite=False):
        path.write_bytes(b"precious")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"precious"]


def test_a_temporary_name_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / f".t.parquet.{os.getpid()}.0.tmp"
    theirs.symlink_to(tmp_path / "elsewhere")
    with new_trace(tmp_path / "t.parquet", COLUMNS, METADATA, overwrite=False):
        pass
    assert theirs.is_symlink()
    assert not (tmp_path / "elsewhere").exists()


def test_names_under_which_no_file_can_be_made_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "other")
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    cases: dict[str | Path, str] = {
        "-": "standard output",
        tmp_path: "is a folder",
        tmp_path / "link": "is a link",
        tmp_path / "pipe": "a pipe or a device",
        tmp_path / "none" / "t.parquet": "no folder",
        tmp_path / "file" / "t.parquet": "cannot be written",
        tmp_path / ("x" * 300): "cannot be written",
        tmp_path / "a\0b": "cannot be written",
    }
    for path, says in cases.items():
        with pytest.raises(OutputError, match=says), new_trace(path, COLUMNS, METADATA, overwrite=True):
            pass


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
        with (
            pytest.raises(OutputError, match=r"t\.parquet: it cannot be written \(File too large\)"),
            new_trace(tmp_path / "t.parquet", COLUMNS, METADATA, overwrite=False) as trace,
        ):
            trace.write(rows_from(0, 10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_keeps_the_lines_of_other_files(tmp_path: Path) -> None:
    manifest = tmp_path / "SHA256SUMS"
    others = f"{'0' * 64}  other.parquet\nnot a line\n{'1' * 64} *t.parquet.old\n"
    manifest.write_text(others + f"{'2' * 64} *t.parquet")  # as sha256sum --binary writes it, without an end
    with new_trace(tmp_path / "t.parquet", COLUMNS, METADATA, overwrite=False):
        pass
    assert manifest.read_text().startswith(others)
    assert len(manifest.read_text().splitlines()) == 4
    assert open_trace(tmp_path / "t.parquet").verified_by is Guard.MANIFEST


def test_sha256sum_reads_any_name(tmp_path: Path) -> None:
    names = ["plain", "two\nlines", "back\\slash", "é ü"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
        for _ in range(2):  # the second time it replaces its own line
            list_file(tmp_path / name, hashlib.sha256(name.encode()).hexdigest())
    assert len((tmp_path / "SHA256SUMS").read_bytes().splitlines()) == len(names)
    tool = shutil.which("sha256sum")
    if tool is None:
        pytest.skip("this system has no sha256sum")
    subprocess.run([tool, "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True, capture_output=True)
    unlist_file(tmp_path / "two\nlines")
    assert len((tmp_path / "SHA256SUMS").read_bytes().splitlines()) == len(names) - 1
    assert line_of("a", "0" * 64) == b"0" * 64 + b"  a\n"


def test_a_folder_of_written_traces_has_no_problems(tmp_path: Path) -> None:
    for name in "ab":
        with new_trace(tmp_path / f"{name}.parquet", COLUMNS, METADATA, overwrite=False) as trace:
            trace.write(rows_from(0, 5))
    assert verify(tmp_path) == []
