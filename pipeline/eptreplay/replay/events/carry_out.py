"""Events of a trace: what a host did to a guest between two accesses, carried out on all profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.errors import TraceError, UsageError
from eptreplay.ingest.native.schema import EVENT_MIN, HOST_CPUS, Event
from eptreplay.model.access_loop.dirty_log import harvest_guest
from eptreplay.model.access_loop.sweep import scan
from eptreplay.model.cpu.vmm import vcpu_run, vcpu_stop
from eptreplay.model.instances import flat_page
from eptreplay.model.state.pte import VM_PROT_ALL
from eptreplay.model.vm import answers, hypervisor
from eptreplay.model.vm.vm_map import (
    MADV_DONTNEED,
    MADV_FREE,
    vm_map_delete,
    vm_map_insert,
    vm_map_madvise,
    vm_map_protect,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eptreplay.ingest.native.reader import Batch
    from eptreplay.ingest.native.rows import BadRows
    from eptreplay.ingest.sources.dataset import GuestTrace
    from eptreplay.model._numba.types import Int
    from eptreplay.replay.driver.replay import Replay
    from eptreplay.request.options import Options

PAGE_SHIFT = 12
PAGE_BYTES = 1 << PAGE_SHIFT
LOW_BITS = PAGE_BYTES - 1

REASONS = {
    answers.NO_HOLD: "release_without_hold",
    answers.NOT_WIRED: "unwire_without_wire",
    answers.NOT_MEMORY: "event_outside_memory",
    answers.IN_USE: "unmap_in_use",
    answers.IS_THERE: "map_of_mapped",
    answers.NO_DEVICE: "dma_without_device",
    answers.NOT_ALLOWED: "event_not_allowed",
}
"""Why an event makes no sense, by the model's answer."""


class HostEvent(NamedTuple):
    """An event.

    Args:
        position: the row of the batch that it is, or that it happens before.
        is_row: whether it is a row of the trace.
        guest: number of the guest.
        kind: what happens.
        vcpu: the vCPU concerned, a flat number.
        gpa: guest-physical byte address.
        arg: the argument.
    """

    position: int
    is_row: bool
    guest: int
    kind: Event
    vcpu: int
    gpa: int
    arg: int


def events_of(batch: Batch, begin: int, end: int, *, guest: int = 0, first_vcpu: int = 0) -> list[HostEvent]:
    """Return the events of rows [begin, end) of a batch, in order; positions count from the batch's first row."""
    found = [
        HostEvent(
            at, False, guest, Event.VCPU_RUN if runs else Event.VCPU_STOP, first_vcpu + vcpu, 0, hostcpu
        )
        for at, vcpu, runs, hostcpu in batch.transitions
        if begin <= at < end or at == end == batch.rows
    ]
    if batch.events:
        for at in np.flatnonzero(batch.op[begin:end] >= EVENT_MIN) + begin:
            who = 0 if batch.vcpu is None else int(batch.vcpu[at])
            arg = 0 if batch.arg is None else int(batch.arg[at])
            kind = Event(int(batch.op[at]))
            found.append(HostEvent(int(at), True, guest, kind, first_vcpu + who, int(batch.gpa[at]), arg))
        found.sort(key=lambda event: (event.position, event.is_row))
    return found


def carry_out(replay: Replay, event: HostEvent) -> str:
    """Carry out an event in every instance; return why it makes no sense, empty if it does."""
    states = replay.states
    if event.kind is Event.SCAN:
        scan(states)
        return ""
    if event.kind is Event.HARVEST:
        harvest_guest(states, replay.statistics, replay.log, event.guest)
        return ""
    if event.kind is Event.VCPU_RUN:
        if event.arg >= HOST_CPUS:
            return "unknown_host_cpu"
        return "" if vcpu_run(states, event.guest, event.vcpu, event.arg) else "host_cpu_taken"
    if event.kind is Event.VCPU_STOP:
        return "" if vcpu_stop(states, event.guest, event.vcpu) else "stop_without_run"
    return _on_pages(replay, event)


def _on_pages(replay: Replay, event: HostEvent) -> str:
    """Carry out an event that concerns a page or a range of them; it ends at the first page where it makes no sense.

    A range that goes beyond memory, or beyond a BAR, makes no sense from the start.
    """
    first = event.gpa >> PAGE_SHIFT
    pages = max(1, (event.arg & ~LOW_BITS) >> PAGE_SHIFT) if event.kind in _RANGES else 1
    bits = event.arg & LOW_BITS if event.kind in _RANGES else event.arg
    if event.kind in _DMA and 1 < replay.others[event.guest].devices <= event.arg:
        return "unknown_device"
    if bits not in _MEANINGS.get(event.kind, range(1 << 64)):
        return "unknown_argument"
    act = _ACTS[event.kind]
    flat = flat_page(replay.guests, event.guest, first)
    last = flat_page(replay.guests, event.guest, first + pages - 1)
    if flat < 0 or last - flat != pages - 1:
        return REASONS[answers.NOT_MEMORY]
    done, reason = flat, ""
    for page in range(flat, last + 1):
        answer = int(act(replay, event.guest, page, bits))
        if answer != answers.OK:
            reason = REASONS[answer]
            break
        if page < len(replay.statistics.deferred):
            replay.statistics.deferred[page] = 0
        done = page + 1
    if flat < len(replay.statistics.deferred):
        replay.given_back[event.guest].note(event, range(flat, done), replay.statistics, replay.states)
    return reason


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

_ACTS: dict[Event, Callable[[Replay, int, int, int], Int]] = {
    Event.GPA_HOLD: lambda replay, guest, flat, bits: hypervisor.hold(replay.states, guest, flat, bits),
    Event.GPA_RELEASE: lambda replay, guest, flat, _: hypervisor.release(replay.states, guest, flat),
    Event.HOST_READ: lambda replay, guest, flat, _: hypervisor.host_access(replay.states, guest, flat, False),
    Event.HOST_WRITE: lambda replay, guest, flat, _: hypervisor.host_access(replay.states, guest, flat, True),
    Event.DMA_READ: lambda replay, guest, flat, _: hypervisor.dma(replay.states, guest, flat, False),
    Event.DMA_WRITE: lambda replay, guest, flat, _: hypervisor.dma(replay.states, guest, flat, True),
    Event.MAP: lambda replay, guest, flat, _: vm_map_insert(replay.states, guest, flat),
    Event.UNMAP: lambda replay, guest, flat, _: vm_map_delete(replay.states, guest, flat),
    Event.PROTECT: lambda replay, guest, flat, bits: vm_map_protect(replay.states, guest, flat, bits),
    Event.WIRE: lambda replay, guest, flat, _: hypervisor.wire(replay.states, guest, flat),
    Event.UNWIRE: lambda replay, guest, flat, _: hypervisor.unwire(replay.states, guest, flat),
    Event.ADVISE: lambda replay, guest, flat, bits: vm_map_madvise(replay.states, guest, flat, bits),
}


def between(events: Sequence[HostEvent], begin: int, end: int) -> list[tuple[int, int, HostEvent | None]]:
    """Return rows [begin, end) as pieces of accesses, each with the event that follows it (None after the last)."""
    pieces: list[tuple[int, int, HostEvent | None]] = []
    at = begin
    for event in events:
        pieces.append((at, event.position, event))
        at = event.position + int(event.is_row)
    pieces.append((at, end, None))
    return pieces


def bad_event_callback(
    traces: Sequence[GuestTrace], options: Options, bad_rows: Sequence[BadRows | None]
) -> Callable[[HostEvent, int, str], None]:
    """Return what is done about an event that makes no sense, given with its row: an error, or a count, by the policy."""

    def tell(event: HostEvent, row: int, reason: str) -> None:
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

    return tell


def attach_devices(replay: Replay, traces: Sequence[GuestTrace]) -> None:
    """Give guests their passthrough devices: with the first one all of a guest's memory is wired.

    Raises:
        UsageError: the host has too little memory for that.
    """
    for guest, trace in enumerate(traces):
        replay.others[guest].devices = len(trace.devices)
        if trace.devices and hypervisor.attach_device(replay.states, guest) != answers.OK:
            raise UsageError(
                f"guest '{trace.name}' has passthrough devices, so all of its {trace.ram_pages:,} pages have to stay in"
                " memory; the host has too little for that: give more with --host-memory"
            )
