"""The state of one simulated host: page tables, physical pages, pv lists, counters.

All of it lives in flat arrays, which a kernel gets as one structure, and nothing is allocated while
a trace runs.  Records are numpy structured types and read like C structs: `m.dirty`, `pmap.pm_eptgen`.

Three kinds of number point from one array into another:

* a **page** is the index of a physical data page in `page`; its physical address is `pbase + 4096 * page`;
* a **slot** is the index of an entry in `pt`; slots 512 t to 512 t + 511 are page-table page t, which has
  physical address `PTP_BASE + 4096 * t`.  A slot stands for what is a pointer to an entry in the kernel,
  and -1 for NULL;
* a **pv** is the index of a pv entry in `pv`; 0 stands for NULL.

Everything that is zero is empty, so a fresh state costs no memory until it is touched: `numpy.zeros` maps
pages lazily.  Several states that replay the same trace under different CPU profiles are stacked along a
leading axis; `instance` takes one of them out, and `instances_in` counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import config, kernel
from eptreplay.model._numba.pointer import passed_as_pointer, row, rows, table_of_places
from eptreplay.model._numba.types import Int, Record, Records
from eptreplay.model.state import pte
from eptreplay.model.state.host_state import GUEST, OBJECT_BLOCK, OBJECT_PAGE, RESERV, VCPU, VM, VM_PAGE_QUEUE

if TYPE_CHECKING:
    from collections.abc import Mapping

# struct pmap: one address space.  The masks are what the kernel computes at every use from pm_type and
# pm_flags (pmap_valid_bit and its kin); they never change after pmap_pinit_type.
PMAP = np.dtype(
    [
        ("pm_id", np.int32),  # this pmap's number in State.pmap
        ("pm_type", np.int32),  # PT_X86 or PT_EPT
        ("pm_flags", np.int32),  # PMAP_* flags
        ("pm_pml4", np.int32),  # page-table page that is the root
        ("pm_process", np.int32),  # 1: the hypervisor process's own address space, not a guest's
        ("PG_V", np.uint64),  # mask: valid
        ("PG_RW", np.uint64),  # mask: writable
        ("PG_A", np.uint64),  # mask: accessed
        ("PG_M", np.uint64),  # mask: modified
        ("PG_G", np.uint64),  # mask: global (none in EPT)
        ("PG_CACHE_WB", np.uint64),  # bits of a write-back leaf of either size
        ("PG_CACHE_UC", np.uint64),  # bits of an uncacheable PTE
        ("PG_PTE_PROMOTE", np.uint64),  # mask: what 512 PTEs must have in common to become one PDE
        ("PG_READ", np.uint64),  # hardware: bits that every level needs for a read
        ("PG_WRITE", np.uint64),  # hardware: bits that every level needs for a write
        ("PG_FETCH", np.uint64),  # hardware: bits that every level needs for a fetch
        ("PG_NOFETCH", np.uint64),  # hardware: bits of which none may be set, at any level, for a fetch
        ("PG_HW_A", np.uint64),  # hardware: bit it sets in a leaf on every access (0: it sets none)
        ("PG_HW_M", np.uint64),  # hardware: bit it sets in a leaf on a write (0: it sets none)
        ("pm_address", np.uint64),  # the pmap's own kernel address, of which pmap_ts_referenced hashes 9 bits
        ("pm_active", np.int64),  # host CPUs that are executing in this address space, a count
        ("pm_vcpus", np.int64),  # CPUs that may, a count: vCPUs of the guest
        ("pm_cause", np.int64),  # on whose behalf the last invalidation happened
        ("pm_eptgen", np.int64),  # invalidations so far (PT_EPT only)
        ("resident_count", np.int64),  # pages mapped, with page-table pages but without the root
        ("wired_count", np.int64),  # pages mapped wired
        ("pm_fast_path", np.int64),  # where this address space begins in State.fast_path
        (
            "pm_fast_path_pages",
            np.int64,
        ),  # how many pages of it State.fast_path covers, from address 0; 0: none
    ],
    align=True,
)

# struct vm_page: one physical 4 KB page.
VM_PAGE = np.dtype(
    [
        ("pv_last", np.int32),  # tail of the list of 4 KB mappings, a pv
        ("pindex", np.int32),  # the guest page it holds, in flat numbers (State.object)
        ("dirty", np.uint8),  # the machine-independent dirty field: 0 clean, 1 dirty
        ("aflags", np.uint8),  # PGA_* flags, owned by the pmap
        ("oflags", np.uint8),  # PG_FICTITIOUS, VPO_UNMANAGED and UNCACHEABLE
        ("allocated", np.uint8),  # 1: belongs to an object
    ],
    align=True,
)
PGA_WRITEABLE = np.uint8(0x01)  # some mapping may be writable
PGA_REFERENCED = np.uint8(0x02)  # some mapping that is gone had been used
PG_FICTITIOUS = np.uint8(0x01)  # device memory: no pv table, no reservation
VPO_UNMANAGED = np.uint8(0x02)  # mappings of it are not tracked
UNCACHEABLE = np.uint8(0x04)  # md.pat_mode is VM_MEMATTR_UNCACHEABLE, else VM_MEMATTR_WRITE_BACK

# struct pv_entry: one mapping of one managed page.  Entries of a list form a ring; the list's owner holds
# the last one, so that appending and rotating need no walk.
PV_ENTRY = np.dtype(
    [
        ("pv_va", np.uint64),  # byte address where the mapping begins
        ("pv_pmap", np.int32),  # number of the pmap that maps it
        ("pv_next", np.int32),  # next in the ring; in the free list the next free one
    ],
    align=True,
)

# The vm_page of a page-table page, reduced to what is used of it.
PTP = np.dtype(
    [
        ("wire_count", np.int32),  # valid entries in it (1 while it is new and empty)
        ("next_free", np.int32),  # next in the free list
    ],
    align=True,
)

# Where new pv entries and page-table pages come from, where physical memory begins, and who pays.
HOST = np.dtype(
    [
        ("guest", np.int32),  # the guest that events are counted for
        ("vcpu", np.int32),  # the vCPU that makes the access, a flat number
        ("cause", np.int32),  # on whose behalf invalidations happen, CAUSE_* in invalidate.py
        ("pbase", np.uint64),  # physical address of page 0, a multiple of 2 MB
        ("pv_free", np.int32),  # first free pv entry, 0: none
        ("pv_used", np.int32),  # pv entries that were ever taken
        ("ptp_free", np.int32),  # first free page-table page, 0: none
        ("ptp_used", np.int32),  # page-table pages that were ever taken
        ("refused", np.int32),  # 1: an access was denied, so that the next one has to ask again
        ("disturbed", np.int32),  # 1: some page has lost NO_OP bits since the access loop looked
        ("exhausted", np.int32),  # 1: a pool was too small and the state is worthless
    ],
    align=True,
)

# Bits of State.fast_path; the first two have one a kind of access (read, write, fetch) from the lowest; see replay.py.
TOUCHED = np.uint8(0b0000_0111)  # the open interval has seen such an access
NO_OP = np.uint8(0b0011_1000)  # such an access changes nothing in any model
NO_OP_SHIFT = 3
NO_MEMORY = np.uint8(
    0b0100_0000
)  # the page is not memory: it is on no list, and no access to it is ever no_op
UNSAMPLED = np.uint8(0b1000_0000)  # no distances of reuse are taken of the page (reuse.py)

FAULT_KINDS = 3  # read, write, fetch
FAULT_CAUSES = 8  # see vm_fault.py
INVALIDATION_CAUSES = 10  # see invalidate.py
INVALIDATION_KINDS = 3  # page, range, all

# Event counters, all 64-bit, all cumulative.
COUNTERS = np.dtype(
    [
        ("ipis", np.int64),  # interprocessor interrupts sent for PT_EPT invalidations, one a target CPU
        ("x86_ipis", np.int64),  # the same for PT_X86 shootdowns
        ("promotions", np.int64),  # vm.pmap.pde.promotions: 512 PTEs became one PDE
        ("demotions", np.int64),  # vm.pmap.pde.demotions: one PDE became 512 PTEs
        ("mappings", np.int64),  # vm.pmap.pde.mappings: 2 MB mappings made directly
        ("p_failures", np.int64),  # vm.pmap.pde.p_failures: promotions tried in vain
        ("inv_page", np.int64),  # calls of pmap_invalidate_page
        ("inv_range", np.int64),  # calls of pmap_invalidate_range
        ("inv_all", np.int64),  # calls of pmap_invalidate_all
        ("dirty_calls", np.int64),  # calls of vm_page_dirty
        ("traps", np.int64),  # accesses the walker refused, each attempt
        ("pages_allocated", np.int64),  # pages given to an object, ever
        (
            "faults",
            np.int64,
            (FAULT_KINDS, FAULT_CAUSES),
        ),  # refused accesses by kind and cause, see vm_fault.py
        ("sweeps", np.int64),  # aging or harvest sweeps over all pages
        ("ts_referenced", np.int64),  # sum of what pmap_ts_referenced answered in aging sweeps
        ("dirty_last_harvest", np.int64),  # pages found dirty by the last harvest sweep
        ("dirty_all_harvests", np.int64),  # pages found dirty by all harvest sweeps
        ("accessed_bits", np.int64),  # accessed bits that the CPU set in leaf entries
        ("dirty_bits_4k", np.int64),  # dirty bits set in PTEs by an access, by the CPU or by emulation
        ("dirty_bits_2m", np.int64),  # the same in PDEs of superpages
        ("pml_entries", np.int64),  # entries written to page-modification logs
        ("pml_exits", np.int64),  # exits because such a log was full
        ("harvests", np.int64),  # harvest sweeps
        ("harvest_demotions", np.int64),  # demotions during harvest sweeps
        ("harvest_invalidations", np.int64),  # calls of pmap_invalidate_* during them
        ("harvest_ipis", np.int64),  # IPIs during them, for both formats
        ("refaults", np.int64),  # refused accesses to pages that a harvest made clean, until the next write
        ("repromotions", np.int64),  # promotions of superpages that a harvest demoted
        # Invalidations by cause, see invalidate.py; the second index is page, range, all.
        ("invalidations", np.int64, (INVALIDATION_CAUSES, INVALIDATION_KINDS)),
        (
            "ipis_by_cause",
            np.int64,
            INVALIDATION_CAUSES,
        ),  # `ipis`, each of which makes a vCPU leave the guest
        ("x86_ipis_by_cause", np.int64, INVALIDATION_CAUSES),  # `x86_ipis`
        ("ipis_saved", np.int64, INVALIDATION_CAUSES),  # IPIs not sent: the vCPU was not in the guest
        ("invepts", np.int64, INVALIDATION_CAUSES),  # entries that found a new generation, by its last cause
        ("zero_fills", np.int64),  # pages given to the guest empty
        ("swap_ins", np.int64),  # pages read back from swap
        ("soft_faults", np.int64),  # faults on pages that were in memory
        ("reactivated", np.int64),  # inactive pages that turned out to be used
        ("deactivated", np.int64),  # active pages that went to the inactive queue
        ("freed_clean", np.int64),  # pages freed without a copy in swap: they are zero again at the next use
        ("cached", np.int64),  # pages freed with a copy in swap
        ("try_to_cache", np.int64),  # pages that were to be freed right after they were written to swap
        ("pageouts", np.int64),  # writes to swap
        ("laundered", np.int64),  # pages written to swap
        ("unswapped", np.int64),  # copies in swap that a write made worthless
        ("swap_copies", np.int64),  # guest pages that have a copy in swap now
        ("host_ipis", np.int64),  # shootdowns of the hypervisor process's own mapping, one a CPU
        ("host_accesses", np.int64),  # pages that the hypervisor process touched through its own mapping
        ("host_faults", np.int64),  # those of them that its mapping did not have
        ("holds", np.int64),  # vm_gpa_hold
        ("releases", np.int64),  # vm_gpa_release
        ("held", np.int64),  # holds that were not released yet
        ("denied", np.int64),  # accesses that the guest's map entry does not allow
        ("dma_reads", np.int64),  # pages that a device read
        ("dma_writes", np.int64),  # pages that a device wrote
        ("dma_pages", np.int64),  # distinct pages that a device wrote
        ("v_wired", np.int64),  # pages of the guest that are wired now
        ("v_resident", np.int64),  # frames that hold pages of the guest now
        ("reservations", np.int64),  # 2 MB blocks of frames that were reserved
        ("reservations_refused", np.int64),  # pages given single frames where a reservation could have served
        ("reservations_broken", np.int64),  # reservations that were broken up because frames were scarce
        ("promotions_lost", np.int64),  # 2 MB blocks that became whole in single frames: no superpage
    ],
    align=True,
)


EXTRA_PAGES = 4  # in State.pageq: the heads of three lists, and a marker
EXTRA_RESERVATIONS = 2  # in State.rv: the heads of two lists


@dataclass(frozen=True, slots=True)
class State:
    """One simulated host, or several, stacked.

    In compiled code it is a pointer to a row of `places` (_pointer.py): that of the first instance; `instance` takes another.
    """

    pmap: Records  # PMAP [pmaps]: address spaces
    page: Records  # VM_PAGE [pages]: physical data pages
    pv_table: NDArray[np.int32]  # [pages / 512]: tail of the list of 2 MB mappings of that block, a pv
    reserv: NDArray[
        np.int16
    ]  # [pages / 512]: pages of that reservation that are allocated (vm_reserv popcnt)
    pv: Records  # PV_ENTRY [mappings]: pv entries; 0 is never used
    pt: NDArray[np.uint64]  # [512 * page-table pages]: the entries themselves
    pm_root: NDArray[
        np.int32
    ]  # [as pt]: at the slot of a superpage's PDE, the page-table page kept for demotion
    ptp: Records  # PTP [page-table pages]: 0 is never used
    host: Records  # HOST [1]
    cnt: Records  # COUNTERS [guests]
    vcpu: Records  # VCPU [flat vCPUs]
    guests: Records  # GUEST [guests]
    pageq: Records  # VM_PAGE_QUEUE [pages + 4]: heads of lists and the page daemon's marker follow
    object: Records  # OBJECT_PAGE [flat guest pages]
    blocks: Records  # OBJECT_BLOCK [flat guest pages / 512]
    rv: Records  # RESERV [pages / 512 + 2]: two heads of lists follow
    swblk: NDArray[np.int32]  # [flat guest pages]: the slot of the swap device that holds a copy, 0: none
    swap: NDArray[
        np.int32
    ]  # [swap slots]: 1 + the flat guest page whose copy it holds, or the next free slot
    vm: Records  # VM [1]
    log: NDArray[np.int64]  # [words]: what the host did, see event_log.py; empty: nothing is logged
    fast_path: NDArray[
        np.uint8
    ]  # [guest pages]: accesses that change nothing, see replay.py; all instances share it
    places: NDArray[np.int64]  # [instances, words]: where the arrays of every instance are, for compiled code


# What the arrays hold.
DTYPES = {
    "pmap": PMAP,
    "page": VM_PAGE,
    "pv_table": np.dtype(np.int32),
    "reserv": np.dtype(np.int16),
    "pv": PV_ENTRY,
    "pt": np.dtype(np.uint64),
    "pm_root": np.dtype(np.int32),
    "ptp": PTP,
    "host": HOST,
    "cnt": COUNTERS,
    "vcpu": VCPU,
    "guests": GUEST,
    "pageq": VM_PAGE_QUEUE,
    "object": OBJECT_PAGE,
    "blocks": OBJECT_BLOCK,
    "rv": RESERV,
    "swblk": np.dtype(np.int32),
    "swap": np.dtype(np.int32),
    "vm": VM,
    "log": np.dtype(np.int64),
    "fast_path": np.dtype(np.uint8),
}
FIELDS = {name: (dtype, 1) for name, dtype in DTYPES.items()}
passed_as_pointer(State, FIELDS)


def _zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:  # noqa: ANN401 - records, or an array
    """Return zeroed memory; records have their fields as attributes."""
    return records(shape, dtype) if dtype.names else np.zeros(shape, dtype)


def records(shape: int | tuple[int, ...], dtype: np.dtype[Any]) -> Records:
    """Return zeroed records of a structured type, with its fields as attributes."""
    return np.zeros(shape, dtype).view(np.recarray)


def new_states(
    instances: int,
    *,
    pmaps: int,
    pages: int,
    mappings: int,
    tables: int,
    fast_path: NDArray[np.uint8],
    pbase: int,
    guests: int = 1,
    vcpus: int = 1,
    flat_pages: int = 0,
    log_words: int = 0,
) -> State:
    """Return empty states stacked along a leading axis of length `instances`; `fast_path` is shared by all.

    Args:
        instances: how many states.
        pmaps: address spaces in each.
        pages: physical data pages in each; rounded up to whole reservations.
        mappings: the most managed mappings that can exist at once in each.
        tables: the most page-table pages that can exist at once in each, roots included.
        fast_path: shape [guest pages], see State.
        pbase: physical address of page 0, bytes, a multiple of 2 MB.
        guests: guests of each.
        vcpus: vCPUs of all guests of each.
        flat_pages: guest pages of all guests of each, as State.object numbers them.
        log_words: room for State.log.
    """
    blocks = -(-pages // pte.NPTEPG)
    lengths = {
        "pmap": pmaps,
        "page": blocks * pte.NPTEPG,
        "pv_table": blocks,
        "reserv": blocks,
        "pv": mappings + 1,
        "pt": (tables + 1) * pte.NPTEPG,
        "pm_root": (tables + 1) * pte.NPTEPG,
        "ptp": tables + 1,
        "host": 1,
        "cnt": guests,
        "vcpu": vcpus,
        "guests": guests,
        "pageq": blocks * pte.NPTEPG + EXTRA_PAGES,
        "object": flat_pages,
        "blocks": -(-flat_pages // pte.NPTEPG),
        "rv": blocks + EXTRA_RESERVATIONS,
        "swblk": flat_pages,
        "swap": flat_pages + 1,
        "vm": 1,
        "log": log_words,
    }
    arrays = {name: _zeros((instances, length), DTYPES[name]) for name, length in lengths.items()}
    arrays["host"].pbase = pbase
    arrays["host"].pv_used = 1
    arrays["host"].ptp_used = 1
    arrays["vm"].swap_used = 1
    return stacked(arrays, fast_path)


def stacked(arrays: Mapping[str, Any], fast_path: NDArray[np.uint8]) -> State:
    """Return arrays whose first axis are instances as a State; `fast_path` belongs to all of them."""
    in_order = [arrays[name] for name in DTYPES if name != "fast_path"]
    instances = [[*(array[number] for array in in_order), fast_path] for number in range(len(arrays["host"]))]
    return State(
        **dict(zip(DTYPES, [*in_order, fast_path], strict=True)), places=table_of_places(FIELDS, instances)
    )


def single(states: State) -> State:
    """Return the first of several stacked states, as Python sees one: views of the same memory."""
    return _arrays_of(states, 0, 1)


def _arrays_of(states: State, number: Int, end: Int | None) -> State:
    """Return the arrays of one of several stacked states, with the places of those from it to before `end`."""
    arrays = {name: getattr(states, name)[number] for name in DTYPES if name != "fast_path"}
    return State(**arrays, fast_path=states.fast_path, places=states.places[number:end])


@kernel
def account(st: State) -> Record:
    """Return the counters of the guest that events are counted for now (HOST.guest)."""
    return st.cnt[st.host[0].guest]


def _instance_of_arrays(states: State, number: Int) -> State:
    """Return one of several stacked states, as views of the same memory."""
    return _arrays_of(states, number, None)


@kernel
def _instance_of_pointer(states: State, number: Int) -> State:
    """Return the same in compiled code."""
    return row(states, number)


def _instances_of_arrays(states: State) -> Int:
    """Return how many states are stacked."""
    return int(states.host.shape[0])


@kernel
def _instances_of_pointer(states: State) -> Int:
    """Return the same in compiled code."""
    return rows(states)


instance = _instance_of_arrays if config.DISABLE_JIT else _instance_of_pointer
instances_in = _instances_of_arrays if config.DISABLE_JIT else _instances_of_pointer
