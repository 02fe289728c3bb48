"""What is known of a guest: its `guest.toml` first, then the metadata of its trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import TraceError
from eptreplay.ingest.sources.guest_config import GuestConfig, check_clock, check_time_unit, check_vcpus
from eptreplay.ingest.trace.schema import (
    KEY_CLOCK,
    KEY_SEGMENTS,
    KEY_TIME,
    KEY_TIME_UNIT,
    KEY_VCPUS,
    TIME_UNITS,
    Segment,
)
from eptreplay.ingest.trace.segments import parse_segments_json
from eptreplay.units import CYCLES, cycles_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eptreplay.ingest.trace.remote_path import AnyPath


class GuestFacts(NamedTuple):
    """Memory layout in ascending order of address, number of vCPUs, unit of the time column."""

    segments: tuple[Segment, ...]
    vcpus: int
    time_unit: str


class Clocked(NamedTuple):
    """What is known of a time column beside metadata and guest.toml.

    Args:
        unit: the unit that its type or its name says; None: neither does.
        mhz: the rate that the user gave; None: none.
    """

    unit: str | None = None
    mhz: float | None = None


def guest_facts(
    path: AnyPath, metadata: Mapping[str, str], config: GuestConfig, clocked: Clocked | None = None
) -> GuestFacts:
    """Put together what is known of a guest.

    Args:
        path: its trace, for messages.
        metadata: key-value metadata of the trace.
        config: overrides.
        clocked: what else is known of the time column.

    Raises:
        TraceError: something is missing or makes no sense.
    """
    clocked = clocked or Clocked()
    return GuestFacts(
        _segments(path, metadata, config),
        _vcpus(path, metadata, config),
        _with_rate(_time_unit(path, metadata, config, clocked.unit), path, metadata, config, clocked.mhz),
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
            'segments = [{ gpa = 0, bytes = 0x40000000, kind = "ram" }]' + _looked_for(config),
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
            advice=f"put a guest.toml beside the trace with a line like vcpus = 2{_looked_for(config)}",
        )
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
    return check_vcpus(number, str(path), f"metadata key '{KEY_VCPUS}'")


def _looked_for(config: GuestConfig) -> str:
    """Return where a guest.toml was looked for, in words; empty where one was found."""
    return f" (looked for {' and '.join(config.looked_for)})" if config.looked_for else ""


def _with_rate(
    unit: str, path: AnyPath, metadata: Mapping[str, str], config: GuestConfig, given: float | None
) -> str:
    """Return a unit of time with the rate of a trace that counts cycles, if anything says it."""
    if unit != CYCLES:
        if config.clock_mhz is not None:
            raise TraceError(
                config.path,
                f"'clock_mhz' is the rate of a trace that counts {CYCLES}, but the time of {path} is in {unit}",
                advice='leave clock_mhz out, or say time_unit = "cycles"',
            )
        return unit
    text = metadata.get(KEY_CLOCK)
    mhz = given or config.clock_mhz
    if mhz is None and text is not None:
        try:
            number: object = float(text)
        except ValueError:
            number = text
        mhz = check_clock(number, str(path), f"metadata key '{KEY_CLOCK}'")
    return unit if mhz is None else cycles_at(mhz)


def _time_unit(path: AnyPath, metadata: Mapping[str, str], config: GuestConfig, of_column: str | None) -> str:
    if of_column is not None:
        if config.time_unit not in {None, of_column}:
            raise TraceError(
                config.path,
                f"'time_unit' is {config.time_unit}, but the times of {path} are in {of_column} by their type or name",
                advice="leave time_unit out",
            )
        return of_column
    if config.time_unit is not None:
        return config.time_unit
    unit = metadata.get(KEY_TIME_UNIT)
    if unit is not None:
        return check_time_unit(unit, str(path), f"metadata key '{KEY_TIME_UNIT}'")
    # Captures describe the column in prose that begins with the unit: "ns since ...".
    words = metadata.get(KEY_TIME, "").split(maxsplit=1)
    return words[0] if words and words[0] in TIME_UNITS else TIME_UNITS[0]
