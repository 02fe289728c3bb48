"""The tables of the host: invalidations and IPIs by cause, memory, swapping, and what could be swapped out."""

from __future__ import annotations

from typing import Final

from eptreplay.tables.columns import GUEST, INTERVAL, PROFILE, Column, Table

TIME_UNIT = "time unit of the trace"

CAUSE: Final = Column(
    "cause",
    "string",
    "",
    "on whose behalf: fault (a vCPU's own), aging (references being collected: sweeps of policy age, idle scans), "
    "harvest (dirty pages being collected), page_daemon (pages being freed or written to swap), demotion (a superpage "
    "that went because it was never used), protect, unmap, advise, wiring, host_access (the hypervisor reaching "
    "into guest memory)",
)
END: Final = Column(
    "end_time", "int64", TIME_UNIT, "where the interval ends; null where intervals are counted in rows"
)

INVALIDATIONS: Final = Table(
    "invalidations",
    "cause and kind of invalidation of a guest's translations, and profile; combinations that never occurred are left out",
    (
        GUEST,
        PROFILE,
        CAUSE,
        Column("kind", "string", "", "page, range or all: how much is invalidated"),
        Column("count", "int64", "invalidations", "calls of pmap_invalidate_page, _range or _all"),
    ),
)

IPIS: Final = Table(
    "ipis",
    "cause for which CPUs had to drop translations of a guest, and profile; causes that never occurred are left out",
    (
        GUEST,
        PROFILE,
        CAUSE,
        Column("generations", "int64", "generations", "increments of pm_eptgen; 0 for x86-format tables"),
        Column("ipis", "int64", "IPIs", "interrupts sent to CPUs in the guest, for nested page tables"),
        Column("forced_exits", "int64", "exits", "exits of vCPUs that those interrupts made"),
        Column(
            "invepts", "int64", "INVEPTs", "entries into the guest that found a new generation and flushed"
        ),
        Column("x86_ipis", "int64", "IPIs", "interrupts sent for TLB shootdowns of x86-format tables"),
        Column("ipis_saved", "int64", "IPIs", "interrupts not sent, because the vCPU was not in the guest"),
    ),
)

HOST_MEMORY: Final = Table(
    "host_memory",
    "interval of a guest and profile: the host's memory at its end, and the guest's part of it; "
    "no rows without a host of its own (--host-memory and the options beside it)",
    (
        GUEST,
        PROFILE,
        INTERVAL,
        END,
        Column("host_pages", "int64", "pages", "frames of the host"),
        Column("free", "int64", "pages", "frames that hold nothing"),
        Column("active", "int64", "pages", "pages of all guests on the active queue"),
        Column("inactive", "int64", "pages", "pages of all guests on the inactive queue"),
        Column(
            "wired",
            "int64",
            "pages",
            "wired pages of all guests, and page-table pages where they take frames",
        ),
        Column("resident", "int64", "pages", "pages of this guest in memory"),
        Column("swap_copies", "int64", "pages", "pages of this guest that have a copy in swap"),
        Column("reservations", "int64", "blocks", "2 MB blocks of frames reserved for this guest so far"),
        Column(
            "reservations_broken",
            "int64",
            "blocks",
            "reservations broken up so far while this guest needed a frame",
        ),
        Column(
            "reservations_refused",
            "int64",
            "pages",
            "pages that got single frames so far, for want of a whole free block",
        ),
        Column(
            "promotions_lost",
            "int64",
            "superpages",
            "2 MB blocks that became whole in single frames so far: they cannot be promoted",
        ),
    ),
)

SWAP_ACTIVITY: Final = Table(
    "swap_activity",
    "interval of a guest and profile: what the page daemon did to the guest and what came back; "
    "no rows without a host of its own",
    (
        GUEST,
        PROFILE,
        INTERVAL,
        END,
        Column("zero_fills", "int64", "pages", "pages given to the guest empty"),
        Column("swap_ins", "int64", "pages", "pages read from swap"),
        Column("soft_faults", "int64", "exits", "faults on pages that were in memory"),
        Column("pageouts", "int64", "writes", "writes to swap"),
        Column("laundered", "int64", "pages", "pages written to swap"),
        Column("cached", "int64", "pages", "pages freed that have a copy in swap"),
        Column("freed_clean", "int64", "pages", "pages freed that have none, since they were never written"),
        Column("deactivated", "int64", "pages", "pages that went to the inactive queue"),
        Column("reactivated", "int64", "pages", "inactive pages that turned out to be used"),
        Column("unswapped", "int64", "pages", "copies in swap that a write fault made worthless"),
        Column("read_ns", "int64", "ns", "assumed time of the reads (--swap-read)"),
        Column("write_ns", "int64", "ns", "assumed time of the writes (--swap-write)"),
    ),
)

SWAP_CANDIDATES: Final = Table(
    "swap_candidates",
    "run of neighbouring pages of a guest that are alike, and profile, as the page daemon finds them at the end of the guest's trace; "
    "no rows without a host of its own",
    (
        GUEST,
        PROFILE,
        Column("gpa", "uint64", "B", "guest-physical address of the first page"),
        Column("bytes", "int64", "B", "length of the run"),
        Column(
            "queue", "string", "", "inactive: next in line; active: after it has decayed; none: wired or held"
        ),
        Column(
            "position",
            "int64",
            "pages",
            "pages that are examined in its queue before the first one of the run; null if it is on no queue",
        ),
        Column(
            "act_count_min",
            "int64",
            "",
            "least act_count of the run: scans without use until an active page is deactivated",
        ),
        Column("act_count_max", "int64", "", "most"),
        Column(
            "age_scans", "int64", "scans", "idle scans since one found it used, or since it came into memory"
        ),
        Column("age_time", "int64", TIME_UNIT, "trace time since then; null if unknown"),
        Column("used", "bool", "", "used since it was last asked: it would be kept"),
        Column("dirty", "bool", "", "to be written before it can be freed"),
        Column("superpage", "bool", "", "mapped by a superpage, which goes with the first of its pages"),
        Column("excluded", "string", "", "why it cannot be taken: wired or held; empty: it can"),
        Column("writes", "int64", "writes", "predicted writes to swap, in clusters"),
        Column(
            "demotions",
            "int64",
            "superpages",
            "superpages to be given up; one with several runs counts for the first of them. The daemon takes what is not "
            "used, and pmap_demote_pde unmaps a superpage whole that was not used",
        ),
        Column(
            "ipis",
            "int64",
            "IPIs",
            "predicted IPIs, for every CPU in the guest: one as a page or a whole superpage is unmapped, and one more as a "
            "writable page is write-protected before it is written to swap",
        ),
        Column("cost_ns", "int64", "ns", "assumed time of the writes (--swap-write)"),
        Column("reads", "int64", "pages", "pages to be read from swap if all of the run is used again"),
        Column("read_ns", "int64", "ns", "assumed time of those reads (--swap-read)"),
    ),
)

COLD_AGE: Final = Table(
    "cold_age",
    "age and profile: how much of a guest was not used for at least that long at the end of its trace, and could be reclaimed; "
    "no rows without a host of its own",
    (
        GUEST,
        PROFILE,
        Column("age_scans", "int64", "scans", "idle scans"),
        Column("age_time", "int64", TIME_UNIT, "trace time since that scan; null if unknown"),
        Column("pages", "int64", "pages", "pages of at least that age that are neither wired nor held"),
        Column("dirty_pages", "int64", "pages", "those of them that have to be written first"),
        Column("bytes", "int64", "B", "the same as `pages`"),
    ),
)

WIRING: Final = Table(
    "wiring",
    "guest and profile under which the host wired, held or accessed memory of the guest",
    (
        GUEST,
        PROFILE,
        Column("wired_pages", "int64", "pages", "pages wired at the end: none of them is ever swapped out"),
        Column(
            "reason",
            "string",
            "",
            "passthrough: a device can reach all memory; events: the trace wires pages; empty: none is wired",
        ),
        Column("holds", "int64", "holds", "vm_gpa_hold"),
        Column("releases", "int64", "releases", "vm_gpa_release"),
        Column("held_at_end", "int64", "holds", "holds that were never released"),
        Column(
            "host_accesses",
            "int64",
            "pages",
            "pages that the hypervisor process accessed through its own mapping",
        ),
        Column("host_faults", "int64", "faults", "those that its mapping did not have"),
        Column("host_ipis", "int64", "IPIs", "TLB shootdowns of the process's mapping"),
        Column("denied", "int64", "accesses", "accesses of the guest that its memory map did not allow"),
    ),
)

PASSTHROUGH: Final = Table(
    "passthrough",
    "device passed through to a guest, and profile",
    (
        GUEST,
        PROFILE,
        Column("device", "string", "", "name of the device"),
        Column("bar_bytes", "int64", "B", "length of its BARs"),
        Column(
            "domain_pages",
            "int64",
            "pages",
            "pages that the guest's IOMMU domain maps; all devices of a guest share it",
        ),
        Column("dma_reads", "int64", "pages", "pages that devices of the guest read"),
        Column("dma_writes", "int64", "pages", "pages that they wrote"),
        Column("invisible_pages", "int64", "pages", "distinct pages that they wrote: no dirty bit shows it"),
        Column(
            "bar_reads",
            "int64",
            "accesses",
            "accesses of the guest to the device's BARs; they are none to memory, and counted nowhere else",
        ),
        Column("bar_writes", "int64", "accesses", "the same, writes"),
        Column("bar_fetches", "int64", "accesses", "the same, fetches"),
        Column(
            "bar_faults",
            "int64",
            "exits",
            "faults that mapped a page of a BAR; among the `traps` of the guest, but not in `faults`",
        ),
    ),
)

HOST_TABLES: Final = (
    INVALIDATIONS,
    IPIS,
    HOST_MEMORY,
    SWAP_ACTIVITY,
    SWAP_CANDIDATES,
    COLD_AGE,
    WIRING,
    PASSTHROUGH,
)
