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
)
# fmt: on

OBJECT_PAGE = record_type(OBJECT_PAGE_FIELDS)

GONE = -1

# A 2 MB-aligned block of guest memory, as far as the choice of frames is concerned (vm_reserv.py).
# fmt: off
OBJECT_BLOCK_FIELDS = (
    #     name           type      unit          owner           meaning
    Field("reservation", np.int32, "number + 1", "vm/vm_reserv", "1 + the block of frames that is reserved for it, 0: none"),
    Field("reservable",  np.int16, "pages",      "instances",    "pages from its beginning that a reservation can serve"),
    Field("singles",     np.int16, "pages",      "vm/vm_reserv", "pages of it that are in memory in frames outside a reservation"),
)
# fmt: on

OBJECT_BLOCK = record_type(OBJECT_BLOCK_FIELDS)

# A 2 MB-aligned block of frames: struct vm_reserv.
# fmt: off
RESERV_FIELDS = (
    #     name            type      unit          owner                                     meaning
    Field("object_block", np.int32, "number + 1", "vm/vm_reserv",                           "1 + the flat block of guest memory that it is reserved for, 0: none"),
    Field("rv_next",      np.int32, "",           "vm/vm_reserv",                           "the next in the list of whole free blocks, or of reservations with free pages"),
    Field("rv_prev",      np.int32, "",           "vm/vm_reserv",                           "the one before it"),
    Field("singly",       np.uint8, "flag",       "vm/vm_reserv",                           "1: its frames are given one by one, and it can hold no superpage"),
    Field("unusable",     np.uint8, "flag",       "vm/vm_reserv",                           "1: its frames are given one by one for good"),
    Field("listed",       np.uint8, "flag",       "statistics/close_interval vm/vm_reserv", "1: it is on a list"),
    Field("free",         np.int16, "pages",      "vm/vm_reserv",                           "frames of it that are free, while they are given one by one"),
)
# fmt: on

RESERV = record_type(RESERV_FIELDS)
