from __future__ import annotations

from pathlib import Path

import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.sources.guest_config import GuestConfig
from eptreplay.ingest.sources.guest_facts import GuestFacts, guest_facts
from eptreplay.ingest.trace.schema import Segment

LAYOUT = '[{"gpa": 0, "bytes": 8192, "kind": "ram"}]'
OTHER = (Segment(4096, 4096, "ram"),)


def facts(config: GuestConfig | None = None, **metadata: str) -> GuestFacts:
    return guest_facts(Path("t.parquet"), metadata, config or GuestConfig())


def test_metadata_says_it_all() -> None:
    found = facts(memory_segments=LAYOUT, vcpus="2", time_unit="us")
    assert found == ((Segment(0, 8192, "ram"),), 2, "us")


def test_guest_toml_goes_before_metadata() -> None:
    config = GuestConfig(vcpus=3, segments=OTHER, time_unit="s")
    assert facts(config, memory_segments=LAYOUT, vcpus="2", time_unit="us") == (OTHER, 3, "s")


def test_guest_toml_stands_in_for_missing_and_broken_metadata() -> None:
    config = GuestConfig(vcpus=3, segments=OTHER)
    assert facts(config, memory_segments="nonsense") == (OTHER, 3, "ns")


def test_prose_about_the_time_column_may_begin_with_its_unit() -> None:
    assert facts(memory_segments=LAYOUT, vcpus="1", time="us since the start").time_unit == "us"
    assert facts(memory_segments=LAYOUT, vcpus="1", time="since the start").time_unit == "ns"


def test_a_missing_layout_tells_how_to_give_one() -> None:
    with pytest.raises(TraceError, match=r"no key 'memory_segments'.*guest\.toml .* segments = \[\{ gpa = 0"):
        facts(vcpus="2")


def test_a_missing_vcpu_count_tells_how_to_give_one() -> None:
    with pytest.raises(TraceError, match=r"no key 'vcpus'.*guest\.toml .* vcpus = 2"):
        facts(memory_segments=LAYOUT)


@pytest.mark.parametrize("text", ["", "two", "0", "-1", "1e3", "65537", "9" * 5000, "²"])
def test_a_vcpu_count_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(
        TraceError, match=r"metadata key 'vcpus' is .* expected a whole number from 1 to 65536"
    ):
        facts(memory_segments=LAYOUT, vcpus=text)


def test_an_unknown_time_unit_is_refused() -> None:
    with pytest.raises(TraceError, match="metadata key 'time_unit' is 'ticks'"):
        facts(memory_segments=LAYOUT, vcpus="2", time_unit="ticks")
