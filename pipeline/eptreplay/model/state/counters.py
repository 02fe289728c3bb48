"""Event counters of a guest in one instance: all of them 64-bit and cumulative, some by kind of access or by cause."""

from __future__ import annotations

import numpy as np

from eptreplay.model._numba.arrays import Field, record_type

# Dimensions: of `faults`, and of all that is counted by invalidation.
FAULT_KINDS = 3  # read, write, fetch
FAULT_CAUSES = 8  # CAUSE_* in vm_fault.py
INVALIDATION_CAUSES = 10  # CAUSE_* in invalidate.py
INVALIDATION_KINDS = 3  # KIND_* in invalidate.py: page, range, all

# Event counters.  In a kernel, `account(st)` has those of the guest on whose behalf the host works.
# fmt: off
COUNTERS_FIELDS = (
    #     name                     type      unit      owner                                            meaning
    Field("ipis",                  np.int64, "events", "pmap/invalidate",                               "interprocessor interrupts sent for PT_EPT invalidations, one per target CPU"),
    Field("x86_ipis",              np.int64, "events", "pmap/invalidate",                               "the same for PT_X86 shootdowns"),
    Field("promotions",            np.int64, "events", "pmap/superpage",                                "vm.pmap.pde.promotions: 512 PTEs became one PDE"),
    Field("demotions",             np.int64, "events", "pmap/superpage",                                "vm.pmap.pde.demotions: one PDE became 512 PTEs"),
    Field("mappings",              np.int64, "events", "pmap/pmap_copy pmap/pmap_enter pmap/pmap_enter_2m pmap/superpage", "vm.pmap.pde.mappings: 2 MB mappings made directly"),
    Field("p_failures",            np.int64, "events", "pmap/superpage",                                "vm.pmap.pde.p_failures: promotions that failed"),
    Field("inv_page",              np.int64, "events", "pmap/invalidate",                               "calls of pmap_invalidate_page"),
    Field("inv_range",             np.int64, "events", "pmap/invalidate",                               "calls of pmap_invalidate_range: always 0 under 10.0, where nobody calls it for a guest"),
    Field("inv_all",               np.int64, "events", "pmap/invalidate",                               "calls of pmap_invalidate_all"),
    Field("dirty_calls",           np.int64, "events", "access_loop/sweep page/vm_page",                "calls of vm_page_dirty"),
    Field("traps",                 np.int64, "events", "vm/hypervisor vm/vm_fault",                     "accesses that the walker refused, every attempt"),
    Field("pages_allocated",       np.int64, "pages",  "page/vm_page",                                  "pages given to an object, ever"),
    Field("faults",                np.int64, "events", "vm/vm_fault",                                   "refused accesses by kind and cause, see vm_fault.py", (FAULT_KINDS, FAULT_CAUSES)),
    Field("sweeps",                np.int64, "events", "access_loop/dirty_log access_loop/sweep",       "aging or harvest sweeps over all pages"),
    Field("ts_referenced",         np.int64, "events", "access_loop/sweep",                             "sum of what pmap_ts_referenced answered in aging sweeps"),
    Field("dirty_last_harvest",    np.int64, "pages",  "access_loop/dirty_log",                         "pages found dirty by the last harvest sweep"),
    Field("dirty_all_harvests",    np.int64, "pages",  "access_loop/dirty_log",                         "pages found dirty by all harvest sweeps"),
    Field("accessed_bits",         np.int64, "events", "access_loop/deferred_accessed cpu/walk",        "accessed bits that the CPU set in leaf entries"),
    Field("dirty_bits_4k",         np.int64, "events", "cpu/walk pmap/emulate",                         "dirty bits set in PTEs by an access, by the CPU or by emulation"),
    Field("dirty_bits_2m",         np.int64, "events", "cpu/walk",                                      "the same in PDEs of superpages"),
    Field("pml_entries",           np.int64, "events", "access_loop/dirty_log",                         "entries written to page-modification logs"),
    Field("pml_exits",             np.int64, "events", "access_loop/dirty_log",                         "exits because such a log was full"),
    Field("harvests",              np.int64, "events", "access_loop/dirty_log",                         "harvest sweeps"),
    Field("harvest_demotions",     np.int64, "events", "access_loop/dirty_log",                         "demotions during harvest sweeps"),
    Field("harvest_invalidations", np.int64, "events", "access_loop/dirty_log",                         "calls of pmap_invalidate_* during them"),
    Field("harvest_ipis",          np.int64, "events", "access_loop/dirty_log",                         "IPIs during them, for both formats"),
    Field("refaults",              np.int64, "events", "access_loop/dirty_log",                         "refused accesses to pages that a harvest made clean, until the next write"),
    Field("repromotions",          np.int64, "events", "access_loop/dirty_log",                         "promotions of superpages that a harvest demoted"),
    Field("invalidations",         np.int64, "events", "pmap/invalidate",                               "invalidations of the guest's translations by cause and kind", (INVALIDATION_CAUSES, INVALIDATION_KINDS)),
    Field("ipis_by_cause",         np.int64, "events", "pmap/invalidate",                               "`ipis` by cause; each makes a vCPU leave the guest", INVALIDATION_CAUSES),
    Field("x86_ipis_by_cause",     np.int64, "events", "pmap/invalidate",                               "`x86_ipis` by cause", INVALIDATION_CAUSES),
    Field("ipis_saved",            np.int64, "events", "pmap/invalidate",                               "IPIs not sent: the vCPU was not in the guest", INVALIDATION_CAUSES),
    Field("invepts",               np.int64, "events", "cpu/vmm pmap/invalidate",                       "entries that found a new generation, by its last cause", INVALIDATION_CAUSES),
    Field("zero_fills",            np.int64, "pages",  "vm/vm_fault",                                   "pages given to the guest empty"),
    Field("zeroed_before",         np.int64, "pages",  "vm/vm_fault",                                   "those of them whose frame was all zero already"),
    Field("swap_ins",              np.int64, "pages",  "vm/vm_fault",                                   "pages read back from swap"),
    Field("soft_faults",           np.int64, "events", "vm/vm_fault",                                   "faults on pages that were in memory"),
    Field("soft_maps",             np.int64, "events", "vm/vm_fault",                                   "faults that mapped 2 MB at once (HOST.fault_2m)"),
    Field("soft_fails",            np.int64, "events", "vm/vm_fault",                                   "faults that could have, but for the 2m_x rule"),
    Field("soft_fail_reads",       np.int64, "events", "vm/vm_fault",                                   "those of them that were reads or fetches, and dirtied the page all the same"),
    Field("reactivated",           np.int64, "events", "vm/vm_pageout",                                 "inactive pages that turned out to be used"),
    Field("deactivated",           np.int64, "events", "vm/vm_pageout",                                 "active pages that went to the inactive queue"),
    Field("freed_clean",           np.int64, "pages",  "vm/vm_pageout",                                 "pages freed without a copy in swap: they are zero again at the next use"),
    Field("cached",                np.int64, "pages",  "vm/vm_pageout",                                 "pages freed with a copy in swap"),
    Field("try_to_cache",          np.int64, "pages",  "vm/vm_pageout",                                 "pages that were to be freed right after they were written to swap"),
    Field("pageouts",              np.int64, "events", "vm/vm_pageout",                                 "writes to swap"),
    Field("laundered",             np.int64, "pages",  "vm/vm_pageout",                                 "pages written to swap"),
    Field("unswapped",             np.int64, "events", "vm/vm_object",                                  "copies in swap that a write made worthless"),
    Field("swap_copies",           np.int64, "pages",  "vm/vm_object",                                  "guest pages that have a copy in swap now"),
    Field("host_ipis",             np.int64, "events", "pmap/invalidate",                               "TLB shootdowns of the hypervisor process's own mapping, one per CPU"),
    Field("host_accesses",         np.int64, "pages",  "vm/hypervisor",                                 "pages that the hypervisor process touched through its own mapping"),
    Field("host_faults",           np.int64, "events", "vm/hypervisor",                                 "those of them that were not in its mapping"),
    Field("holds",                 np.int64, "events", "vm/hypervisor",                                 "calls of vm_gpa_hold"),
    Field("releases",              np.int64, "events", "vm/hypervisor",                                 "calls of vm_gpa_release"),
    Field("held",                  np.int64, "events", "vm/hypervisor",                                 "holds that were not released yet"),
    Field("denied",                np.int64, "events", "vm/sg_pager vm/vm_fault",                       "accesses that the guest's map entry does not allow"),
    Field("dma_reads",             np.int64, "pages",  "vm/hypervisor",                                 "pages that a device read"),
    Field("dma_writes",            np.int64, "pages",  "vm/hypervisor",                                 "pages that a device wrote"),
    Field("dma_pages",             np.int64, "pages",  "vm/hypervisor",                                 "distinct pages that a device wrote"),
    Field("v_wired",               np.int64, "pages",  "vm/vm_wire",                                    "pages of the guest that are wired now"),
    Field("v_resident",            np.int64, "pages",  "vm/vm_object",                                  "frames that hold pages of the guest now"),
    Field("reservations",          np.int64, "events", "page/vm_reserv",                                "2 MB blocks of frames that were reserved"),
    Field("reservations_refused",  np.int64, "pages",  "page/vm_reserv",                                "pages given single frames where a reservation could have served"),
    Field("reservations_broken",   np.int64, "events", "page/vm_reserv",                                "reservations that were broken up because frames were scarce"),
    Field("reservations_freed",    np.int64, "events", "page/vm_reserv",                                "reservations that ended with their last page"),
    Field("pages_reserved",        np.int64, "pages",  "page/vm_reserv",                                "pages that got a frame of a reservation"),
    Field("promotions_lost",       np.int64, "events", "page/vm_reserv",                                "2 MB blocks that became whole in single frames: no superpage"),
)
# fmt: on

COUNTERS = record_type(COUNTERS_FIELDS)
