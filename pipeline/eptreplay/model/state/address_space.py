"""Address spaces: struct pmap, the pv entries that lead from a page to its mappings, and page-table pages."""

from __future__ import annotations

import numpy as np

from eptreplay.model._numba.arrays import Field, record_type

# struct pmap: one address space.
#
# The facts of a pmap that decide what rules do stand here, and only here: pmap_pinit_type works them out of pm_type,
# pm_flags and HOST.release, and they never change after, but for PG_NO_2M, which follows a sysctl.  The masks are what the kernel computes at every use (pmap_valid_bit and its kin).
# Whatever differs between formats, CPUs or releases belongs into one of these fields, so that rules need not ask for
# the type or the flags again.
# fmt: off
PMAP_FIELDS = (
    #     name                  type       unit     owner                              meaning
    Field("pm_id",              np.int32,  "",      "pmap/pmap",                       "this pmap's number in State.pmap"),
    Field("pm_type",            np.int32,  "",      "pmap/pmap",                       "PT_X86, PT_EPT or PT_RVI"),
    Field("pm_flags",           np.int32,  "flags", "pmap/pmap",                       "PMAP_* flags"),
    Field("pm_pml4",            np.int32,  "",      "pmap/pmap",                       "page-table page that is the root"),
    Field("pm_nested",          np.int32,  "flag",  "pmap/pmap",                       "1: PT_EPT or PT_RVI: invalidations make generations (pm_eptgen), and refused accesses may be emulated"),
    Field("pm_emulate_ad_bits", np.int32,  "flag",  "pmap/pmap",                       "1: software sets accessed and dirty bits (pmap_emulate_ad_bits)"),
    Field("pm_ps_enabled",      np.int32,  "flag",  "pmap/pmap",                       "1: it may hold superpages (pmap_ps_enabled)"),
    Field("pm_process",         np.int32,  "flag",  "vm/hypervisor",                   "1: the hypervisor process's own address space, not a guest's"),
    Field("PG_V",               np.uint64, "mask",  "pmap/pmap",                       "valid"),
    Field("PG_RW",              np.uint64, "mask",  "pmap/pmap",                       "writable"),
    Field("PG_A",               np.uint64, "mask",  "pmap/pmap",                       "accessed"),
    Field("PG_M",               np.uint64, "mask",  "pmap/pmap",                       "modified"),
    Field("PG_G",               np.uint64, "mask",  "pmap/pmap",                       "global (none in EPT)"),
    Field("PG_CACHE_WB",        np.uint64, "mask",  "pmap/pmap",                       "bits of a write-back leaf of either size"),
    Field("PG_CACHE_UC",        np.uint64, "mask",  "pmap/pmap",                       "bits of an uncacheable PTE"),
    Field("PG_PTE_PROMOTE",     np.uint64, "mask",  "pmap/pmap pmap/release",          "promotion rule: the bits in which 512 PTEs must agree to become one PDE (pmap_promote_pde)"),
    Field("PG_KEEPS_A",         np.uint64, "mask",  "pmap/pmap",                       "a leaf with any of these cannot lose PG_A (safe_to_clear_referenced)"),
    Field("PG_READ",            np.uint64, "mask",  "pmap/pmap",                       "hardware: bits that every level needs for a read"),
    Field("PG_WRITE",           np.uint64, "mask",  "pmap/pmap",                       "hardware: bits that every level needs for a write"),
    Field("PG_FETCH",           np.uint64, "mask",  "pmap/pmap",                       "hardware: bits that every level needs for a fetch"),
    Field("PG_NOFETCH",         np.uint64, "mask",  "pmap/pmap",                       "hardware: bits of which none may be set, at any level, for a fetch"),
    Field("PG_HW_A",            np.uint64, "mask",  "pmap/pmap",                       "hardware: bit it sets in a leaf on every access (0: it sets none)"),
    Field("PG_HW_M",            np.uint64, "mask",  "pmap/pmap",                       "hardware: bit it sets in a leaf on a write (0: it sets none)"),
    Field("PG_PROMOTED",        np.uint64, "mask",  "pmap/release",                    "promotion: set in the PDE that it makes (0: nothing is)"),
    Field("PG_NO_2M",           np.uint64, "mask",  "pmap/release",                    "2m_x rule: an entry with any of these must not become a superpage (pmap_allow_2m_x_page)"),
    Field("PG_PROMOTABLE",      np.uint64, "mask",  "pmap/release",                    "promotion rule: the bits that each of the 512 PTEs must have"),
    Field("PG_COPY_DROPS",      np.uint64, "mask",  "pmap/release",                    "bits that the copy of a managed superpage does not have (pmap_copy)"),
    Field("PG_STALE_UNMANAGED", np.uint64, "mask",  "pmap/release",                    "an unmanaged PTE with any of these is invalidated when another page replaces it (pmap_enter)"),
    Field("pm_root_resident",   np.int64,  "pages", "pmap/release",                    "what the root adds to resident_count"),
    Field("pm_2m_x_failure",    np.int64,  "",      "pmap/release",                    "what a promotion that the 2m_x rule forbids adds to p_failures"),
    Field("pm_copy_mappings",   np.int64,  "",      "pmap/release",                    "what a copied superpage adds to COUNTERS.mappings"),
    Field("pm_protect_keeps",   np.int32,  "flags", "pmap/release",                    "VM_PROT_*: without any of these rights, pmap_protect removes a mapping"),
    Field("pm_protect_dirties", np.int32,  "flags", "pmap/release",                    "VM_PROT_*: a written superpage that loses any of these rights makes its pages dirty"),
    Field("pm_ts_dirties",      np.int32,  "flag",  "pmap/release",                    "1: pmap_ts_referenced makes a page dirty that was written through a mapping it visits"),
    Field("pm_advise_last",     np.int32,  "flag",  "pmap/release",                    "1: pmap_advise unmaps the last page of a superpage's part of the range, not the first"),
    Field("pm_quick_promotes",  np.int32,  "flag",  "pmap/release",                    "1: pmap_enter_quick tries to promote"),
    Field("pm_promotes_unused", np.int32,  "flag",  "pmap/release",                    "1: PTEs need not be accessed to be promoted, and the superpage is only if all of them are"),
    Field("pm_unwires_pde",     np.int32,  "flag",  "pmap/release",                    "1: pmap_unwire unwires a whole superpage in place; 0: pmap_change_wiring demotes it"),
    Field("pm_asserts",         np.int32,  "flag",  "pmap/release",                    "1: states that the kernel asserts never to occur end the replay (HOST.asserted)"),
    Field("pm_address",         np.uint64, "bytes", "pmap/pmap",                       "the pmap's own kernel address, of which pmap_ts_referenced hashes 9 bits"),
    Field("pm_active",          np.int64,  "",      "cpu/vmm instances vm/hypervisor", "host CPUs that are executing in this address space"),
    Field("pm_vcpus",           np.int64,  "",      "instances",                       "CPUs that may be: the vCPUs of the guest"),
    Field("pm_cause",           np.int64,  "",      "pmap/invalidate",                 "why the last invalidation happened, CAUSE_* in invalidate.py"),
    Field("pm_eptgen",          np.int64,  "",      "pmap/invalidate",                 "invalidations so far (PT_EPT and PT_RVI only)"),
    Field("pm_pvchunk_first",   np.int32,  "",      "pmap/pv",                         "head of its list of pv chunks (pm_pvchunk), 0: none"),
    Field("pm_pvchunk_last",    np.int32,  "",      "pmap/pv",                         "tail of that list"),
    Field("resident_count",     np.int64,  "pages", "pmap/*",                          "pages mapped, with page-table pages, the root if the release counts it (pm_root_resident)"),
    Field("wired_count",        np.int64,  "pages", "pmap/*",                          "pages mapped wired"),
    Field("pm_fast_path",       np.int64,  "",      "instances",                       "where this address space begins in State.fast_path"),
    Field("pm_fast_path_pages", np.int64,  "",      "instances",                       "how many pages of it State.fast_path covers, from address 0; 0: none"),
)
# fmt: on

PMAP = record_type(PMAP_FIELDS)

# struct pv_entry: one mapping of one managed page.  The entries of a list form a ring, and whoever has the list holds its
# last entry, so that appending and rotating need not walk through it.
# fmt: off
PV_ENTRY_FIELDS = (
    #     name       type       unit     owner      meaning
    Field("pv_va",   np.uint64, "bytes", "pmap/pv", "byte address where the mapping begins"),
    Field("pv_pmap", np.int32,  "",      "pmap/pv", "number of the pmap that maps it"),
    Field("pv_next", np.int32,  "",      "pmap/pv", "next in the ring"),
)
# fmt: on

PV_ENTRY = record_type(PV_ENTRY_FIELDS)

# struct pv_chunk: one page of the kernel's with room for _NPCPV pv entries of one pmap.  Entry e of chunk c is pv entry
# _NPCPV c + e.
_NPCM = 3  # words of its map of free entries (State.pc_map)
_NPCPV = 168  # entries
# fmt: off
PV_CHUNK_FIELDS = (
    #     name       type      unit          owner      meaning
    Field("pc_next", np.int32, "",           "pmap/pv", "next in the list of its pmap; in the free list the next free one"),
    Field("pc_prev", np.int32, "",           "pmap/pv", "the one before it in the list of its pmap"),
    Field("frame",   np.int32, "number + 1", "pmap/pv", "1 + the frame that holds it, 0: none"),
)
# fmt: on

PV_CHUNK = record_type(PV_CHUNK_FIELDS)

# The vm_page of a page-table page, as far as it is used.
# fmt: off
PTP_FIELDS = (
    #     name          type      unit          owner       meaning
    Field("wire_count", np.int32, "",           "pmap/*",   "valid entries in it (1 while it is new and empty)"),
    Field("next_free",  np.int32, "",           "pmap/ptp", "next in the free list, or in that of those that are about to be free"),
    Field("ptp_frame",  np.int32, "number + 1", "pmap/ptp", "1 + the frame that holds it, 0: none"),
)
# fmt: on

PTP = record_type(PTP_FIELDS)
