"""The host: its pools, whom events are counted for, and the counts and limits of its memory."""

from __future__ import annotations

import numpy as np

from eptreplay.model._numba.arrays import Field, record_type

# The pools that pv entries and page-table pages come from, where physical memory begins, and for whom and why the host
# works at the moment: counters are kept by guest and by cause.
# fmt: off
HOST_FIELDS = (
    #     name         type       unit     owner                                                          meaning
    Field("guest",     np.int32,  "",      "access_loop/dirty_log access_loop/sweep vm/*",                "the guest that events are counted for"),
    Field("vcpu",      np.int32,  "",      "access_loop/dirty_log vm/sg_pager",                           "the vCPU that makes the access, a flat number"),
    Field("cause",     np.int32,  "",      "access_loop/dirty_log access_loop/sweep pmap/superpage vm/*", "why invalidations happen now, CAUSE_* in invalidate.py"),
    Field("release",   np.int32,  "",      "instances",                                                   "the FreeBSD release whose rules hold, FREEBSD_* in releases.py"),
    Field("allow_2m_x_ept", np.int32, "flag", "instances pmap/release",                                             "vm.pmap.allow_2m_x_ept; the name says the contrary of what it does: 1 forbids"),
    Field("fault_2m",  np.int32,  "flag",  "instances",                                                   "1: vm_fault maps 2 MB at once where it can (vm_fault_soft_fast)"),
    Field("asserted",  np.int32,  "",      "pmap/release",                                                "what the kernel asserts never to occur and did, ASSERT_* in releases.py; 0: nothing"),
    Field("pbase",     np.uint64, "bytes", "state/state",                                                 "physical address of page 0, a multiple of 2 MB"),
    Field("pc_free",   np.int32,  "",      "pmap/pv",                                                     "first free pv chunk, 0: none"),
    Field("pc_used",   np.int32,  "",      "pmap/pv state/state",                                         "pv chunks that were ever taken"),
    Field("ptp_free",  np.int32,  "",      "pmap/ptp",                                                    "first free page-table page, 0: none"),
    Field("ptp_delayed", np.int32, "",     "pmap/ptp",                                                    "the page-table page that became empty last and is not free yet, 0: none"),
    Field("ptp_used",  np.int32,  "",      "pmap/ptp state/state",                                        "page-table pages that were ever taken"),
    Field("refused",   np.int32,  "flag",  "access_loop/slow_path vm/vm_fault",                           "1: an access was denied, so the next one of its kind is no no-op"),
    Field("disturbed", np.int32,  "flag",  "access_loop/slow_path pmap/entry",                            "1: some page has lost NO_OP bits since the access loop cleared this flag"),
    Field("exhausted", np.int32,  "flag",  "pmap/ptp pmap/pv",                                            "1: a pool was too small and the state is worthless"),
)
# fmt: on

HOST = record_type(HOST_FIELDS)


CLUSTER_MOST = 16  # pages written to swap at once, at most (vm_pageout_page_count)

# Counts, limits and statistics of the host's memory: struct vmmeter, struct vm_domain.  All counts in pages.
# fmt: off
VM_FIELDS = (
    #     name                        type      unit     owner                        meaning
    Field("identity",                 np.int64, "flag",  "vm/vm_limits",              "1: every guest page has a frame for good; 0: reservations choose (vm_reserv.py)"),
    Field("page_daemon",              np.int64, "flag",  "vm/vm_limits",              "1: there is one; 0: pages are on no queue, and stay in memory"),
    Field("v_page_count",             np.int64, "pages", "vm/vm_limits",              "frames of the host"),
    Field("v_free_count",             np.int64, "pages", "page/vm_phys vm/vm_limits", "frames that hold nothing, those of reservations included"),
    Field("v_wire_count",             np.int64, "pages", "page/vm_phys page/vm_reserv vm/vm_wire", "frames that hold wired pages, the kernel's own among them if they count"),
    Field("kernel_pages",             np.int64, "pages", "page/vm_reserv",            "the kernel's own pages: page-table pages and pv chunks, whether they take frames or not"),
    Field("host_offset",              np.int64, "pages", "vm/vm_limits",              "how far the hypervisor process maps a guest's page 0 behind a multiple of 2 MB"),
    Field("v_active_count",           np.int64, "pages", "page/vm_pagequeue",         "pages on the active queue"),
    Field("v_inactive_count",         np.int64, "pages", "page/vm_pagequeue",         "pages on the inactive queue"),
    Field("v_free_reserved",          np.int64, "pages", "vm/vm_limits",              "frames for the pageout daemon itself"),
    Field("v_free_severe",            np.int64, "",      "vm/vm_limits",              "below: an allocation waits for the page daemon"),
    Field("v_free_min",               np.int64, "",      "vm/vm_limits",              "below: the page daemon goes on"),
    Field("v_free_target",            np.int64, "",      "vm/vm_limits",              "what a scan of the page daemon tries to reach"),
    Field("v_inactive_target",        np.int64, "pages", "vm/vm_limits",              "inactive pages it tries to have"),
    Field("vm_pageout_wakeup_thresh", np.int64, "",      "vm/vm_limits",              "below: an allocation wakes the page daemon"),
    Field("vm_pageout_page_count",    np.int64, "pages", "vm/vm_limits",              "most pages written to swap at once"),
    Field("vm_pageout_update_period", np.int64, "",      "vm/vm_limits",              "idle scans in which every active page is visited once"),
    Field("vm_pages_needed",          np.int64, "flag",  "page/vm_reserv vm/vm_pageout", "1: the page daemon has to go on"),
    Field("woken",                    np.int64, "flag",  "page/vm_reserv vm/vm_pageout", "1: a page of the kernel's own was taken below the wake-up threshold: the page daemon runs next"),
    Field("out_of_memory",            np.int64, "flag",  "page/vm_reserv vm/vm_fault vm/vm_pageout", "1: it could free nothing, and the state is worthless"),
    Field("page_tables_count",        np.int64, "flag",  "vm/vm_limits",              "1: the kernel's own pages (page-table pages, pv chunks) take frames, too"),
    Field("v_pdpages",                np.int64, "pages", "vm/vm_pageout",             "pages visited by the page daemon"),
    Field("v_pdwakeups",              np.int64, "",      "vm/vm_pageout",             "scans but for idle ones"),
    Field("v_tfree",                  np.int64, "pages", "vm/vm_pageout",             "pages freed"),
    Field("scans",                    np.int64, "",      "vm/vm_pageout",             "scans of any kind"),
    Field("scans_idle",               np.int64, "",      "vm/vm_pageout",             "scans by pass: 0"),
    Field("scans_pass1",              np.int64, "",      "vm/vm_pageout",             "1"),
    Field("scans_pass2up",            np.int64, "",      "vm/vm_pageout",             "2 and more"),
    Field("max_pass",                 np.int64, "",      "vm/vm_pageout",             "the highest pass"),
    Field("swap_free",                np.int64, "",      "vm/vm_object",              "first free swap slot, 0: none"),
    Field("swap_used",                np.int64, "",      "state/state vm/vm_object",  "swap slots that were ever taken"),
    Field("dnweight",                 np.int64, "pages", "vm/vm_map",                 "pages advised about so far (vm_page_advise)"),
    Field("log_used",                 np.int64, "",      "vm/event_log",              "words written to State.log"),
    Field("clusters",                 np.int64, "",      "vm/vm_pageout",             "writes to swap, by pages written", CLUSTER_MOST),
)
# fmt: on

VM = record_type(VM_FIELDS)
