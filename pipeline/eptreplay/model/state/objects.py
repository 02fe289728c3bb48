"""Guest memory as the host keeps it: pages and 2 MB blocks of vm_objects, and reservations of frames (struct vm_reserv)."""

from __future__ import annotations

import numpy as np

from eptreplay.model._numba.arrays import Field, record_type

# A guest page, resident or not: what the guest's vm_object and its map entry know of it.  Of a page of a BAR only `taken` and
# `absent` are used.
# fmt: off
OBJECT_PAGE_FIELDS = (
    #     name           type      unit          owner                      meaning
    Field("frame",       np.int32, "number + 1", "vm/vm_map vm/vm_object",  "1 + the frame that holds it; 0: never used; GONE: it was resident once"),
    Field("taken",       np.uint8, "",           "vm/hypervisor vm/vm_map", "VM_PROT_* rights that its map entry does not give, of those it could"),
    Field("absent",      np.uint8, "flag",       "vm/vm_map",               "1: no map entry: the page was taken from the guest"),
    Field("dma_written", np.uint8, "flag",       "vm/hypervisor",           "1: a device wrote it"),
    Field("wired",       np.uint8, "",           "vm/vm_wire",              "WIRED: its map entry is wired by the user (MAP_ENTRY_USER_WIRED); WIRING: it is about to be"),
)
# fmt: on

OBJECT_PAGE = record_type(OBJECT_PAGE_FIELDS)

GONE = -1

# struct vm_object, as far as the choice of frames is concerned (vm_reserv.py): one stretch of a guest's memory.
# fmt: off
VM_OBJECT_FIELDS = (
    #     name           type      unit     owner         meaning
    Field("begin",       np.int64, "",      "instances",  "flat number of its first page"),
    Field("end",         np.int64, "",      "instances",  "flat number after its last page"),
    Field("first_block", np.int64, "",      "instances",  "number of its first block in State.blocks"),
    Field("pg_color",    np.int32, "pages", "page/vm_reserv", "how far its blocks begin before multiples of 512 guest pages"),
    Field("colored",     np.int32, "flag",  "page/vm_reserv", "OBJ_COLORED: pg_color is decided, by the first fault"),
)
# fmt: on

VM_OBJECT = record_type(VM_OBJECT_FIELDS)

# A block of 512 pages of a vm_object that can have a reservation (vm_reserv.py).
# fmt: off
OBJECT_BLOCK_FIELDS = (
    #     name           type      unit          owner             meaning
    Field("reservation", np.int32, "number + 1", "page/vm_reserv", "1 + the block of frames that is reserved for it, 0: none"),
    Field("singles",     np.int16, "pages",      "page/vm_reserv", "pages of it that are in memory in frames outside a reservation"),
)
# fmt: on

OBJECT_BLOCK = record_type(OBJECT_BLOCK_FIELDS)

# A 2 MB-aligned block of frames: struct vm_reserv.
# fmt: off
RESERV_FIELDS = (
    #     name            type      unit          owner                                       meaning
    Field("object_block", np.int32, "number + 1", "page/vm_reserv",                           "1 + the block (State.blocks) that it is reserved for, 0: none"),
    Field("rv_next",      np.int32, "",           "page/vm_reserv",                           "the next in the queue of reservations with free pages"),
    Field("rv_prev",      np.int32, "",           "page/vm_reserv",                           "the one before it"),
    Field("singly",       np.uint8, "flag",       "page/vm_reserv",                           "1: it is no reservation, so it can hold no superpage"),
    Field("listed",       np.uint8, "flag",       "page/vm_reserv statistics/close_interval", "1: it is on the queue (inpartpopq)"),
)
# fmt: on

RESERV = record_type(RESERV_FIELDS)
