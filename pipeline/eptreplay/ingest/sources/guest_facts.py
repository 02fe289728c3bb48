"""What is known of a guest: its `guest.toml` first, then the metadata of its trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import TraceError
from eptreplay.ingest.sources.guest_config import GuestConfig, check_time_unit, check_vcpus
from eptreplay.ingest.trace.schema import (
    KEY_SEGMENTS,
    KEY_TIME,
    KEY_TIME_UNIT,
    KEY_VCPUS,
    TIME_UNITS,
    Segment,
)
from eptreplay.ingest.trace.segments import parse_segments_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eptreplay.ingest.trace.remote_path import AnyPath


class GuestFacts(NamedTuple):
    """Memory layout in ascending order of address, number of vCPUs, unit of the time column."""

    segments: tuple[Segment, ...]
    vcpus: int
    time_unit: str


def guest_facts(path: AnyPath, metadata: Mapping[str, str], config: GuestConfig) -> GuestFacts:
    """Put together what is known of a guest.

    Args:
        path: its trace, for messages.
        metadata: key-value metadata of the trace.
        config: overrides.

    Raises:
        TraceError: something is missing or makes no sense.
    """
    return GuestFacts(
        _segments(path, metadata, config), _vcpus(path, metadata, config), _time_unit(path, metadata, config)
    )


def _segments(path: AnyPath, metadata: Mapping[str, str], config: GuestConfig) -> tuple[Segment, ...]:
    if config.segments is not None:
        return config.segments
    text = metadata.get(KEY_SEGMENTS)
    if text is None:
        raise TraceError(
            str(path),
            f"the metadata has no key '{KEY_SEGMENTS}', so the guest's memory layout is unknown",
            advice="put a guest.toml beside the trace with a line like "
            'segments = [{ gpa = 0, bytes = 0x40000000, kind = "ram" }]',
        )
    return parse_segments_json(text, str(path))


def _vcpus(path: AnyPath, metadata: Mapping[str, str], config: GuestConfig) -> int:
    if config.vcpus is not None:
        return config.vcpus
    text = metadata.get(KEY_VCPUS)
    if text is None:
        raise TraceError(
            str(path),
            f"the metadata has no key '{KEY_VCPUS}'",
            advice="put a guest.toml beside the trace with a line like vcpus = 2",
        )
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
    return check_vcpus(number, str(path), f"metadata key '{KEY_VCPUS}'")


def _time_unit(path: AnyPath, metadata: Mapping[str, str], config: GuestConfig) -> str:
    if config.time_unit is not None:
        return config.time_unit
    unit = metadata.get(KEY_TIME_UNIT)
    if unit is not None:
        return check_time_unit(unit, str(path), f"metadata key '{KEY_TIME_UNIT}'")
    # Captures describe the column in prose that begins with the unit: "ns since ...".
    words = metadata.get(KEY_TIME, "").split(maxsplit=1)
    return words[0] if words and words[0] in TIME_UNITS else TIME_UNITS[0]
