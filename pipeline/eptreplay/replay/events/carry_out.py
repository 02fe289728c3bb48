"""Events of a trace: what a host did to a guest between two accesses, carried out on all profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from eptreplay.errors import TraceError, UsageError
from eptreplay.ingest.trace.schema import HOST_CPUS, Event
from eptreplay.model.access_loop.dirty_log import harvest_guest
from eptreplay.model.access_loop.sweep import scan
from eptreplay.model.cpu.vmm import vcpu_run, vcpu_stop
from eptreplay.model.instances import flat_page
from eptreplay.model.pmap.pmap_range import MADV_DONTNEED, MADV_FREE
from eptreplay.model.state.pte import VM_PROT_ALL
from eptreplay.model.vm import answers, hypervisor
from eptreplay.model.vm.vm_map import (
    vm_map_delete,
    vm_map_insert,
    vm_map_madvise,
    vm_map_protect,
)
from eptreplay.model.vm.vm_map_entry import pages_mapped
from eptreplay.model.vm.vm_wire import vm_map_unwire, vm_map_wire
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eptreplay.ingest.native.rows import BadRows
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.model._numba.types import Int
    from eptreplay.model.access_loop.dirty_log import DirtyLog
    from eptreplay.model.instances import GuestMemory
    from eptreplay.model.statistics.intervals import IntervalStatistics
    from eptreplay.replay.events.given_back import GivenBack
    from eptreplay.replay.events.other_writers import OtherWriters
    from eptreplay.replay.rows.event import HostEvent
    from eptreplay.request.options import Options

PAGE_SHIFT = 12
LOW_BITS = PAGE_BYTES - 1

REASONS = {
    answers.NO_HOLD: "release_without_hold",
    answers.NOT_WIRED: "unwire_without_wire",
    answers.NOT_MEMORY: "event_outside_memory",
    answers.IS_THERE: "map_of_mapped",
    answers.NO_DEVICE: "dma_without_device",
    answers.NOT_ALLOWED: "event_not_allowed",
}
"""Why an event makes no sense, by the model's answer."""


class Host(Protocol):
    """What events are carried out on: the guests of a host in all instances, and what is recorded of them."""

    @property
    def guests(self) -> Sequence[GuestMemory]:
        """The guests."""

    @property
    def states(self) -> Any:  # noqa: ANN401 - its arrays are stacked, which its type does not tell
        """The instances."""

    @property
    def statistics(self) -> IntervalStatistics:
        """What the traces did."""

    @property
    def log(self) -> DirtyLog:
        """What dirty tracking saw."""

    @property
    def others(self) -> Sequence[OtherWriters]:
        """Who else than vCPUs uses the memory of each guest."""

    @property
    def given_back(self) -> Sequence[GivenBack]:
        """What each guest gave back of its memory."""


def carry_out(host: Host, event: HostEvent) -> str:
    """Carry out an event in every instance; return why it makes no sense, empty if it does."""
    states = host.states
    if event.kind is Event.SCAN:
        scan(states)
        return ""
    if event.kind is Event.HARVEST:
        harvest_guest(states, host.statistics, host.log, event.guest)
        return ""
    if event.kind is Event.VCPU_RUN:
        if event.arg >= HOST_CPUS:
            return "unknown_host_cpu"
        return "" if vcpu_run(states, event.guest, event.vcpu, event.arg) else "host_cpu_taken"
    if event.kind is Event.VCPU_STOP:
        return "" if vcpu_stop(states, event.guest, event.vcpu) else "stop_without_run"
    return _on_pages(host, event)


def _on_pages(host: Host, event: HostEvent) -> str:
    """Carry out an event on a page or a range of pages, up to the first page at which it makes no sense.

    A range that goes beyond memory, or beyond a BAR, makes no sense as a whole: nothing is done.
    """
    first = event.gpa >> PAGE_SHIFT
    pages = max(1, (event.arg & ~LOW_BITS) >> PAGE_SHIFT) if event.kind in _RANGES else 1
    bits = event.arg & LOW_BITS if event.kind in _RANGES else event.arg
    if event.kind in _DMA and 1 < host.others[event.guest].devices <= event.arg:
        return "unknown_device"
    if bits not in _MEANINGS.get(event.kind, range(1 << 64)):
        return "unknown_argument"
    flat = flat_page(host.guests, event.guest, first)
    last = flat_page(host.guests, event.guest, first + pages - 1)
    if flat < 0 or last - flat != pages - 1:
        return REASONS[answers.NOT_MEMORY]
    if event.kind is Event.MAP:
        done, answer = _map(host, event.guest, flat, pages)
    elif event.kind in _RANGES:
        done, answer = _on_range(host, event, flat, pages, bits)
    else:
        answer = int(_ACTS[event.kind](host, event.guest, flat, bits))
        done = int(answer == answers.OK)
    if flat < len(host.statistics.deferred):
        host.statistics.deferred[flat : flat + done] = 0
        host.given_back[event.guest].note(event, range(flat, flat + done), host.statistics, host.states)
    return REASONS.get(answer, "")


def _map(host: Host, guest: int, flat: int, pages: int) -> tuple[int, int]:
    """Map pages again, one after the other; return how many, and the answer for the next one."""
    for done in range(pages):
        answer = int(vm_map_insert(host.states, guest, flat + done))
        if answer != answers.OK:
            return done, answer
    return pages, answers.OK


def _on_range(host: Host, event: HostEvent, flat: int, pages: int, bits: int) -> tuple[int, int]:
    """Carry out an event on a range in one call, as far as pages are mapped; return how many, and the answer."""
    mapped = int(pages_mapped(host.states, event.guest, flat, pages))
    if mapped == 0:
        return 0, answers.NOT_MEMORY
    answer = int(_CALLS[event.kind](host.states, event.guest, flat, mapped, bits))
    if answer != answers.OK:
        return 0, answer
    return mapped, answers.OK if mapped == pages else answers.NOT_MEMORY


_RANGES = frozenset({Event.MAP, Event.UNMAP, Event.PROTECT, Event.WIRE, Event.UNWIRE, Event.ADVISE})
"""Events whose argument is a length in bytes, with rights or advice in its low 12 bits."""

_DMA = frozenset({Event.DMA_READ, Event.DMA_WRITE})
"""Events whose argument is the number of the device, where the guest has several."""

_MEANINGS: dict[Event, range] = {
    Event.MAP: range(1),
    Event.UNMAP: range(1),
    Event.WIRE: range(1),
    Event.UNWIRE: range(1),
    Event.GPA_HOLD: range(1, VM_PROT_ALL + 1),
    Event.PROTECT: range(VM_PROT_ALL + 1),
    Event.ADVISE: range(MADV_DONTNEED, MADV_FREE + 1),
}
"""What the argument, or its low bits beside a length, may be; that of others does not matter."""

_ACTS: dict[Event, Callable[[Host, int, int, int], Int]] = {
    Event.GPA_HOLD: lambda host, guest, flat, bits: hypervisor.hold(host.states, guest, flat, bits),
    Event.GPA_RELEASE: lambda host, guest, flat, _: hypervisor.release(host.states, guest, flat),
    Event.HOST_READ: lambda host, guest, flat, _: hypervisor.host_access(host.states, guest, flat, False),
    Event.HOST_WRITE: lambda host, guest, flat, _: hypervisor.host_access(host.states, guest, flat, True),
    Event.DMA_READ: lambda host, guest, flat, _: hypervisor.dma(host.states, guest, flat, False),
    Event.DMA_WRITE: lambda host, guest, flat, _: hypervisor.dma(host.states, guest, flat, True),
}

_CALLS: dict[Event, Callable[[Any, int, int, int, int], Int]] = {
    Event.UNMAP: lambda states, guest, flat, pages, _: vm_map_delete(states, guest, flat, pages),
    Event.PROTECT: vm_map_protect,
    Event.WIRE: lambda states, guest, flat, pages, _: vm_map_wire(states, guest, flat, pages),
    Event.UNWIRE: lambda states, guest, flat, pages, _: vm_map_unwire(states, guest, flat, pages),
    Event.ADVISE: vm_map_madvise,
}
"""What is done to a range in one call."""


def bad_event_callback(
    traces: Sequence[GuestTrace], options: Options, bad_rows: Sequence[BadRows | None]
) -> Callable[[HostEvent, int, str], None]:
    """Return the callback for an event that makes no sense, with its row and the reason: by the policy it raises or counts."""

    def on_bad_event(event: HostEvent, row: int, reason: str) -> None:
        trace = traces[event.guest]
        error = TraceError(
            str(trace.files[0]),
            f"guest '{trace.name}': the event {event.kind.name.lower()} of vCPU {event.vcpu} at {event.gpa:#x}"
            f" with argument {event.arg:#x} makes no sense: {reason.replace('_', ' ')}",
            row=row,
            column="op",
            advice="correct the trace, or leave such rows out with --on-bad-rows skip",
        )
        skipped = bad_rows[event.guest]
        if options.on_bad_rows == "fail" or skipped is None:
            raise error
        skipped.add(error, reason, 1)

    return on_bad_event


def attach_devices(host: Host, traces: Sequence[GuestTrace]) -> None:
    """Attach passthrough devices to guests; with the first one, all memory of a guest is wired.

    Raises:
        UsageError: the host has too little memory for that.
    """
    for guest, trace in enumerate(traces):
        host.others[guest].devices = len(trace.devices)
        if trace.devices and hypervisor.attach_device(host.states, guest) != answers.OK:
            raise UsageError(
                f"guest '{trace.name}' has passthrough devices, so all of its {trace.ram_pages:,} pages have to stay in"
                " memory; the host has too little for that: give more with --host-memory"
            )
