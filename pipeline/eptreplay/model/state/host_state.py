"""The state of a simulated host, continued: what vm_page, vm_object, vm_reserv, vm_pageout and vmm know.

As in state.py, records are numpy structured types and read like C structs, and everything that is zero is empty.
"""

from __future__ import annotations

import numpy as np

# The rest of struct vm_page: its place in the page daemon's queues, and what keeps it in memory.  Kept apart,
# since most of the model never looks at it; without a page daemon it is not even written.
VM_PAGE_QUEUE = np.dtype(
    [
        ("q_next", np.int32),  # plinks.q: the page behind it in its queue, see page_queue.py
        ("q_prev", np.int32),  # the page before it
        (
            "last_reference",
            np.int32,
        ),  # the idle scan (number, from 1) after which it was last known to be used
        ("wire_count", np.int32),  # reasons why it must stay in memory and on no queue
        ("hold_count", np.uint16),  # reasons why it must not be freed (vm_page_hold)
        ("queue", np.uint8),  # PQ_NONE, PQ_INACTIVE or PQ_ACTIVE
        ("act_count", np.uint8),  # how much used it was lately, 0 to ACT_MAX and a bit
        ("seen_once", np.uint8),  # PG_WINATCFLS: dirty, and passed over once on the inactive queue
        ("busy", np.uint8),  # a fault is handling it
    ],
    align=True,
)

# A page of guest memory, in memory or not: an entry of the guest's vm_object.  Of a page of a BAR only
# `taken` and `absent` are used.
OBJECT_PAGE = np.dtype(
    [
        ("frame", np.int32),  # 1 + the page that holds it; 0: never used; GONE: was in memory
        ("taken", np.uint8),  # VM_PROT_* rights that its map entry could give, but does not
        ("absent", np.uint8),  # 1: no map entry: the page was taken from the guest
        ("dma_written", np.uint8),  # 1: a device wrote it
    ],
    align=True,
)
GONE = -1

# A 2 MB-aligned block of guest memory, as far as the choice of frames is concerned (vm_reserv.py).
OBJECT_BLOCK = np.dtype(
    [
        ("reservation", np.int32),  # 1 + the block of frames that is reserved for it, 0: none
        ("reservable", np.int16),  # pages from its begin that a reservation can serve
        ("singles", np.int16),  # pages of it that are in memory in frames outside a reservation
    ],
    align=True,
)

# A 2 MB-aligned block of frames: struct vm_reserv.
RESERV = np.dtype(
    [
        ("object_block", np.int32),  # 1 + the flat block of guest memory that it is reserved for, 0: none
        (
            "rv_next",
            np.int32,
        ),  # the next in the list of whole free blocks, or of reservations with free pages
        ("rv_prev", np.int32),  # the one before it
        ("singly", np.uint8),  # 1: its frames are given one by one, and it can hold no superpage
        ("unusable", np.uint8),  # 1: and so for good
        ("listed", np.uint8),  # 1: it is on a list
        ("free", np.int16),  # frames of it that are free, while they are given one by one
    ],
    align=True,
)

HOST_CPUS = 256  # host CPUs that vCPUs can run on
BARS_MOST = 64  # BARs of all devices of a guest

# A guest as the host sees it: the stretch of the flat page space that is its memory, and the BARs of devices that
# were passed through to it, in the order of `guest.toml`.
GUEST = np.dtype(
    [
        ("begin", np.int64),  # flat number of its page 0, a multiple of 512
        ("end", np.int64),  # flat number after its last page
        ("first_frame", np.int64),  # with identity placement: the frame of its page 0
        ("tracked", np.int64),  # 1: it is known when its vCPUs run; 0: all of them always do
        ("iommu_pages", np.int64),  # pages that its IOMMU domain maps, 0: it has no domain
        ("first_vcpu", np.int64),  # flat number of its vCPU 0
        ("vcpus", np.int64),  # virtual CPUs
        ("eptgen", np.int64, HOST_CPUS),  # the generation that each host CPU saw last (vmx eptgen[])
        ("bars", np.int64),  # BARs it has, at most BARS_MOST
        ("bar_page", np.int64, BARS_MOST),  # guest page where each BAR begins
        ("bar_pages", np.int64, BARS_MOST),  # its pages
        ("bar_flat", np.int64, BARS_MOST),  # flat number of its first page, beyond all memory
        ("bar_frame", np.int64, BARS_MOST),  # the page of State.page that stands for its first page
        ("bar_accesses", np.int64, (BARS_MOST, 3)),  # reads, writes, fetches
        ("bar_faults", np.int64, BARS_MOST),  # violations that vm_fault resolved
    ],
    align=True,
)

# A virtual CPU.
VCPU = np.dtype(
    [
        ("hostcpu", np.int32),  # the host CPU it runs on, or ran on last
        ("running", np.int32),  # 1: it is in the guest, or about to be
    ],
    align=True,
)
CLUSTER_MOST = 16  # pages written to swap at once, at most (vm_pageout_page_count)

# Counts, limits and statistics of the host's memory: struct vmmeter, struct vm_domain.  All counts in pages.
VM = np.dtype(
    [
        (
            "identity",
            np.int64,
        ),  # 1: every guest page has a frame for good; 0: reservations choose (vm_reserv.py)
        ("page_daemon", np.int64),  # 1: there is one; 0: pages are on no queue, and stay in memory
        ("v_page_count", np.int64),  # frames of the host
        ("v_free_count", np.int64),  # frames that hold nothing
        ("v_wire_count", np.int64),  # frames that hold wired pages, page-table pages among them if they count
        ("v_active_count", np.int64),  # pages on the active queue
        ("v_inactive_count", np.int64),  # pages on the inactive queue
        ("v_free_reserved", np.int64),  # frames for the pageout daemon itself
        ("v_free_severe", np.int64),  # below: an allocation waits for the page daemon
        ("v_free_min", np.int64),  # below: the page daemon goes on
        ("v_free_target", np.int64),  # what a scan of the page daemon tries to reach
        ("v_inactive_target", np.int64),  # inactive pages it tries to have
        ("vm_pageout_wakeup_thresh", np.int64),  # below: an allocation wakes the page daemon
        ("vm_pageout_page_count", np.int64),  # most pages written to swap at once
        ("vm_pageout_update_period", np.int64),  # idle scans in which every active page is visited once
        ("vm_pages_needed", np.int64),  # 1: the page daemon has to go on
        ("out_of_memory", np.int64),  # 1: it could free nothing, and the state is worthless
        ("page_tables_count", np.int64),  # 1: page-table pages take frames, too
        ("v_pdpages", np.int64),  # pages visited by the page daemon
        ("v_pdwakeups", np.int64),  # scans but for idle ones
        ("v_tfree", np.int64),  # pages freed
        ("scans", np.int64),  # scans of any kind
        ("scans_idle", np.int64),  # scans by pass: 0
        ("scans_pass1", np.int64),  # 1
        ("scans_pass2up", np.int64),  # 2 and more
        ("max_pass", np.int64),  # the highest pass
        ("swap_free", np.int64),  # first free swap slot, 0: none
        ("swap_used", np.int64),  # swap slots that were ever taken
        ("dnweight", np.int64),  # pages advised about so far (vm_page_advise)
        ("log_used", np.int64),  # words written to State.log
        ("clusters", np.int64, CLUSTER_MOST),  # writes to swap, by pages written
    ],
    align=True,
)
