"""Every format: its example is imported as it was counted, and damage ends in one line and no output."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import polars as pl
import pytest
from tests.command_line import Answer, eptreplay
from tests.ingest.examples import EXAMPLES, sample

from eptreplay.ingest.importers.registry import FORMATS

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [each.name for each in FORMATS if not each.refused]
TEXTS = [name for name in NAMES if EXAMPLES[name].text]
BINARY = [name for name in NAMES if not EXAMPLES[name].text]
CHECKED = [name for name in NAMES if not EXAMPLES[name].any_bytes]


def imported(folder: Path, name: str, data: bytes, *options: str) -> Answer:
    source = folder / "in"
    source.write_bytes(data)
    return eptreplay("import", name, source, "-o", folder / "out.parquet", *options)


def rows(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "out.parquet")


def refused(folder: Path, answer: Answer) -> None:
    """Check that a command ended with one line on standard error, and left nothing."""
    assert answer.code == 2, answer
    lines = answer.err.splitlines()
    assert len(lines) == 1, answer.err
    assert lines[0].startswith("eptreplay: ")
    assert "Traceback" not in answer.err
    assert sorted(path.name for path in folder.iterdir()) == ["in"]


def garbage(size: int, seed: int = 5) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - nothing secret


def with_garbage(data: bytes) -> bytes:
    """Put garbage in place of a few bytes in the middle."""
    middle = len(data) // 2
    return data[:middle] + b"\x00\xff\x9d{garbage}\x80" + data[middle + 14 :]


def test_every_format_has_an_example() -> None:
    assert set(NAMES) == set(EXAMPLES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_imported_as_it_was_counted(tmp_path: Path, name: str) -> None:
    example = EXAMPLES[name]
    answer = imported(tmp_path, name, example.data, *example.options)
    assert answer.code == 0, answer.err
    if example.records >= 0:
        assert f": {example.records:,} records of {name}, {len(rows(tmp_path)):,} rows" in answer.out
    assert eptreplay("check", tmp_path / "out.parquet").code == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_format_is_told_from_content_where_that_is_safe(tmp_path: Path, name: str) -> None:
    example = EXAMPLES[name]
    answer = imported(tmp_path, "auto", example.data, *example.options)
    if example.guessed:
        assert answer.code == 0, answer.err
        assert f"is read as {name}:" in answer.err
    else:
        refused(tmp_path, answer)
        assert "name it" in answer.err


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_input_is_refused(tmp_path: Path, name: str) -> None:
    options = ("--columns", "gpa,op") if name == "text" else EXAMPLES[name].options
    refused(tmp_path, imported(tmp_path, name, b"", *options))


@pytest.mark.parametrize("name", NAMES)
def test_an_input_that_ends_within_a_record_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    example = EXAMPLES[name]
    answer = imported(tmp_path, name, example.data[: -example.cut], *example.options)
    refused(tmp_path, answer)
    assert "line " in answer.err or "byte " in answer.err


@pytest.mark.parametrize("name", CHECKED)
def test_garbage_in_the_middle_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    example = EXAMPLES[name]
    answer = imported(tmp_path, name, with_garbage(example.data), *example.options)
    refused(tmp_path, answer)
    assert "line " in answer.err or "byte " in answer.err


@pytest.mark.parametrize("name", TEXTS)
def test_bad_lines_are_left_out_and_counted_where_that_is_asked_for(tmp_path: Path, name: str) -> None:
    example = EXAMPLES[name]
    whole = imported(tmp_path, name, example.data, *example.options)
    assert whole.code == 0
    expected = rows(tmp_path)
    begin, _, end = example.data.partition(b"\n")
    data = begin + b"\n\x00\xff{garbage}\x80\n" + end
    options = (*example.options, "--on-bad-rows", "skip", "--overwrite")
    answer = imported(tmp_path, name, data, *options)
    assert answer.code == 0, answer.err
    said = " ".join(answer.out.split())  # a terminal's lines end anywhere
    assert "left out, bad: 1 " in said
    assert "line 2 ('\\x00\\xff{garbage}\\x80')" in said
    assert rows(tmp_path).equals(expected)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_text_in_another_byte_order_is_refused(tmp_path: Path, name: str, encoding: str) -> None:
    example = EXAMPLES[name]
    data = example.data.decode().encode(encoding)
    refused(tmp_path, imported(tmp_path, name, data, *example.options))


@pytest.mark.parametrize("name", [name for name in BINARY if not EXAMPLES[name].any_bytes])
def test_records_in_another_byte_order_are_refused(tmp_path: Path, name: str) -> None:
    example = EXAMPLES[name]
    words = example.data[: len(example.data) // 4 * 4]
    swapped = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    refused(tmp_path, imported(tmp_path, name, swapped, *example.options))


@pytest.mark.parametrize("name", TEXTS)
def test_lines_that_end_as_windows_ends_them_mean_the_same(tmp_path: Path, name: str) -> None:
    example = EXAMPLES[name]
    assert imported(tmp_path, name, example.data, *example.options).code == 0
    expected = rows(tmp_path)
    data = example.data.replace(b"\n", b"\r\n")
    answer = imported(tmp_path, name, data, *example.options, "--overwrite")
    assert answer.code == 0, answer.err
    assert rows(tmp_path).equals(expected)


@pytest.mark.parametrize("name", BINARY)
def test_a_binary_file_that_was_carried_as_text_is_refused(tmp_path: Path, name: str) -> None:
    example = EXAMPLES[name]
    data = example.data.decode("utf-8", "replace").encode()
    if data == example.data:
        data = example.data.replace(b"\n", b"\r\n").replace(b"\x00", b"")
    assert data != example.data
    answer = imported(tmp_path, name, data, *example.options)
    if len(data) % 8 or not example.any_bytes:
        refused(tmp_path, answer)


@pytest.mark.parametrize("name", TEXTS)
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, name: str) -> None:
    options = ("--columns", "gpa,op") if name == "text" else EXAMPLES[name].options
    refused(tmp_path, imported(tmp_path, name, garbage(5_000), *options))
    refused(tmp_path, imported(tmp_path, name, bytes(3_000_000), *options))


@pytest.mark.parametrize("other", NAMES)
@pytest.mark.parametrize("name", CHECKED)
def test_an_input_of_another_format_is_refused(tmp_path: Path, name: str, other: str) -> None:
    if name == other:
        return
    refused(tmp_path, imported(tmp_path, name, EXAMPLES[other].data, *EXAMPLES[name].options))


def test_a_histogram_is_refused_with_the_reason(tmp_path: Path) -> None:
    for name in ("qemu-hotpages", "auto"):
        answer = imported(tmp_path, name, sample("qemu-hotpages.txt"))
        refused(tmp_path, answer)
        assert "says nothing of when" in answer.err


def test_formats_are_listed() -> None:
    answer = eptreplay("import", "--list")
    assert answer.code == 0
    for each in FORMATS:
        assert each.name in answer.out


@pytest.mark.parametrize("seed", range(6))
def test_bytes_changed_at_random_end_in_a_trace_or_in_one_line(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - nothing secret
    for name in NAMES:
        data = bytearray(EXAMPLES[name].data)
        for _ in range(draw.randrange(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        skip = ("--on-bad-rows", "skip") if draw.random() < 0.5 else ()
        answer = imported(tmp_path, name, bytes(data), *EXAMPLES[name].options, *skip)
        if answer.code:
            refused(tmp_path, answer)
        else:
            assert eptreplay("check", tmp_path / "out.parquet").code == 0
            for path in tmp_path.iterdir():
                path.unlink()
