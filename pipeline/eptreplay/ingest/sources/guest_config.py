"""`guest.toml`: what a trace does not say about its guest, or says wrongly.

    vcpus = 2
    time_unit = "ns"
    segments = [
      { gpa = 0x0, bytes = 0xa0000, kind = "ram" },
      { gpa = 0x100000, bytes = 0x3ff00000, kind = "ram" },
    ]

    pin = [2, 3]              # the host CPU of every vCPU
    clock_mhz = 2400          # the rate of a time column that counts cycles
    idle_gap = "10ms"         # a vCPU counts as halted across longer gaps between its accesses
    passthrough = [{ name = "nic", bars = [{ gpa = 0xc0000000, bytes = 0x20000 }] }]

    [guests.web]      # the same keys, for the guest of this name only
    vcpus = 4

It holds for the traces in its folder and, where there is none, in the folders of that.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.file import one_line
from eptreplay.ingest.sources.devices import check_devices, check_idle_gap, check_pins
from eptreplay.ingest.trace.schema import TIME_UNITS, VCPUS_MAX, Segment
from eptreplay.ingest.trace.segments import check_segments

if TYPE_CHECKING:
    from eptreplay.ingest.trace.devices import Device
    from eptreplay.ingest.trace.remote_path import AnyPath

FILE_NAME = "guest.toml"
FASTEST_MHZ = 1_000_000
_KEYS = ("vcpus", "segments", "time_unit", "pin", "idle_gap", "passthrough", "clock_mhz")


@dataclass(frozen=True, slots=True)
class GuestConfig:
    """Overrides for one guest; None leaves what the trace says.

    Args:
        path: the file they come from, for messages; empty if there is none.
        vcpus: number of virtual CPUs.
        segments: memory layout in ascending order of address.
        time_unit: unit of the time column.
        pins: host CPU of every vCPU; empty: that of its number.
        idle_gap_ns: gap between accesses, ns, across which a vCPU counts as halted.
        devices: passed through to the guest.
        clock_mhz: rate of a time column that counts cycles.
        looked_for: where the file would be; empty if there is one.
    """

    path: str = ""
    vcpus: int | None = None
    segments: tuple[Segment, ...] | None = None
    time_unit: str | None = None
    pins: tuple[int, ...] = ()
    idle_gap_ns: int | None = None
    devices: tuple[Device, ...] = ()
    clock_mhz: float | None = None
    looked_for: tuple[str, ...] = ()


def load_guest_config(folder: AnyPath, guest: str) -> GuestConfig:
    """Read the overrides for a guest from the `guest.toml` of a folder or, if there is none, of the one that it is in.

    Args:
        folder: where the guest's traces are.
        guest: its name, for a `[guests.NAME]` table.

    Returns:
        The overrides; all None when there is no such file.

    Raises:
        TraceError: the file cannot be read, is no TOML, or holds a key or value
            that means nothing.
    """
    places = [each / FILE_NAME for each in (folder, *_above(folder))]
    path = next(filter(_is_there, places), None)
    if path is None:
        return GuestConfig(looked_for=tuple(map(str, places)))
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TraceError(str(path), f"it cannot be read as TOML ({one_line(error)})") from error
    tables = data.pop("guests", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise TraceError(str(path), "'guests' is no table of tables", expected="[guests.NAME] sections")
    return _config(path, data | tables.get(guest, {}))


def _above(folder: AnyPath) -> tuple[AnyPath, ...]:
    """Return the folder that a folder is in; none where it is the root of a store."""
    if isinstance(folder, Path):
        return (folder.parent if folder.name not in {"", ".."} else folder / "..",)
    return (folder.parent,) if folder.key else ()


def _is_there(path: AnyPath) -> bool:
    """Return whether something has this name, also a link that leads nowhere."""
    return os.path.lexists(path) if isinstance(path, Path) else path.is_file()


def check_vcpus(value: object, file: str, where: str) -> int:
    """Return a vCPU count that makes sense.

    Raises:
        TraceError: the value is no whole number from 1 to 65536.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= VCPUS_MAX:
        raise TraceError(file, f"{where} is {value!r:.60}", expected=f"a whole number from 1 to {VCPUS_MAX}")
    return value


def check_time_unit(value: object, file: str, where: str) -> str:
    """Return a unit of time that eptreplay knows.

    Raises:
        TraceError: it does not know this one.
    """
    if not isinstance(value, str) or value not in TIME_UNITS:
        raise TraceError(file, f"{where} is {value!r:.60}", expected=f"one of {', '.join(TIME_UNITS)}")
    return value


def check_clock(value: object, file: str, where: str) -> float:
    """Return a rate in MHz that makes sense.

    Raises:
        TraceError: it is no number above 0, or not one of this world.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= FASTEST_MHZ:
        return float(value)
    raise TraceError(
        file,
        f"{where} is {value!r:.60}",
        expected=f"cycles of a microsecond (MHz), above 0, at most {FASTEST_MHZ:,}",
    )


def _config(path: AnyPath, data: dict[str, object]) -> GuestConfig:
    file = str(path)
    unknown = sorted(set(data) - set(_KEYS))
    if unknown:
        raise TraceError(
            file, f"unknown key '{unknown[0]}'", expected=f"one of {', '.join(_KEYS)}, or [guests.NAME]"
        )
    vcpus, raw_segments, unit, pins, idle_gap, devices, clock = (data.get(key) for key in _KEYS)
    segments = None if raw_segments is None else check_segments(raw_segments, file, "'segments'")
    return GuestConfig(
        path=file,
        vcpus=None if vcpus is None else check_vcpus(vcpus, file, "'vcpus'"),
        segments=segments,
        time_unit=None if unit is None else check_time_unit(unit, file, "'time_unit'"),
        pins=() if pins is None else check_pins(pins, file),
        idle_gap_ns=None if idle_gap is None else check_idle_gap(idle_gap, file),
        devices=() if devices is None else check_devices(devices, file, segments),
        clock_mhz=None if clock is None else check_clock(clock, file, "'clock_mhz'"),
    )
