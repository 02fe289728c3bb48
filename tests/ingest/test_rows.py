from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.native.rows import BadRows, DisorderError, Limits, Place, check_rows, good_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLACE = Place("t.parquet", 3, 1000)
LIMITS = Limits(vcpus=2, last_time=10)
TYPES: dict[str, Any] = {
    "time": np.uint64,
    "vcpu": np.uint8,
    "gpa": np.uint64,
    "op": np.uint8,
    "size": np.uint16,
    "count": np.uint32,
}
GOOD: dict[str, list[int]] = {
    "time": [10, 10, 12, 13],
    "vcpu": [0, 1, 0, 1],
    "gpa": [0, 4096, (1 << 48) - 1, 8],
    "op": [0, 1, 2, 0],
    "size": [0, 8, 4096, 1],
    "count": [1, 2, 3, 4],
}


def columns(**values: list[int]) -> dict[str, NDArray[Any]]:
    return {name: np.array(value, dtype=TYPES[name]) for name, value in {**GOOD, **values}.items()}


def test_good_rows_pass() -> None:
    check_rows(columns(), {}, LIMITS, PLACE)
    bad = BadRows()
    assert good_rows(columns(), {}, LIMITS, PLACE, bad) is None
    assert bad.total == 0


BROKEN = [
    ("op", [0, 3, 1, 1], "unknown_op", "op 3 is unknown; expected 0 read, 1 write or 2 fetch"),
    ("op", [0, 15, 1, 1], "unknown_op", "op 15 is unknown"),
    (
        "op",
        [0, 39, 1, 1],
        "event",
        "op 39 is an event code that means nothing; expected 0 read, 1 write or 2 fetch, or an event: 16 vcpu_run",
    ),
    ("op", [0, 200, 1, 1], "event", "op 200 is an event code that means nothing"),
    ("gpa", [0, 1 << 48, 0, 0], "gpa", "the address 0x1000000000000 has more than 48 bits"),
    ("gpa", [0, 2**64 - 1, 0, 0], "gpa", "the address 0xffffffffffffffff"),
    ("vcpu", [0, 2, 0, 0], "vcpu", "vCPU 2 is none of the guest's; expected a number below 2"),
    ("count", [1, 0, 1, 1], "count", "the row stands for 0 accesses; expected at least 1"),
    ("size", [1, 4097, 1, 1], "size", "an access of 4097 bytes; expected at most 4096"),
    (
        "time",
        [10, 1 << 63, 12, 13],
        "late",
        "the time is 9223372036854775808; expected a time of at most 9223372036854775807 (2^63 - 1)",
    ),
    ("time", [10, 2**64 - 1, 12, 13], "late", "the time is 18446744073709551615"),
]


@pytest.mark.parametrize(("column", "values", "reason", "message"), BROKEN)
def test_a_row_that_breaks_a_rule_is_named(column: str, values: list[int], reason: str, message: str) -> None:
    del reason
    with pytest.raises(TraceError) as caught:
        check_rows(columns(**{column: values}), {}, LIMITS, PLACE)
    assert str(caught.value).startswith(f"t.parquet, row group 3, row 1,001, column '{column}': {message}")
    assert "--on-bad-rows skip" in str(caught.value)


@pytest.mark.parametrize(("column", "values", "reason", "message"), BROKEN)
def test_a_row_that_breaks_a_rule_can_be_skipped(
    column: str, values: list[int], reason: str, message: str
) -> None:
    bad = BadRows()
    keep = good_rows(columns(**{column: values}), {}, LIMITS, PLACE, bad)
    assert keep is not None
    assert keep.tolist() == [True, False, True, True]
    assert bad.counts == {reason: 1}
    assert message in bad.first[reason]


@pytest.mark.parametrize(
    ("times", "row", "before"),
    [([11, 10, 12, 13], 1, 11), ([9, 10, 12, 13], 0, 10), ([10, 2**63 - 1, 2**63 - 2, 13], 2, 2**63 - 1)],
)
def test_the_first_row_where_time_goes_back_is_named(times: list[int], row: int, before: int) -> None:
    with pytest.raises(DisorderError) as caught:
        check_rows(columns(time=times), {}, LIMITS, PLACE)
    assert str(caught.value).startswith(
        f"t.parquet, row group 3, row {1000 + row:,}, column 'time': time goes back to {times[row]} from {before}"
    )
    assert "sort the rows by time" in str(caught.value)
    assert "skip" not in str(caught.value)


def test_a_null_is_named() -> None:
    null = np.array([False, False, True, False])
    with pytest.raises(TraceError, match="row 1,002, column 'vcpu': the value is null"):
        check_rows(columns(), {"vcpu": null}, LIMITS, PLACE)


def test_a_null_can_be_skipped() -> None:
    bad = BadRows()
    keep = good_rows(columns(), {"vcpu": np.array([False, False, True, False])}, LIMITS, PLACE, bad)
    assert keep is not None
    assert keep.tolist() == [True, True, False, True]
    assert bad.counts == {"null": 1}


def test_an_event_is_a_good_row() -> None:
    check_rows(columns(op=[0, 16, 28, 41]), {}, LIMITS, PLACE)


def test_a_row_counts_once_under_the_first_rule_it_breaks() -> None:
    bad = BadRows()
    keep = good_rows(columns(op=[0, 3, 1, 20], vcpu=[0, 9, 9, 9]), {}, LIMITS, PLACE, bad)
    assert keep is not None
    assert keep.tolist() == [True, False, False, False]
    assert bad.counts == {"unknown_op": 1, "event": 1, "vcpu": 1}
    assert bad.total == 3


def test_times_out_of_order_are_no_matter_of_a_row_by_itself() -> None:
    bad = BadRows()
    assert good_rows(columns(time=[20, 11, 19, 20]), {}, LIMITS, PLACE, bad) is None
    assert bad.total == 0


def test_counts_add_up_over_batches_and_keep_the_first_place() -> None:
    bad = BadRows()
    for row in (0, 4):
        good_rows(columns(op=[0, 3, 3, 0]), {}, LIMITS, Place("t.parquet", 0, row), bad)
    assert bad.counts == {"unknown_op": 4}
    assert "row 1," in bad.first["unknown_op"]
