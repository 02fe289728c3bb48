from __future__ import annotations

from eptreplay.ingest.trace.schema import COLUMNS, EVENT_MIN, OP_MAX, Event, Op, Segment


def test_op_codes_are_those_of_the_format() -> None:
    assert {op.name: int(op) for op in Op} == {"READ": 0, "WRITE": 1, "FETCH": 2}
    assert OP_MAX == 2


def test_every_event_code_is_in_the_range_of_events() -> None:
    assert all(event >= EVENT_MIN for event in Event)
    assert (int(Event.VCPU_RUN), int(Event.HARVEST)) == (16, 41)


def test_time_vcpu_gpa_and_op_are_the_required_columns() -> None:
    assert {column.name for column in COLUMNS if column.required} == {"time", "vcpu", "gpa", "op"}


def test_a_segment_is_memory_if_its_kind_starts_with_ram() -> None:
    assert Segment(0, 4096, "ram: shadows the BIOS").is_ram
    assert not Segment(0, 4096, "rom: BIOS").is_ram
    assert not Segment(0, 4096, "hole: RAM").is_ram
