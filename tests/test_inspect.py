"""The commands `inspect` and `check --json`: what is in a trace, and what every rule finds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from tests.command_line import eptreplay, small_trace

from eptreplay.ingest.inspecting import look
from eptreplay.ingest.inspecting.look import look_at
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.ingest.trace.schema import Op

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def described(*arguments: object) -> dict[str, Any]:
    answer = eptreplay(*arguments, "--json", "-")
    found: dict[str, Any] = json.loads(answer.out)
    return found


def test_a_small_trace_is_told_exactly(tmp_path: Path) -> None:
    counts = np.arange(1, 3001, dtype=np.uint32)
    source = small_trace(tmp_path / "a.parquet", count=counts, vcpu=(np.arange(3000) % 2).astype(np.uint8))
    (found,) = described("inspect", source)["traces"]
    assert found["exact"] is True
    assert (found["rows"], found["vcpus"], found["memory_bytes"]) == (3000, 2, 4 << 20)
    assert (found["first_time"], found["last_time"], found["time_unit"]) == (0, 29_990, "ns")
    assert found["bytes_per_row"] == source.stat().st_size / 3000
    rows = found["rows_looked_at"]
    assert [rows["reads"], rows["writes"], rows["fetches"]] == [
        int(counts[kind::3].sum()) for kind in range(3)
    ]
    assert (rows["pages"], rows["regions"], rows["vcpus"], rows["events"]) == (1024, 2, 2, 0)
    assert rows["pages_written"] == len({page % 1024 for page in range(1, 3000, 3)})
    text = eptreplay("inspect", source).out
    assert "sample" not in text
    assert "3,000 rows in 3 row groups of 1 file" in text


def test_a_large_trace_is_told_from_a_sample_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "SAMPLE_ROWS", 800)
    monkeypatch.setattr(look, "_PIECE_ROWS", 50)
    source = small_trace(tmp_path / "a.parquet", row_group_size=100)
    (found,) = described("inspect", source)["traces"]
    assert found["exact"] is False
    assert found["rows"] == 3000
    assert found["rows_looked_at"]["rows"] == 800
    text = eptreplay("inspect", source).out
    assert "in a sample of 800 of 3,000 rows; --exact reads all" in text
    assert "at least" in text
    (found,) = described("inspect", source, "--exact")["traces"]
    assert (found["exact"], found["rows_looked_at"]["pages"]) == (True, 1024)


def test_a_sample_reaches_from_the_first_row_group_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "SAMPLE_ROWS", 80)
    monkeypatch.setattr(look, "_PIECE_ROWS", 10)
    page = np.arange(3000, dtype=np.uint64)
    trace = open_trace(
        small_trace(tmp_path / "a.parquet", row_group_size=100, gpa=page * np.uint64(4096), memory=1 << 24)
    )
    found = look_at(trace, exact=False)
    assert found.rows == 80
    assert found.pages.tolist() == [
        first + row for first in (0, 400, 800, 1200, 1600, 2000, 2400, 2900) for row in range(10)
    ]


def test_what_is_outside_is_null_or_does_not_fit_is_counted(tmp_path: Path) -> None:
    gpa = pa.array([0, None, -4096, 8 << 20], pa.int64())
    op = np.array([0, 1, 1, 33], np.uint8)
    time = np.arange(4, dtype=np.uint64)
    source = small_trace(tmp_path / "a.parquet", rows=4, gpa=gpa, op=op, time=time)
    found = look_at(open_trace(source), exact=True)
    assert (found.rows, found.nulls_or_unfit, found.events, found.outside) == (4, 2, 1, 0)
    assert found.accesses == {Op.READ: 1, Op.WRITE: 0, Op.FETCH: 0}
    outside = small_trace(tmp_path / "b.parquet", gpa=np.full(3000, 8 << 20, np.uint64))
    assert look_at(open_trace(outside), exact=True).outside == 3000


def test_an_empty_trace_and_a_damaged_one_are_told(tmp_path: Path) -> None:
    columns: dict[str, Any] = {name: np.zeros(0, np.uint64) for name in ("time", "gpa")}
    empty = small_trace(
        tmp_path / "a.parquet", vcpu=np.zeros(0, np.uint8), op=np.zeros(0, np.uint8), **columns
    )
    answer = eptreplay("inspect", empty)
    assert (answer.code, answer.err) == (0, "")
    assert "0 rows" in answer.out
    damaged = small_trace(tmp_path / "b.parquet")
    data = bytearray(damaged.read_bytes())
    half = len(data) // 2
    data[4:half] = bytes(half - 4)
    damaged.write_bytes(data)
    answer = eptreplay("inspect", empty, damaged)
    assert answer.code == 2
    assert "b.parquet" in answer.err
    assert "0 rows" in answer.out


def test_what_was_approximated_and_where_it_comes_from_are_told(tmp_path: Path) -> None:
    source = small_trace(
        tmp_path / "a.parquet", gpa=np.uint64(0x7F00_0000_0000) + np.arange(3000, dtype=np.uint64)
    )
    assert eptreplay("pack", source, "-o", tmp_path / "b.parquet", "--dense").code == 0
    text = eptreplay("inspect", tmp_path / "b.parquet").out
    assert "approximated: pages are numbered in the order of first touch" in text
    assert "packed_from: a.parquet" in text
    assert "SHA256SUMS is beside it" in text
    assert "0x7f0000000000 are those of a process" in eptreplay("inspect", source).out


def test_check_exports_every_rule_with_its_count_and_first_offender(tmp_path: Path) -> None:
    op = np.zeros(3000, np.uint8)
    op[[5, 6, 2000]] = 7
    vcpu = np.zeros(3000, np.uint8)
    vcpu[[6, 9]] = 200
    source = small_trace(tmp_path / "a.parquet", op=op, vcpu=vcpu)
    for policy, code in (("fail", 2), ("skip", 1)):
        answer = eptreplay("check", source, "--on-bad-rows", policy, "--json", tmp_path / "check.json")
        assert answer.code == code
        assert "3 bad rows: unknown_op" in answer.out
        (found,) = json.loads((tmp_path / "check.json").read_text())["traces"]
        rules = {rule["rule"]: rule for rule in found["rules"]}
        names = ["null", "unfit", "unknown_op", "event", "gpa", "vcpu", "count", "size", "late", "time"]
        assert list(rules) == names
        counts = {name: rule["bad_rows"] for name, rule in rules.items()}
        assert counts == {**dict.fromkeys(names, 0), "unknown_op": 3, "vcpu": 1}
        assert "row 5, column 'op': op 7 is unknown" in rules["unknown_op"]["first"]
        assert rules["gpa"]["first"] is None
        assert "rules that every row keeps: null, unfit, event" in answer.out


def test_a_rate_for_a_trace_that_counts_no_cycles_is_refused(tmp_path: Path) -> None:
    answer = eptreplay("inspect", small_trace(tmp_path / "a.parquet"), "--clock-mhz", "100")
    assert answer.code == 2
    assert "--clock-mhz needs a trace that counts cycles" in answer.err


def test_json_on_standard_output_is_nothing_but_json(tmp_path: Path) -> None:
    source = small_trace(tmp_path / "a.parquet")
    assert described("check", source)["failed"] == []
    answer = eptreplay("check", source, "--json", tmp_path / "none" / "check.json")
    assert answer.code == 2
    assert "no folder" in answer.err
