"""What `guest.toml` says of a guest's place on the host: passthrough devices, pinned vCPUs, when a vCPU counts as idle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.errors import TraceError
from eptreplay.ingest.trace.devices import Bar, Device
from eptreplay.ingest.trace.schema import HOST_CPUS, PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.trace.schema import Segment

ADDRESS_SPACE = 1 << 47
"""Where the address spaces that bhyve makes for guests end (VM_MAXUSER_ADDRESS), bytes."""
BARS_MOST = 64
"""BARs of all devices of a guest (model/state/host_state.py BARS_MOST)."""
BAR_BYTES_MOST = 1 << 40

NANOSECONDS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


def check_devices(raw: object, file: str, segments: Sequence[Segment] | None) -> tuple[Device, ...]:
    """Turn plain data into devices whose BARs overlap neither each other nor, where known, memory.

    Raises:
        TraceError: the data is no list of devices, or something overlaps.
    """
    shape = '[{ name = "nic", bars = [{ gpa = 0xc0000000, bytes = 0x20000 }] }]'
    if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
        raise TraceError(file, f"'passthrough' is {raw!r:.60}", expected=shape)
    devices = []
    for number, item in enumerate(raw):
        name, bars = item.get("name"), item.get("bars", [])
        if not isinstance(name, str) or not isinstance(bars, list) or set(item) - {"name", "bars"}:
            raise TraceError(file, f"'passthrough', device {number} is {item!r:.60}", expected=shape)
        devices.append(Device(name, tuple(_bar(bar, name, file) for bar in bars)))
    check_bars(devices, segments or (), file)
    _check_room(devices, file)
    return tuple(devices)


def _bar(raw: object, device: str, file: str) -> Bar:
    """Return a BAR that makes sense."""
    gpa, length = (raw.get("gpa"), raw.get("bytes")) if isinstance(raw, dict) else (None, None)
    if isinstance(gpa, int) and isinstance(length, int):
        pages = gpa % PAGE_SIZE == 0 and length % PAGE_SIZE == 0
        if pages and gpa >= 0 and length > 0 and gpa + length <= ADDRESS_SPACE:
            return Bar(gpa, length)
    raise TraceError(
        file,
        f"a BAR of device '{device}' is {raw!r:.60}",
        expected=f"{{ gpa, bytes }}, both multiples of 4096, within the {ADDRESS_SPACE:#x} bytes that bhyve's guests have",
    )


def _check_room(devices: Sequence[Device], file: str) -> None:
    """Refuse more BARs than a guest can have.

    Raises:
        TraceError: they are too many, or too large together.
    """
    bars = [bar for device in devices for bar in device.bars]
    length = sum(bar.bytes for bar in bars)
    if len(bars) > BARS_MOST or length > BAR_BYTES_MOST:
        raise TraceError(
            file,
            f"'passthrough' has {len(bars)} BARs of {length:,} bytes together",
            expected=f"at most {BARS_MOST} BARs and {BAR_BYTES_MOST:,} bytes a guest",
        )


def check_bars(devices: Sequence[Device], segments: Sequence[Segment], file: str) -> None:
    """Refuse BARs that overlap each other or memory.

    Raises:
        TraceError: naming both.
    """
    spans = [(s.gpa, s.end, f"memory at {s.gpa:#x}") for s in segments if s.is_ram]
    for device in devices:
        for bar in device.bars:
            for begin, end, what in spans:
                if bar.gpa < end and begin < bar.gpa + bar.bytes:
                    raise TraceError(
                        file,
                        f"the BAR of device '{device.name}' at {bar.gpa:#x} overlaps {what}",
                        expected="BARs outside memory and apart",
                    )
            spans.append((bar.gpa, bar.gpa + bar.bytes, f"a BAR of device '{device.name}' at {bar.gpa:#x}"))


def check_pins(raw: object, file: str) -> tuple[int, ...]:
    """Return the host CPU of every vCPU.

    Raises:
        TraceError: it is no list of different host CPUs.
    """
    fits = isinstance(raw, list) and all(
        isinstance(cpu, int) and not isinstance(cpu, bool) and 0 <= cpu < HOST_CPUS for cpu in raw
    )
    if not isinstance(raw, list) or not fits or len(set(raw)) != len(raw):
        raise TraceError(
            file,
            f"'pin' is {raw!r:.60}",
            expected=f"a list of different host CPUs below {HOST_CPUS}, one a vCPU",
        )
    return tuple(raw)


def check_idle_gap(raw: object, file: str) -> int:
    """Return a time in ns.

    Raises:
        TraceError: it is none.
    """
    if isinstance(raw, str):
        for unit, scale in NANOSECONDS.items():
            number = raw.removesuffix(unit)
            if number != raw and number.strip().isdigit() and int(number) > 0:
                return int(number) * scale
    raise TraceError(file, f"'idle_gap' is {raw!r:.60}", expected='a time as in "500us" or "10ms"')
