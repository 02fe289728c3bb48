from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.sources.guest_config import GuestConfig, load_guest_config
from eptreplay.ingest.trace.schema import Segment

if TYPE_CHECKING:
    from pathlib import Path


def load(folder: Path, text: str, guest: str = "web") -> GuestConfig:
    (folder / "guest.toml").write_text(text, encoding="utf-8")
    return load_guest_config(folder, guest)


def test_without_a_file_nothing_is_overridden(tmp_path: Path) -> None:
    looked_for = (str(tmp_path / "guest.toml"), str(tmp_path.parent / "guest.toml"))
    assert load_guest_config(tmp_path, "web") == GuestConfig(looked_for=looked_for)


def test_top_level_keys_hold_for_every_guest(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        'vcpus = 4\ntime_unit = "us"\nsegments = [{ gpa = 0x1000, bytes = 0x2000, kind = "ram" }]',
    )
    assert (config.vcpus, config.time_unit, config.segments) == (4, "us", (Segment(0x1000, 0x2000, "ram"),))


def test_a_guests_own_table_goes_before_the_top_level(tmp_path: Path) -> None:
    text = "vcpus = 4\n[guests.web]\nvcpus = 8\n"
    assert load(tmp_path, text, "web").vcpus == 8
    assert load(tmp_path, text, "db").vcpus == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vcpus = ", "cannot be read as TOML"),
        ("vcpu = 4", "unknown key 'vcpu'; expected one of vcpus, segments, time_unit"),
        ("vcpus = 0", "'vcpus' is 0; expected a whole number from 1 to 65536"),
        ("vcpus = 1.5", "'vcpus' is 1.5"),
        ("vcpus = true", "'vcpus' is True"),
        ('time_unit = "fortnights"', "'time_unit' is 'fortnights'; expected one of ns"),
        ("segments = 5", "'segments' is 5"),
        ("segments = []", r"'segments' is \[\]"),
        ("guests = 5", "'guests' is no table of tables"),
        ("[guests]\nweb = 5", "'guests' is no table of tables"),
    ],
)
def test_what_makes_no_sense_is_named_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        load(tmp_path, text)
    assert "guest.toml" in str(caught.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "guest.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TraceError, match="cannot be read as TOML"):
        load_guest_config(tmp_path, "web")
