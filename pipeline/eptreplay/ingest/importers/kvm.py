"""KVM's tracepoints as ftrace, trace-cmd and perf script print them: what the guest's memory costs in exits.

One fault passes several tracepoints, so only those of one name are accesses: that of `--event`, or the first of
`EVENTS` that occurs in the first chunk of the log.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.errors import UsageError
from eptreplay.ingest.importing.format import Approximated, Format, Opened, Origin
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.logs.event_lines import OTHER_LINES
from eptreplay.ingest.logs.lines import Log, Matched, without
from eptreplay.ingest.logs.patterns import Line, grammar
from eptreplay.ingest.logs.trace_events import numbers_of, op_of_kvm_fault
from eptreplay.ingest.trace.schema import PAGE_SHIFT, Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from eptreplay.ingest.importing.dropped import Dropped

EVENTS = ("kvm_page_fault", "fast_page_fault", "kvm_mmu_set_spte", "kvm_tdp_mmu_spte_changed")
"""Tracepoints that tell of an access, the one that tells most first."""
_FLAGS = (("{maybe P|}W{skip blank}", 2), ("{find F}", 16), ("{skip blank}", 0), ("", 0))
"""Flags of fast_page_fault (arch/x86/kvm/mmu/mmutrace.h), in the order in which they are looked at, and the error code meant."""
_ANY_RIGHT, _WRITABLE, _LARGE = np.uint64(7), np.uint64(2), np.uint64(1 << 7)
_MMIO = np.uint64(6)
"""Writable and executable but not readable: with EPT no memory but a device (EPT misconfiguration)."""


def _lines(number: int, event: str) -> list[Line]:
    """Return what lines of an event look like, in the kernels that print them differently."""
    head = f"{{stand {event}:}}{{head}}{event}: {{event={number}}}"
    after: dict[str, list[str]] = {
        "kvm_page_fault": [
            "vcpu {vcpu:dec} rip {skip blank} address {address:hex} error_code {code:hex}{named=1}",
            "address {address:hex} error_code {code:hex}",
        ],
        "fast_page_fault": [
            f"vcpu {{vcpu:dec}} gva {{address:hex}} error_code {flags} {{named=1}}{{code={code}}}sptep {{rest}}"
            for flags, code in _FLAGS
        ],
        "kvm_mmu_set_spte": ["gfn {gfn:hex} spte {new:hex} ({skip blank} level {level:dec}{rest}"],
        "kvm_tdp_mmu_spte_changed": [
            "as id {space:dec} gfn {gfn:hex} level {level:dec} old_spte {old:hex} new_spte {new:hex}"
        ],
    }
    return [Line(head + each) for each in after[event]]


_LOG = Log(
    grammar(
        [*chain.from_iterable(_lines(number, event) for number, event in enumerate(EVENTS)), *OTHER_LINES]
    ),
    "not a line that ftrace, trace-cmd or perf script prints of KVM",
)


def _open(options: Mapping[str, str]) -> Opened:
    wanted = options.get("event")
    if wanted is not None and wanted not in EVENTS:
        raise UsageError(f"--event is '{wanted}'; give one of {', '.join(EVENTS)}")
    virtual = options.get("addresses") == "virtual"
    if virtual and wanted in EVENTS[2:]:
        raise UsageError(f"--addresses virtual has no effect on {wanted}: its addresses are guest-physical")
    origin = Origin(
        "one fault on the guest's memory, or one entry that KVM made in its page tables",
        (
            Approximated.FAULTS_ONLY,
            Approximated.NO_SIZE,
            *((Approximated.VIRTUAL,) if virtual else ()),
        ),
        virtual=virtual,
        time_unit="ns",
    )

    def read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        event = None if wanted is None else EVENTS.index(wanted)
        threads: dict[int, int] = {}
        for found in _LOG.read(stream, dropped):
            if event is None:
                event = int(found.values["event"].min())
            others = found.values["event"] != np.uint64(event)
            yield _records(
                without(
                    found,
                    others,
                    f"other records of the faults that {EVENTS[event]} tells of",
                    dropped.leave_out,
                ),
                event,
                threads,
                dropped,
            )

    return Opened(origin, read)


def _records(found: Matched, event: int, threads: dict[int, int], dropped: Dropped) -> Records:
    """Return the accesses that records of one event tell of."""
    values = found.values
    if EVENTS[event] in ("kvm_page_fault", "fast_page_fault"):
        address, op = values["address"], op_of_kvm_fault(values["code"])
    else:
        found = without(
            found, ~_is_access(found, event), "changes of entries that no access caused", dropped.leave_out
        )
        values = found.values
        found = without(
            found, values["gfn"] >> np.uint64(52) != 0, "a page beyond the last address", dropped.bad_records
        )
        values = found.values
        address = values["gfn"] << np.uint64(PAGE_SHIFT)
        op = np.where(values["new"] & _WRITABLE != 0, Op.WRITE, Op.READ).astype(np.uint8)
    named = bool((values["named"] != 0).all())
    vcpu = (
        np.minimum(values["vcpu"], (1 << 16) - 1).astype(np.uint16)
        if named
        else numbers_of(values["thread"], threads)
    )
    return Records(address=address, op=op, time=values["time"], vcpu=vcpu, place=found.place)


def _is_access(found: Matched, event: int) -> NDArray[np.bool_]:
    """Return which entries came to be, or became writable: what an access causes; links to page tables are none."""
    old, new, level = found.values["old"], found.values["new"], found.values["level"]
    leaf = (level == 1) | (new & _LARGE != 0)
    present = (new & _ANY_RIGHT != 0) & (new & _ANY_RIGHT != _MMIO)
    changed = (old & _ANY_RIGHT == 0) | ((new & ~old & _WRITABLE) != 0)
    every = EVENTS[event] == "kvm_mmu_set_spte"  # which says nothing of what was there before
    caused: NDArray[np.bool_] = present & leaf & (changed | np.bool_(every))
    return caused


def _guess(head: bytes) -> bool:
    return any(f"{event}: ".encode() in head for event in EVENTS)


FORMAT = Format(
    "kvm",
    "KVM's tracepoints, by ftrace, trace-cmd or perf script",
    frozenset({"event", "addresses"}),
    _open,
    _guess,
)
