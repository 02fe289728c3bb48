"""The memory of a guest, as its host knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.errors import TraceError
from eptreplay.model.instances import GuestMemory
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.ingest.trace.guest_trace import GuestTrace


def guest_ram_pages(trace: GuestTrace) -> NDArray[np.int64]:
    """Return the guest pages that are memory, shape [ranges, 2].

    Raises:
        TraceError: none are.
    """
    ranges = trace.ram_ranges()
    if not ranges:
        raise TraceError(
            str(trace.files[0]),
            "the memory layout has no whole page of memory",
            expected="at least one segment whose kind starts with 'ram'",
            advice="give the segments in a guest.toml beside the trace",
        )
    return np.array(ranges, np.int64)


def guest_memory(trace: GuestTrace) -> GuestMemory:
    """Return the guest as its host knows it.

    Raises:
        TraceError: it has no memory.
    """
    bars = [
        (bar.gpa // PAGE_BYTES, (bar.gpa + bar.bytes) // PAGE_BYTES)
        for device in trace.devices
        for bar in device.bars
    ]
    return GuestMemory(guest_ram_pages(trace), trace.vcpus, np.array(bars, np.int64).reshape(-1, 2))
