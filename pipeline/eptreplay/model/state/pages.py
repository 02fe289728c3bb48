"""Physical pages: struct vm_page, in two records, of which most of the model looks at the first only."""

from __future__ import annotations

import numpy as np

from eptreplay.model._numba.arrays import Field, record_type

# struct vm_page: one physical 4 KB page.
# fmt: off
VM_PAGE_FIELDS = (
    #     name         type      unit     owner                                                         meaning
    Field("pv_last",   np.int32, "",      "pmap/pmap_page pmap/pv",                                     "tail of the list of 4 KB mappings, a pv"),
    Field("pindex",    np.int32, "",      "vm/vm_object",                                               "the guest page it holds, in flat numbers (State.object)"),
    Field("dirty",     np.uint8, "",      "access_loop/dirty_log page/vm_page vm/vm_map vm/vm_pageout", "the machine-independent dirty field: 0 clean, 1 dirty"),
    Field("aflags",    np.uint8, "flags", "page/vm_page pmap/* vm/vm_map vm/vm_pageout",                "PGA_* flags, owned by the pmap"),
    Field("oflags",    np.uint8, "",      "page/vm_page pmap/ptp vm/sg_pager",                          "PG_FICTITIOUS, VPO_UNMANAGED, UNCACHEABLE and PG_ZERO"),
    Field("allocated", np.uint8, "flag",  "page/vm_page",                                               "1: it belongs to an object"),
)
# fmt: on

VM_PAGE = record_type(VM_PAGE_FIELDS)

PGA_WRITEABLE = np.uint8(0x01)  # some mapping may be writable

PGA_REFERENCED = np.uint8(0x02)  # some mapping that is gone had been used

PG_FICTITIOUS = np.uint8(0x01)  # device memory: no pv table, no reservation

VPO_UNMANAGED = np.uint8(0x02)  # mappings of it are not tracked

UNCACHEABLE = np.uint8(0x04)  # md.pat_mode is VM_MEMATTR_UNCACHEABLE, else VM_MEMATTR_WRITE_BACK

PG_ZERO = np.uint8(0x08)  # free, and all zero already: it was a page-table page without a valid entry


# The rest of struct vm_page: its place in the queues of the page daemon, and what keeps it in memory.  It is kept apart since
# most of the model never looks at it; without a page daemon it is not even written.
# fmt: off
VM_PAGE_QUEUE_FIELDS = (
    #     name              type       unit owner                                        meaning
    Field("q_next",         np.int32,  "", "page/vm_pagequeue",                         "plinks.q: the page behind it in its queue or list, see vm_pagequeue.py"),
    Field("q_prev",         np.int32,  "", "page/vm_pagequeue",                         "the page before it"),
    Field("last_reference", np.int32,  "", "page/vm_pagequeue",                         "the idle scan (number, from 1) after which it was last known to be used"),
    Field("wire_count",     np.int32,  "", "vm/vm_wire",                                "reasons why it must stay in memory and on no queue"),
    Field("hold_count",     np.uint16, "", "vm/hypervisor",                             "reasons why it must not be freed (vm_page_hold)"),
    Field("queue",          np.uint8,  "", "page/vm_pagequeue",                         "PQ_NONE, PQ_INACTIVE, PQ_ACTIVE or PQ_HELD"),
    Field("act_count",      np.uint8,  "", "page/vm_pagequeue vm/vm_map vm/vm_pageout", "how much it was used lately, from 0 to a little over ACT_MAX"),
    Field("seen_once",      np.uint8,  "", "page/vm_pagequeue vm/vm_pageout",           "PG_WINATCFLS: dirty, and passed over once on the inactive queue"),
    Field("busy",           np.uint8,  "", "page/vm_pagequeue",                         "a fault is handling it"),
    Field("order",          np.uint8,  "", "page/vm_phys",                              "1 + the order of the run of free frames that it begins, see vm_phys.py; 0: it begins none"),
    Field("pool",           np.uint8,  "", "page/vm_phys",                              "VM_FREEPOOL_*: of a frame in use alone, and of the first of a free run"),
)
# fmt: on

VM_PAGE_QUEUE = record_type(VM_PAGE_QUEUE_FIELDS)
