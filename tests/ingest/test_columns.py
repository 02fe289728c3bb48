from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.native.columns import check_columns

GOOD = {"time": pa.uint64(), "vcpu": pa.uint16(), "gpa": pa.uint64(), "op": pa.uint8()}


def check(**types: pa.DataType | None) -> dict[str, str]:
    fields = {**GOOD, **types}
    schema = pa.schema([(name, kind) for name, kind in fields.items() if kind is not None])
    return check_columns(Path("t.parquet"), schema)


def test_known_columns_are_reported_with_their_types() -> None:
    assert check(size=pa.uint16()) == {
        "time": "uint64",
        "vcpu": "uint16",
        "gpa": "uint64",
        "op": "uint8",
        "size": "uint16",
    }


def test_other_columns_are_ignored() -> None:
    assert "note" not in check(note=pa.string())


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_column_is_named_with_the_types_it_may_have(name: str) -> None:
    with pytest.raises(TraceError, match=f"column '{name}': this column is missing .* expected uint"):
        check(**{name: None})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("time", pa.timestamp("ns")),
        ("vcpu", pa.int8()),
        ("gpa", pa.int64()),
        ("op", pa.string()),
        ("size", pa.uint32()),
        ("count", pa.uint64()),
        ("gpa", pa.struct([("x", pa.uint64())])),
    ],
)
def test_a_mistyped_column_is_named_with_the_types_it_may_have(name: str, kind: pa.DataType) -> None:
    with pytest.raises(
        TraceError, match=f"column '{name}': the type is .*; expected uint.*; cast the column"
    ):
        check(**{name: kind})


def test_vcpu_lists_both_accepted_types() -> None:
    with pytest.raises(TraceError, match="uint8 or uint16"):
        check(vcpu=pa.uint64())


def test_a_column_that_stands_twice_is_refused() -> None:
    schema = pa.schema([*GOOD.items(), ("gpa", pa.uint64())])
    with pytest.raises(TraceError, match="column 'gpa': this column stands 2 times"):
        check_columns(Path("t.parquet"), schema)
