"""Columns as other writers leave them: the same rows come out, or a sentence says why not."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.ingest.conftest import METADATA

from eptreplay.errors import TraceError
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.native.rows import BadRows
from eptreplay.ingest.sources.dataset import find_traces, open_trace
from eptreplay.ingest.taking.source import Taking

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ingest.conftest import MakeTrace

    from eptreplay.ingest.native.reader import Batch
    from eptreplay.ingest.trace.guest_trace import GuestTrace

TIME = [0, 5, 5, 1 << 40, 1 << 41]
VCPU = [0, 1, 1, 0, 1]
GPA = [0, 4096, (1 << 47) - 8, 1 << 31, 1 << 33]
OP = [0, 1, 2, 1, 0]
EXACT = {
    "time": pa.array(TIME, pa.uint64()),
    "vcpu": pa.array(VCPU, pa.uint8()),
    "gpa": pa.array(GPA, pa.uint64()),
    "op": pa.array(OP, pa.uint8()),
}


def write(path: Path, columns: dict[str, pa.Array], **options: Any) -> Path:  # noqa: ANN401 - options of any type
    metadata = {key: text for key, text in METADATA.items() if key != "time_unit"}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path, **options)
    return path


def rows(trace: GuestTrace) -> dict[str, list[int]]:
    batches: list[Batch] = list(read_batches(trace, vcpu=True))
    vcpus = [
        batch.vcpu
        if batch.vcpu is not None
        else np.full(batch.rows, trace.row_groups[batch.row_group].vcpu_constant)
        for batch in batches
    ]
    found = {"vcpu": np.concatenate(vcpus).tolist()}
    for name in ("time", "gpa", "op"):
        found[name] = np.concatenate([getattr(batch, name) for batch in batches]).tolist()
    return found


EXPECTED = {"time": TIME, "vcpu": VCPU, "gpa": GPA, "op": OP}

SAME: dict[str, dict[str, pa.Array]] = {
    "int64": {name: array.cast(pa.int64()) for name, array in EXACT.items()},
    "narrow signed": {"vcpu": pa.array(VCPU, pa.int8()), "op": pa.array(OP, pa.int16())},
    "int32": {"vcpu": pa.array(VCPU, pa.int32()), "op": pa.array(OP, pa.int32())},
    "wide unsigned": {"vcpu": pa.array(VCPU, pa.uint64()), "op": pa.array(OP, pa.uint32())},
    "timestamp": {"time": pa.array(TIME, pa.timestamp("ns"))},
    "timestamp of a zone": {"time": pa.array(TIME, pa.timestamp("ns", "Europe/Berlin"))},
    "duration": {"time": pa.array(TIME, pa.duration("ns"))},
    "decimal": {
        "time": EXACT["time"].cast(pa.int64()).cast(pa.decimal128(20, 0)),
        "gpa": EXACT["gpa"].cast(pa.int64()).cast(pa.decimal256(22, 2)),
        "op": pa.array([Decimal(code) for code in OP], pa.decimal128(3, 0)),
    },
    "whole floats": {"time": pa.array(TIME, pa.float64()), "gpa": pa.array(GPA, pa.float64())},
    "small floats": {"vcpu": pa.array(VCPU, pa.float32()), "op": pa.array(np.array(OP, np.float16))},
    "hexadecimal": {"gpa": pa.array([f"0x{gpa:X}" for gpa in GPA])},
    "decimal digits": {
        "time": pa.array([f" {time} " for time in TIME]),
        "vcpu": pa.array([str(vcpu) for vcpu in VCPU]),
    },
    "both digits": {"gpa": pa.array(["0", "0x1000", hex(GPA[2]), str(GPA[3]), hex(GPA[4])])},
    "words": {"op": pa.array(["read", "Write", " FETCH ", "store", "load"])},
    "letters": {"op": pa.array(["R", "W", "X", "w", "r"])},
    "bytes": {"op": pa.array([b"R", b"W", b"I", b"S", b"L"], pa.binary())},
    "large text": {"op": pa.array(["0", "1", "2", "1", "0"], pa.large_string())},
    "an enum": {"op": pa.array(["R", "W", "F", "W", "R"]).dictionary_encode()},
    "views": {"op": pa.array(["R", "W", "F", "W", "R"], pa.string_view())},
    "digits in a dictionary": {"gpa": pa.array([hex(gpa) for gpa in GPA]).dictionary_encode()},
}


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("version", ["1.0", "2.6"])
@pytest.mark.parametrize("name", SAME)
def test_the_same_rows_come_out_of_other_types(
    tmp_path: Path, name: str, version: str, statistics: bool
) -> None:
    if version == "1.0" and name.startswith("timestamp"):
        pytest.skip("format 1.0 has no nanoseconds")
    path = write(
        tmp_path / "t.parquet", {**EXACT, **SAME[name]}, version=version, write_statistics=statistics
    )
    trace = open_trace(path)
    assert rows(trace) == EXPECTED
    assert (trace.first_time, trace.last_time, trace.time_unit) == (TIME[0], TIME[-1], "ns")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("kind", [pa.timestamp, pa.duration])
def test_the_unit_of_times_is_that_of_their_type(tmp_path: Path, unit: str, kind: Any) -> None:  # noqa: ANN401
    path = write(tmp_path / "t.parquet", {**EXACT, "time": pa.array([1, 2, 3, 4, 5], kind(unit))})
    trace = open_trace(path)
    # Parquet has no timestamps in seconds: the writer makes milliseconds of them.
    stored, scale = ("ms", 1000) if (unit, kind) == ("s", pa.timestamp) else (unit, 1)
    assert (trace.time_unit, trace.first_time, trace.last_time) == (stored, scale, 5 * scale)
    assert rows(trace)["time"] == [scale * time for time in (1, 2, 3, 4, 5)]


def test_a_timestamp_in_the_old_96_bits_is_one(tmp_path: Path) -> None:
    columns = {**EXACT, "time": pa.array(TIME, pa.timestamp("ns"))}
    path = write(tmp_path / "t.parquet", columns, use_deprecated_int96_timestamps=True)
    assert rows(open_trace(path)) == EXPECTED


def test_a_unit_that_contradicts_the_type_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", {**EXACT, "time": pa.array(TIME, pa.timestamp("ns"))})
    (tmp_path / "guest.toml").write_text('time_unit = "us"\n')
    with pytest.raises(TraceError, match=r"'time_unit' is us, but the times of .* are in ns"):
        open_trace(path)


def test_a_count_that_format_1_widens_is_taken(tmp_path: Path) -> None:
    columns = {**EXACT, "count": pa.array([1, 2, 3, 4, (1 << 32) - 1], pa.uint32())}
    path = write(tmp_path / "t.parquet", columns, version="1.0")
    assert pq.read_schema(path).field("count").type == pa.int64()
    counts = np.concatenate(
        [batch.count for batch in read_batches(open_trace(path)) if batch.count is not None]
    )
    assert counts.tolist() == [1, 2, 3, 4, (1 << 32) - 1]


def test_is_write_is_a_kind_of_access(tmp_path: Path) -> None:
    for values in (
        pa.array([code == 1 for code in OP]),
        pa.array([int(code == 1) for code in OP], pa.int64()),
    ):
        columns = {name: array for name, array in EXACT.items() if name != "op"}
        trace = open_trace(write(tmp_path / "t.parquet", {**columns, "is_write": values}))
        assert rows(trace)["op"] == [0, 1, 0, 1, 0]
        assert any("is_write" in sentence for sentence in trace.taken)


def test_other_names_are_taken_where_they_can_mean_nothing_else(tmp_path: Path) -> None:
    columns = {"time_us": EXACT["time"], "cpu": EXACT["vcpu"], "PADDR": EXACT["gpa"], "Op": EXACT["op"]}
    trace = open_trace(write(tmp_path / "t.parquet", columns))
    assert rows(trace) == EXPECTED
    assert trace.time_unit == "us"
    assert "'PADDR' is gpa" in trace.taken


def test_names_that_may_mean_something_else_are_refused_with_a_command(tmp_path: Path) -> None:
    columns = {"time": EXACT["time"], "vcpu": EXACT["vcpu"], "address": EXACT["gpa"], "op": EXACT["op"]}
    path = write(tmp_path / "t.parquet", columns)
    with pytest.raises(
        TraceError, match=r"column 'gpa': this column is missing .*eptreplay pack .* --column gpa=NAME"
    ):
        open_trace(path)
    (trace,) = find_traces([str(path)], taking=Taking({"gpa": "address"}))
    assert rows(trace) == EXPECTED
    both = {**columns, "address": EXACT["gpa"], "paddr": EXACT["gpa"], "phys_addr": EXACT["gpa"]}
    with pytest.raises(TraceError, match="column 'gpa': this column is missing"):
        open_trace(write(tmp_path / "both.parquet", both))


def test_hexadecimal_without_a_prefix_needs_to_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", {**EXACT, "gpa": pa.array([f"{gpa:x}" for gpa in GPA])})
    with pytest.raises(TraceError, match=r"row 2, column 'gpa': '7ffffffffff8' is no number"):
        list(read_batches(open_trace(path)))
    (trace,) = find_traces([str(path)], taking=Taking(hexadecimal=True))
    assert rows(trace) == EXPECTED


UNFIT: dict[str, tuple[str, pa.Array, str]] = {
    "negative": (
        "gpa",
        pa.array([1, -4096, 2, 3, -1], pa.int64()),
        "row 1, column 'gpa': the value is -4096",
    ),
    "narrow negative": ("op", pa.array([0, 0, -1, 0, 0], pa.int8()), "row 2, column 'op': the value is -1"),
    "too large": (
        "vcpu",
        pa.array([0, 0, 0, 1 << 16, 0], pa.int32()),
        "row 3, column 'vcpu': the value is 65536",
    ),
    "fraction": ("time", pa.array([0, 0.5, 1, 2, 3]), "row 1, column 'time': the value is 0.5"),
    "inexact": ("time", pa.array([0, 1, 2, 3, 2.0**53]), "floats from 9,007,199,254,740,992 on"),
    "infinite": ("time", pa.array([0, 1, 2, 3, np.inf]), "the value is inf"),
    "decimal": (
        "gpa",
        pa.array([Decimal("1.00"), Decimal("1.50")] * 2 + [Decimal(0)], pa.decimal128(9, 2)),
        "1.50",
    ),
    "word": ("op", pa.array(["R", "W", "M", "R", "R"]), "row 2, column 'op': 'M' is no kind of access"),
    "number": ("gpa", pa.array(["1", "2", "3", "x", "5"]), "row 3, column 'gpa': 'x' is no number"),
    "wide number": (
        "vcpu",
        pa.array(["1", "0x10000", "1", "1", "1"]),
        "row 1, column 'vcpu': '0x10000' is no number",
    ),
    "early": (
        "time",
        pa.array([-1, 0, 1, 2, 3], pa.timestamp("us")),
        "row 0, column 'time': the value is -1",
    ),
}


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("name", UNFIT)
def test_values_that_do_not_fit_are_named_or_counted(tmp_path: Path, name: str, statistics: bool) -> None:
    column, values, says = UNFIT[name]
    path = write(tmp_path / "t.parquet", {**EXACT, column: values}, write_statistics=statistics)
    with pytest.raises(TraceError) as caught:
        list(read_batches(open_trace(path), vcpu=True))
    assert says in str(caught.value)
    bad = BadRows()
    kept = sum(batch.rows for batch in read_batches(open_trace(path), on_bad_rows="skip", bad_rows=bad))
    assert bad.counts["unfit"] >= 1
    assert kept + bad.total == 5


def test_nulls_are_nulls_in_every_type(tmp_path: Path) -> None:
    nothing: dict[str, pa.Array] = {
        "gpa": pa.array([1.0, np.nan, 2.0, 3.0, 4.0]),
        "op": pa.array(["R", None, "W", "R", "R"]),
        "vcpu": pa.array([0, None, 0, 0, 0], pa.int64()),
        "time": pa.array([0, None, 1, 2, 3], pa.timestamp("us")),
    }
    for column, values in nothing.items():
        path = write(tmp_path / "t.parquet", {**EXACT, column: values})
        with pytest.raises(TraceError, match=f"row 1, column '{column}': the value is null"):
            list(read_batches(open_trace(path), vcpu=True))


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1], [2], [3], [4], [5]]),
        pa.array([{"a": 1}] * 5),
        pa.array([True, False, True, False, True]),
        pa.array([1, 2, 3, 4, 5], pa.date32()),
        pa.nulls(5),
    ],
)
def test_types_that_nothing_converts_are_refused(tmp_path: Path, values: pa.Array) -> None:
    with pytest.raises(TraceError, match=r"column 'vcpu': the type is .* expected uint8 or uint16"):
        open_trace(write(tmp_path / "t.parquet", {**EXACT, "vcpu": values}))


def test_guests_are_told_apart_without_statistics(tmp_path: Path) -> None:
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())):
        guests = pa.array(["a", "a", "b", "b", "b"])
        columns = {**EXACT, "guest": guests.cast(kind)}
        path = tmp_path / "t.parquet"
        table = pa.table(columns).replace_schema_metadata(METADATA)
        with pq.ParquetWriter(path, table.schema, write_statistics=False) as writer:
            writer.write_table(table.slice(0, 2))
            writer.write_table(table.slice(2, 3))
        assert [(trace.name, trace.rows) for trace in find_traces([str(path)])] == [("a", 2), ("b", 3)]
    with pytest.raises(TraceError, match="this row group has rows of 'a' to 'b'"):
        find_traces([str(write(path, columns, write_statistics=False))])


def test_an_exact_trace_takes_no_way_round(make_trace: MakeTrace) -> None:
    trace = open_trace(make_trace(rows=10))
    assert trace.taken == ()
    assert all(not group.sources for group in trace.row_groups)


def test_seconds_with_a_fraction_are_rounded_if_a_user_says_so(tmp_path: Path) -> None:
    seconds = [0.0, 0.000000001, 1.5, 86_400.123456789, 1_700_000_000.25]
    path = write(tmp_path / "t.parquet", {**EXACT, "time": pa.array(seconds)})
    with pytest.raises(TraceError, match="eptreplay pack IN -o OUT --float-seconds"):
        list(read_batches(open_trace(path)))
    (trace,) = find_traces([str(path)], taking=Taking(seconds=True))
    assert rows(trace)["time"] == [0, 1, 1_500_000_000, 86_400_123_456_789, 1_700_000_000_250_000_000]
    assert (trace.time_unit, trace.last_time) == ("ns", 1_700_000_000_250_000_000)
    bad = write(tmp_path / "u.parquet", {**EXACT, "time": pa.array([-0.5, 1, 2, 3, 1e10])})
    (trace,) = find_traces([str(bad)], taking=Taking(seconds=True))
    with pytest.raises(TraceError, match=r"the value is -0\.5 seconds"):
        list(read_batches(trace))


def test_a_page_index_of_signed_integers_is_held_against_the_rows(tmp_path: Path) -> None:
    columns = {name: array.cast(pa.int64()) for name, array in EXACT.items()}
    path = write(tmp_path / "t.parquet", columns, write_page_index=True)
    assert rows(open_trace(path)) == EXPECTED


def test_parts_with_times_in_different_units_are_no_trace(tmp_path: Path) -> None:
    (tmp_path / "guest=g").mkdir()
    for name, unit in (("a", "ns"), ("b", "us")):
        write(tmp_path / "guest=g" / f"{name}.parquet", {**EXACT, "time": pa.array(TIME, pa.timestamp(unit))})
    with pytest.raises(TraceError, match=r"b\.parquet, column 'time': its times are in us .* expected ns"):
        find_traces([str(tmp_path)])
