from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.feather
import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.file import open_parquet, read_footer
from eptreplay.ingest.sources.dataset import open_trace

if TYPE_CHECKING:
    from tests.ingest.conftest import MakeTrace


def refuse(path: Path, message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        read_footer(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "this is an empty file; expected a Parquet file"),
        (b"PAR1", "cut short"),
        (gzip.compress(b"x" * 100, mtime=0), "gzip data"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 50, "zstd data"),
        (b"PK\x03\x04" + b"x" * 50, "zip archive"),
        (b"time,vcpu,gpa,op\n1,0,4096,0\n", "a CSV file that begins with 'time,vcpu,gpa,op'"),
        (b'{"time": 1}\n', "a JSON file"),
        (b"hello\n", "a text file that begins with 'hello'"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer"),
        (bytes(1000), "begins with zeros"),
        (b"\x7fELF\x02\x01\x01\x00" + bytes(range(128, 200)), "binary data that begins with 7f 45 4c 46"),
    ],
)
def test_what_is_no_parquet_file_is_named_for_what_it_is(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(content)
    refuse(path, message)


@pytest.mark.parametrize(
    "content", [b"time,op,gpa\n1,R,0x1000\n", b" L 1fff000640,8\n", gzip.compress(b"x", mtime=0)]
)
def test_the_command_that_makes_a_trace_of_another_tools_file_is_named(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "a log.csv"
    path.write_bytes(content)
    refuse(path, f"eptreplay import FORMAT '{path}' -o OUT.parquet")


def test_a_feather_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pyarrow.feather.write_feather(pa.table({"a": [1]}), path)
    refuse(path, "Arrow IPC")


def test_a_file_cut_short_is_named(make_trace: MakeTrace) -> None:
    path = make_trace(rows=1000)
    data = path.read_bytes()
    for length in (4, 11, 12, 500, len(data) - 1):
        path.write_bytes(data[:length])
        refuse(path, "cut short")


def test_a_footer_longer_than_the_file_is_refused(make_trace: MakeTrace) -> None:
    path = make_trace()
    data = path.read_bytes()
    path.write_bytes(data[:-8] + b"\xff\xff\xff\x7f" + b"PAR1")
    refuse(path, r"its footer is damaged \(it claims 2,147,483,647 bytes in a file of")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    refuse(tmp_path / "none.parquet", "there is no such file")


def test_a_folder_is_no_trace(tmp_path: Path) -> None:
    refuse(tmp_path, "this is a folder")


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    os.mkfifo(path)
    refuse(path, "a pipe or a device")


def test_a_file_that_may_not_be_read_is_named(make_trace: MakeTrace, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_trace()

    # Root may read everything, so the refusal is played.
    def refuse_open(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse_open)
    refuse(path, "no permission to read it; make it readable")


def test_a_path_that_cannot_be_is_named() -> None:
    with pytest.raises(TraceError, match="cannot be opened"):
        read_footer(Path("a\0b"))


def test_the_file_is_closed_again(make_trace: MakeTrace) -> None:
    path = make_trace(rows=7)
    with open_parquet(path, read_footer(path).digest) as file:
        assert file.parquet.metadata.num_rows == 7
    assert file.parquet.reader.closed


def test_a_file_that_is_not_the_one_that_was_checked_is_refused(make_trace: MakeTrace) -> None:
    path = make_trace(rows=100)
    digest = read_footer(path).digest
    make_trace(rows=101)
    with (
        pytest.raises(TraceError, match="the file has changed since it was opened"),
        open_parquet(path, digest),
    ):
        pass


@pytest.mark.parametrize("kind", [pl.Int128, pl.UInt128])
@pytest.mark.parametrize(
    ("columns", "named"),
    [
        (("gpa",), "t.parquet, column 'gpa': its type is not supported"),
        (("extra",), "t.parquet, column 'extra': its type is not supported"),
        (("time", "extra"), "one of the columns 'time', 'extra' has a type that is not supported"),
    ],
)
def test_a_column_of_an_unsupported_type_is_named(
    tmp_path: Path, columns: tuple[str, ...], named: str, kind: pl.DataType
) -> None:
    path = tmp_path / "t.parquet"
    frame = pl.DataFrame({"time": [1], "vcpu": [0], "gpa": [0], "op": [0], "extra": [0]})
    frame.with_columns(pl.col(columns).cast(kind)).write_parquet(path)
    with pytest.raises(TraceError, match=r"not supported \(Integers with more than 64 bits") as caught:
        open_trace(path)
    assert named in str(caught.value)
    assert "damaged" not in str(caught.value)
