"""The state of one simulated host: page tables, physical pages, pv lists, counters.

All of it lives in flat arrays, which a kernel takes as one structure, and nothing is allocated while
a trace is replayed.  Records are numpy structured types and read like C structs: `m.dirty`, `pmap.pm_eptgen`.

Three kinds of number point from one array into another:

* a **page** is the index of a physical data page in `page`; its physical address is `pbase + 4096 * page`;
* a **slot** is the index of an entry in `pt`; slots 512 t to 512 t + 511 are page-table page t, which has
  physical address `PTP_BASE + 4096 * t`.  Where the kernel has a pointer to an entry, the model has a slot,
  and -1 where it has NULL;
* a **pv** is the index of a pv entry in `pv`; 0 where the kernel has NULL.

Zero means empty everywhere, so a new state takes no memory until it is touched: `numpy.zeros` maps
pages lazily.  Several states that replay the same trace under different CPU profiles are stacked along a
leading axis; `instance` takes one of them out, and `instances_in` counts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import config, kernel
from eptreplay.model._numba.arrays import allocated, array, arrays_in, places_of, structure_of_arrays
from eptreplay.model._numba.pointer import row, rows
from eptreplay.model._numba.types import Int, Record, Records
from eptreplay.model.state import pte
from eptreplay.model.state.address_space import _NPCM, _NPCPV, PMAP, PTP, PV_CHUNK, PV_ENTRY
from eptreplay.model.state.counters import COUNTERS
from eptreplay.model.state.guests import GUEST, VCPU
from eptreplay.model.state.host import HOST, VM
from eptreplay.model.state.objects import OBJECT_BLOCK, OBJECT_PAGE, RESERV, VM_OBJECT
from eptreplay.model.state.pages import VM_PAGE, VM_PAGE_QUEUE

if TYPE_CHECKING:
    from collections.abc import Mapping


VM_NFREEPOOL = 3  # pools of free frames (vm_phys.py)
VM_NFREEORDER = 13  # orders of runs of free frames
EXTRA_PAGES = (
    4 + VM_NFREEPOOL * VM_NFREEORDER
)  # in State.pageq: the heads of three queues and of the free lists, and a marker
BLOCKS_BESIDE = 3  # blocks that an object can have beside whole 512s of its pages, wherever its blocks begin
EXTRA_RESERVATIONS = 1  # in State.rv: the head of the queue


# fmt: off
@structure_of_arrays
class State:
    """One simulated host, or several, stacked.

    In compiled code it is a pointer to a row of `places` (pointer.py), that of the first instance; `instance` returns another's.
    """

    pmap: Records = array(PMAP, "pmaps", meaning="address spaces")
    page: Records = array(VM_PAGE, "frames", meaning="physical pages that hold data")
    pv_table: NDArray[np.int32] = array(
        np.int32, "frame_blocks", unit="pv", owner="pmap/pmap_page pmap/pv",
        meaning="tail of the list of 2 MB mappings of that block",
    )
    reserv: NDArray[np.int16] = array(
        np.int16, "frame_blocks", unit="pages", owner="page/vm_page",
        meaning="pages of that reservation that are allocated (vm_reserv popcnt)",
    )
    pv: Records = array(PV_ENTRY, "pv_entries", meaning="pv entries, chunk by chunk; those of chunk 0 are never used")
    pvc: Records = array(PV_CHUNK, "pv_chunks", meaning="pv chunks; 0 is never used")
    pc_map: NDArray[np.uint64] = array(
        np.uint64, "pv_chunk_words", unit="flags", owner="pmap/pv",
        meaning="_NPCM words per pv chunk: the entries of it that are free, a bit each",
    )
    pt: NDArray[np.uint64] = array(
        np.uint64, "entries", unit="entry", owner="pmap/entry",
        meaning="the entries themselves, 512 per page-table page",
    )
    pm_root: NDArray[np.int32] = array(
        np.int32, "entries", unit="page-table page", owner="pmap/ptp",
        meaning="at the slot of a superpage's PDE, the page-table page kept for demotion",
    )
    ptp: Records = array(PTP, "page_tables", meaning="page-table pages; 0 is never used")
    host: Records = array(HOST, "one", meaning="pools, and whom events are counted for")
    cnt: Records = array(COUNTERS, "guests", meaning="event counters")
    vcpu: Records = array(VCPU, "vcpus", meaning="vCPUs, in flat numbers")
    guests: Records = array(GUEST, "guests", meaning="guests")
    pageq: Records = array(
        VM_PAGE_QUEUE, "queue_places", meaning="one place per frame; the heads of lists and the page daemon's marker follow"
    )
    object: Records = array(OBJECT_PAGE, "guest_pages", meaning="guest pages, in flat numbers")
    ts_dirty: NDArray[np.uint8] = array(
        np.uint8, "guest_pages", unit="flag", owner="access_loop/sweep",
        meaning="1: the last aging sweep that visited the page dirtied it, and so will one that finds its entry as it left it",
    )
    objects: Records = array(VM_OBJECT, "objects", meaning="the vm_objects of all guests, in the order of flat pages")
    blocks: Records = array(OBJECT_BLOCK, "guest_blocks", meaning="blocks of 512 guest pages, object by object")
    rv: Records = array(RESERV, "reservations", meaning="one per block of frames; the head of the queue follows")
    swblk: NDArray[np.int32] = array(
        np.int32, "guest_pages", unit="swap slot", owner="vm/vm_object",
        meaning="where the swap device holds a copy, 0: nowhere",
    )
    swap: NDArray[np.int32] = array(
        np.int32, "swap_slots", unit="number + 1", owner="vm/vm_object",
        meaning="1 + the flat guest page whose copy a slot holds, or the next free slot",
    )
    vm: Records = array(VM, "one", meaning="counts and limits of the host's memory")
    log: NDArray[np.int64] = array(
        np.int64, "log_words", owner="vm/event_log", meaning="what the host did, see event_log.py; of length 0: nothing is logged"
    )
    fast_path: NDArray[np.uint8] = array(
        np.uint8, "fast_path_bytes", unit="flags", shared=True,
        owner="access_loop/* instances pmap/entry statistics/* vm/vm_map",
        meaning="which accesses change nothing, see fast_path.py",
    )
    places: NDArray[np.int64]
# fmt: on


class Room(NamedTuple):
    """How much a state has room for; what is taken from pools never grows beyond it.

    Args:
        pmaps: address spaces.
        pages: physical data pages; rounded up to whole reservations.
        mappings: the most managed mappings that can exist at once.
        tables: the most page-table pages that can exist at once, roots included.
        guests: guests.
        vcpus: vCPUs of all guests.
        flat_pages: guest pages of all guests, as State.object numbers them.
        log_words: words of State.log.
        objects: vm_objects of all guests.
    """

    pmaps: int
    pages: int
    mappings: int
    tables: int
    guests: int = 1
    vcpus: int = 1
    flat_pages: int = 0
    log_words: int = 0
    objects: int = 1

    def lengths(self) -> dict[str, int]:
        """Return the lengths of the axes of State's arrays."""
        blocks = -(-self.pages // pte.NPTEPG)
        # A pmap takes a new pv chunk when all its chunks are full, so every pmap has less than one whole chunk to spare.
        chunks = self.mappings // _NPCPV + self.pmaps + 1
        return {
            "one": 1,
            "pmaps": self.pmaps,
            "frames": blocks * pte.NPTEPG,
            "frame_blocks": blocks,
            "pv_entries": chunks * _NPCPV,
            "pv_chunks": chunks,
            "pv_chunk_words": chunks * _NPCM,
            "entries": (self.tables + 1) * pte.NPTEPG,
            "page_tables": self.tables + 1,
            "guests": self.guests,
            "vcpus": self.vcpus,
            "queue_places": blocks * pte.NPTEPG + EXTRA_PAGES,
            "guest_pages": self.flat_pages,
            "objects": self.objects,
            "guest_blocks": self.flat_pages // pte.NPTEPG + BLOCKS_BESIDE * self.objects,
            "reservations": blocks + EXTRA_RESERVATIONS,
            "swap_slots": self.flat_pages + 1,
            "log_words": self.log_words,
        }


def new_states(instances: int, room: Room, fast_path: NDArray[np.uint8], pbase: int) -> State:
    """Return empty states stacked along a leading axis of length `instances`.

    Args:
        instances: how many states.
        room: how much each has room for.
        fast_path: shape [guest pages + 1], see State; all of them share it.
        pbase: physical address of page 0, bytes, a multiple of 2 MB.
    """
    arrays = allocated(State, room.lengths(), {"fast_path": fast_path}, stack=(instances,))
    arrays["host"].pbase = pbase
    arrays["host"].pc_used = 1
    arrays["host"].ptp_used = 1
    arrays["vm"].swap_used = 1
    return stacked(arrays)


def stacked(arrays: Mapping[str, Any]) -> State:
    """Return a State of arrays whose first axis is the instance; those that are shared have no such axis."""
    declared = arrays_in(State)
    rows = [
        [arrays[name] if each.shared else arrays[name][number] for name, each in declared.items()]
        for number in range(len(arrays["host"]))
    ]
    return State(**{name: arrays[name] for name in declared}, places=places_of(State, rows))


def single(states: State) -> State:
    """Return the first of several stacked states, as Python sees one: views of the same memory."""
    return _arrays_of(states, 0, 1)


def _arrays_of(states: State, number: Int, end: Int | None) -> State:
    """Return the arrays of one of several stacked states, with the places of those from it to before `end`."""
    arrays = {
        name: getattr(states, name) if each.shared else getattr(states, name)[number]
        for name, each in arrays_in(State).items()
    }
    return State(**arrays, places=states.places[number:end])


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
