"""Whether guests fit into this machine's memory, worked out from their layouts before anything is allocated.

The arrays of a replay have room for every page, and memory that is never written takes none (docs/speed.md, What a
guest page takes).  So only bounds of what a run will take are known: what is written at its start, and what it takes if
every access is to another page.  A run is refused if it cannot succeed: it needs more address space than the system gives,
or more memory at the start than there is.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import UsageError
from eptreplay.model.vm.vm_limits import LARGEST_HOST
from eptreplay.units import PAGE_BYTES, binary_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.request.host import HostOptions


SHARED = 31
"""Bytes that all profiles share for every page up to the end of memory: `fast_path` 1, `first_row` 8, `touch` 12, `listed` 4,
`deferred`, `unharvested` 1 each, `slot` 4."""

ADDRESS = 17
"""Bytes per profile for every page up to the end of memory: `object` 8, `swblk` 4, `swap` 4, `clean` 1."""

FRAME = 36
"""Bytes per profile for every frame of the host: `page` 12, `pageq` 24; a guest alone has a frame for every page."""

MAPPING = 56
"""Bytes per profile for every page of memory, mapped by the guest and by the hypervisor: `pv`, `pt`, `pm_root` 28 each."""

MAPPING_ARRAY = 32
"""Bytes of that in one array, the largest: `pv`."""

IN_USE = 44
"""Bytes that each profile takes in all for a page that its guest has used; see docs/speed.md for where it is more."""

IN_USE_SHARED = 27
"""Bytes that all profiles share for such a page."""

AT_START = 1
"""Bytes for every page up to the end of memory that are written before the first row: `fast_path`."""

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
STATM = Path("/proc/self/statm")


class Room(NamedTuple):
    """What this machine has, in bytes; None where that is unknown or unlimited.

    Args:
        available: memory that is free or can be made so, within the limits of the control group.
        all_memory: memory and swap in all: no single array may be larger.
        addresses: address space that this process may still take.
    """

    available: int | None
    all_memory: int | None
    addresses: int | None


class Layout(NamedTuple):
    """Pages of guests that are replayed together.

    Args:
        name: of the guest, or of all.
        pages: from address 0 to the end of memory.
        ram: that are memory.
        frames: of the host.
    """

    name: str
    pages: int
    ram: int
    frames: int


def room() -> Room:
    """Measure what this machine has."""
    known = _meminfo()
    limits = [found for found in (known.get("MemAvailable"), _left_in_group()) if found is not None]
    total = known.get("MemTotal")
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    addresses = None if soft == resource.RLIM_INFINITY else max(0, soft - _addresses_taken())
    return Room(
        min(limits, default=None), None if total is None else total + known.get("SwapTotal", 0), addresses
    )


def refuse_what_does_not_fit(
    traces: Sequence[GuestTrace], profiles: int, host: HostOptions | None, machine: Room
) -> None:
    """Refuse guests whose memory layouts are too large for this machine.

    Args:
        traces: one of each guest.
        profiles: CPUs that each is replayed under.
        host: the host they share; None: each has one of its own, and need only fit alone.
        machine: what there is.

    Raises:
        UsageError: one does not fit, with the arithmetic.
    """
    for layout in _layouts(traces, host):
        _refuse(layout, profiles, machine)


def warnings(traces: Sequence[GuestTrace], profiles: int, machine: Room) -> list[str]:
    """Return warnings about guests that may turn out too large for this machine."""
    found = []
    for trace in traces:
        pages = min(trace.ram_pages, 2 * trace.rows)
        most = pages * (IN_USE_SHARED + profiles * IN_USE)
        if machine.available is not None and most > machine.available:
            found.append(
                f"guest '{trace.name}' may take up to {pages:,} pages x ({IN_USE_SHARED} + {profiles} profiles x {IN_USE})"
                f" bytes = {binary_size(most)}, if its rows touch so many; {binary_size(machine.available)} is available"
            )
    return found


def _layouts(traces: Sequence[GuestTrace], host: HostOptions | None) -> list[Layout]:
    alone = [_alone(trace) for trace in traces]
    if host is None:
        return alone
    pages, ram = sum(of.pages for of in alone), sum(of.ram for of in alone)
    frames = pages if host.memory is None else min(pages, host.memory // PAGE_BYTES)
    name = alone[0].name if len(alone) == 1 else f"{len(alone)} guests together"
    return [Layout(name, pages, ram, frames)]


def _alone(trace: GuestTrace) -> Layout:
    end = max((end for _, end in trace.ram_ranges()), default=0)
    return Layout(f"guest '{trace.name}'", end, trace.ram_pages, end)


def _refuse(layout: Layout, profiles: int, machine: Room) -> None:
    start = layout.pages * AT_START
    if machine.available is not None and start > machine.available:
        raise UsageError(
            f"{layout.name}: {layout.pages:,} pages up to the end of memory x {AT_START} byte that is written before the first"
            f" row = {binary_size(start)}, but {binary_size(machine.available)} is available; {_ADVICE}"
        )
    largest = profiles * max(layout.ram * MAPPING_ARRAY, layout.frames * FRAME)
    if machine.all_memory is not None and largest > machine.all_memory:
        raise UsageError(
            f"{layout.name}: {_arithmetic(layout, profiles)}, {binary_size(largest)} of it in one array, but this machine"
            f" has {binary_size(machine.all_memory)} of memory and swap; {_ADVICE}"
        )
    if machine.addresses is not None and reserved(layout, profiles) > machine.addresses:
        raise UsageError(
            f"{layout.name}: {_arithmetic(layout, profiles)}, but this process may take"
            f" {binary_size(machine.addresses)} more (ulimit -v); {_ADVICE}"
        )
    if layout.pages > LARGEST_HOST:
        raise UsageError(
            f"{layout.name}: {layout.pages:,} pages up to the end of memory, but the model numbers {LARGEST_HOST:,}; {_ADVICE}"
        )


_ADVICE = (
    "correct the layout in a guest.toml beside the trace, or replay fewer profiles at once, or on a larger machine; if its addresses "
    "are those of a process, number its pages by first touch: eptreplay pack IN -o OUT --dense"
)


def reserved(layout: Layout, profiles: int) -> int:
    """Return the bytes of address space that a replay takes for its arrays, which it need not all use."""
    own = layout.pages * ADDRESS + layout.frames * FRAME + layout.ram * MAPPING
    return layout.pages * SHARED + profiles * own


def _arithmetic(layout: Layout, profiles: int) -> str:
    return (
        f"{layout.pages:,} pages up to the end of memory x ({SHARED} + {profiles} profiles x {ADDRESS}) bytes"
        f" + {layout.frames:,} frames x {profiles} x {FRAME} + {layout.ram:,} pages of memory x {profiles} x {MAPPING}"
        f" = {binary_size(reserved(layout, profiles))} of state"
    )


def _meminfo() -> dict[str, int]:
    """Return what /proc/meminfo says, in bytes; nothing where there is none."""
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    parts = [line.split() for line in lines]
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in parts if len(words) == 3}


def _left_in_group() -> int | None:
    """Return what the control group of this process may still take; None without a limit."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            most, now = ((CGROUP / name).read_text(encoding="ascii").strip() for name in (limit, used))
        except OSError:
            continue
        return None if most == "max" else max(0, int(most) - int(now))
    return None


def _addresses_taken() -> int:
    try:
        return int(STATM.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except OSError:
        return 0
