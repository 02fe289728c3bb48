"""The commands `export` and `synth`: what they write, print and refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.command_line import eptreplay, small_trace

from eptreplay.ingest.synth.example import EXAMPLE

if TYPE_CHECKING:
    from pathlib import Path

SMALL = EXAMPLE.replace("4_000_000", "20_000")
DMA = 'rows = 1000\nmemory = "1MiB"\n[[phase]]\n[[phase.access]]\npattern = "uniform"\nby = "dma"\nwrite_share = 1\n'


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["oracleGeneral", "lcs"])
def test_there_and_back_every_row_is_kept(tmp_path: Path, name: str) -> None:
    small_trace(tmp_path / "a.parquet", time=28_000_000_000 + np.arange(3000, dtype=np.uint64) * 10**6)
    there = eptreplay("export", name, tmp_path / "a.parquet", "-o", tmp_path / "b.bin")
    assert there.code == 0, there.err
    assert "3,000 records" in there.out
    assert "not in it: times finer than a second" in there.out
    back = eptreplay("import", name, tmp_path / "b.bin", "-o", tmp_path / "c.parquet")
    assert back.code == 0, back.err
    a, c = pq.read_table(tmp_path / "a.parquet"), pq.read_table(tmp_path / "c.parquet")
    assert (a["gpa"].to_numpy() >> 12 == c["gpa"].to_numpy() >> 12).all()
    assert (a["time"].to_numpy() // 10**9 == c["time"].to_numpy()).all()
    assert name == "oracleGeneral" or ((a["op"].to_numpy() == 1) == (c["op"].to_numpy() == 1)).all()
    assert pq.read_metadata(tmp_path / "c.parquet").metadata[b"time_unit"] == b"s"


def test_an_export_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "a.parquet")
    before = names(tmp_path)
    for arguments, said in (
        (
            ("tarot", trace, "-o", tmp_path / "b"),
            "cannot be exported as 'tarot', but as csv, oracleGeneral, lcs",
        ),
        (("lcs", trace, "-o", trace), "the trace cannot be the output too"),
        (("lcs", tmp_path / "none.parquet", "-o", tmp_path / "b"), "none.parquet"),
        (("lcs", trace), "-o"),
    ):
        answer = eptreplay("export", *arguments)
        assert answer.code == 2
        assert said in answer.err
        assert "Traceback" not in answer.err
    assert names(tmp_path) == before
    (tmp_path / "b").write_text("mine")
    assert eptreplay("export", "lcs", trace, "-o", tmp_path / "b").code == 2
    assert (tmp_path / "b").read_text() == "mine"
    assert eptreplay("export", "lcs", trace, "-o", tmp_path / "b", "--overwrite").code == 0


def test_nothing_is_left_of_an_export_that_fails(tmp_path: Path) -> None:
    small_trace(tmp_path / "a.parquet", time=np.array([5, 4, *range(6, 3004)], np.uint64))
    before = names(tmp_path)
    answer = eptreplay("export", "oracleGeneral", tmp_path / "a.parquet", "-o", tmp_path / "b")
    assert answer.code == 2
    assert "time goes back" in answer.err
    assert names(tmp_path) == before


def test_a_guest_is_made_up_and_replayed(tmp_path: Path) -> None:
    printed = eptreplay("synth", "--print-example")
    assert printed.out == EXAMPLE
    (tmp_path / "guest.toml.txt").write_text(SMALL)
    made = eptreplay("synth", tmp_path / "guest.toml.txt", "-o", tmp_path / "t.parquet")
    assert made.code == 0, made.err
    assert "rows, 4 vCPUs, memory 512 MiB, seed 1" in made.out
    again = eptreplay("synth", tmp_path / "guest.toml.txt", "-o", tmp_path / "u.parquet")
    assert again.code == 0
    assert pq.read_table(tmp_path / "t.parquet").equals(pq.read_table(tmp_path / "u.parquet"))
    assert eptreplay("check", tmp_path / "t.parquet").code == 0


def test_what_makes_no_guest_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "made.toml"
    source.write_text(SMALL.replace("skew = 1.1", "skew = 11"))
    line = SMALL[: SMALL.index("skew = 1.1")].count("\n") + 1
    for arguments, said in (
        ((source, "-o", tmp_path / "t.parquet"), f"made.toml, line {line}: 'skew' is 11"),
        ((tmp_path / "none.toml", "-o", tmp_path / "t.parquet"), "cannot be read"),
        ((), "--print-example"),
        ((source,), "give a made-up guest and the trace to write"),
        ((source, "--print-example"), "give it alone"),
    ):
        answer = eptreplay("synth", *arguments)
        assert answer.code == 2
        assert said in answer.err
        assert "Traceback" not in answer.err
    assert names(tmp_path) == {"made.toml"}


def test_dma_needs_a_device(tmp_path: Path) -> None:
    (tmp_path / "made.toml").write_text(DMA)
    arguments = (tmp_path / "made.toml", "-o", tmp_path / "t.parquet")
    refused = eptreplay("synth", *arguments)
    assert refused.code == 2
    assert 'write there: passthrough = [{ name = "made-up" }]' in refused.err
    (tmp_path / "guest.toml").write_text('passthrough = [{ name = "made-up" }]\n')
    assert eptreplay("synth", *arguments).code == 0
    assert eptreplay("check", tmp_path / "t.parquet").code == 0
