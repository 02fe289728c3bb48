"""Guests and their virtual CPUs, as the host sees them."""

from __future__ import annotations

import numpy as np

from eptreplay.model._numba.arrays import Field, record_type

HOST_CPUS = 256  # host CPUs that vCPUs can run on
BARS_MOST = 64  # BARs of all devices of a guest

# A guest as the host sees it: which flat pages are its memory, and the BARs of the devices that were passed through to it, in
# the order of `guest.toml`.
# fmt: off
GUEST_FIELDS = (
    #     name            type      unit     owner            meaning
    Field("begin",        np.int64, "",      "instances",     "flat number of its page 0, a multiple of 512"),
    Field("end",          np.int64, "",      "instances",     "flat number after its last page"),
    Field("first_frame",  np.int64, "",      "instances",     "with identity placement: the frame of its page 0"),
    Field("tracked",      np.int64, "flag",  "cpu/vmm",       "1: events say when its vCPUs run; 0: all of them always do"),
    Field("iommu_pages",  np.int64, "pages", "vm/hypervisor", "pages that its IOMMU domain maps, 0: it has no domain"),
    Field("first_vcpu",   np.int64, "",      "instances",     "flat number of its vCPU 0"),
    Field("vcpus",        np.int64, "",      "instances",     "virtual CPUs"),
    Field("eptgen",       np.int64, "",      "cpu/vmm",       "the generation that each host CPU saw last (vmx eptgen[])", HOST_CPUS),
    Field("bars",         np.int64, "",      "instances",     "BARs it has, at most BARS_MOST"),
    Field("bar_page",     np.int64, "",      "instances",     "guest page where each BAR begins", BARS_MOST),
    Field("bar_pages",    np.int64, "",      "instances",     "its pages", BARS_MOST),
    Field("bar_flat",     np.int64, "",      "instances",     "flat number of its first page, beyond all memory", BARS_MOST),
    Field("bar_frame",    np.int64, "",      "instances",     "page (State.page) of its first page", BARS_MOST),
    Field("bar_accesses", np.int64, "",      "vm/sg_pager",   "reads, writes, fetches", (BARS_MOST, 3)),
    Field("bar_faults",   np.int64, "",      "vm/sg_pager",   "EPT violations that vm_fault resolved", BARS_MOST),
)
# fmt: on

GUEST = record_type(GUEST_FIELDS)

# A virtual CPU.
# fmt: off
VCPU_FIELDS = (
    #     name       type      unit    owner      meaning
    Field("hostcpu", np.int32, "",     "cpu/vmm", "the host CPU it runs on, or ran on last"),
    Field("running", np.int32, "flag", "cpu/vmm", "1: it is in the guest, or about to be"),
)
# fmt: on

VCPU = record_type(VCPU_FIELDS)
