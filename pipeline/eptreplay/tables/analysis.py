"""The tables that answer questions: what was dirtied, can it migrate, how much memory does the guest need.

docs/analysis.md has the rules behind every number.  Unless it says otherwise a page is one of 4 KiB.
"""

from __future__ import annotations

from typing import Final

from eptreplay.tables.columns import GUEST, INTERVAL, PROFILE, Column, Table

HEATMAP: Final = Table(
    "heatmap",
    "interval and stretch of a guest's addresses in which anything was touched; the same under every profile",
    (
        GUEST,
        INTERVAL,
        Column(
            "gpa_start",
            "uint64",
            "B",
            "guest-physical address where the stretch begins, a multiple of its size",
        ),
        Column(
            "bytes",
            "int64",
            "B",
            "size of the stretch: a power of two, the same for all of a guest, so that there are at most 256",
        ),
        Column("pages_touched", "int64", "pages", "distinct pages touched"),
        Column("pages_read", "int64", "pages", "distinct pages read"),
        Column("pages_written", "int64", "pages", "distinct pages written"),
        Column("pages_fetched", "int64", "pages", "distinct pages that instructions were fetched from"),
    ),
)

DIRTY: Final = Table(
    "dirty",
    "interval of a guest's trace and profile: what was written, what the host could see of it, and what that cost",
    (
        GUEST,
        PROFILE,
        INTERVAL,
        Column(
            "pages_written",
            "int64",
            "pages",
            "distinct pages written in the interval, by vCPUs, the hypervisor and devices (the truth)",
        ),
        Column(
            "pages_invisible",
            "int64",
            "pages",
            "of these, pages that nobody but devices wrote: DMA sets no dirty bit, so the host cannot see them",
        ),
        Column("regions_written", "int64", "regions", "distinct 2 MiB regions written in the interval"),
        Column(
            "pages_in_regions",
            "int64",
            "pages",
            "pages of those regions: the interval as seen at 2 MiB granularity, where one write makes 512 pages dirty",
        ),
        Column(
            "dirty_bits_4k",
            "int64",
            "bits",
            "dirty bits of 4 KiB entries that an access set, by the processor or by emulation; a write that goes to vm_fault "
            "finds its page marked already, and counts in vm_faults_w",
        ),
        Column("dirty_bits_2m", "int64", "bits", "the same of 2 MiB entries"),
        Column(
            "pml_entries",
            "int64",
            "entries",
            "entries that page-modification logging wrote to the logs; null where the profile has none",
        ),
        Column("pml_exits", "int64", "exits", "exits because a vCPU's log of 512 was full; null likewise"),
        Column("harvests", "int64", "sweeps", "harvest sweeps in the interval; 0 under other policies"),
        Column("harvest_pages", "int64", "pages", "pages they found dirty, summed over the sweeps"),
        Column(
            "harvest_written",
            "int64",
            "pages",
            "distinct pages written since the harvest before, summed over the sweeps: the truth beside harvest_pages",
        ),
        Column("harvest_demotions", "int64", "superpages", "demotions during these sweeps"),
        Column(
            "harvest_invalidations",
            "int64",
            "calls",
            "calls of pmap_invalidate_page, _range and _all during them",
        ),
        Column("harvest_ipis", "int64", "IPIs", "IPIs during them, for tables of either format"),
        Column(
            "refaults",
            "int64",
            "accesses",
            "accesses that left the guest, to pages that a harvest had made clean and that were not written since",
        ),
        Column("repromotions", "int64", "superpages", "promotions of superpages that a harvest had demoted"),
    ),
)

WRITERS: Final = Table(
    "writers",
    "interval and writer that wrote pages in it; the same under every profile",
    (
        GUEST,
        INTERVAL,
        Column(
            "writer",
            "string",
            "",
            "vcpu; hypervisor: host_write, and gpa_hold for writing; device: a passthrough device, by DMA",
        ),
        Column("vcpu", "int64", "", "number of the vCPU; null for other writers"),
        Column("device", "string", "", "name of the device; empty for other writers"),
        Column(
            "pages_written",
            "int64",
            "pages",
            "pages that belong to this writer: to the vCPU or hypervisor that wrote a page first in the interval, to a "
            "device only if no other kind of writer did; the sum over writers counts each page once",
        ),
        Column(
            "mib_per_second",
            "double",
            "MiB/s",
            "the same as a rate over trace time; null where the interval has no times",
        ),
    ),
)

DIRTY_RATE: Final = Table(
    "dirty_rate",
    "writer of a guest: how its dirty rate is distributed over the intervals; the same under every profile",
    (
        GUEST,
        Column("writer", "string", "", "as in `writers`; all: every writer together"),
        Column("vcpu", "int64", "", "number of the vCPU; null for other writers"),
        Column("device", "string", "", "name of the device; empty for other writers"),
        Column(
            "intervals",
            "int64",
            "intervals",
            "how many intervals the figures are over: those of the guest's own trace",
        ),
        Column(
            "mean_mib_per_second",
            "double",
            "MiB/s",
            "average; null, like the rest, where times are not known",
        ),
        Column("variance", "double", "(MiB/s)^2", "mean of the squared distances from the average"),
        Column("p0_mib_per_second", "double", "MiB/s", "the smallest"),
        Column("p25_mib_per_second", "double", "MiB/s", "a quarter of the intervals have at most this rate"),
        Column("p50_mib_per_second", "double", "MiB/s", "half of them"),
        Column("p75_mib_per_second", "double", "MiB/s", "three quarters"),
        Column("p100_mib_per_second", "double", "MiB/s", "the largest"),
    ),
)

_GRANULARITY = Column(
    "page_bytes", "int64", "B", "granularity at which dirt is tracked and sent: 4096 or 2097152"
)
_BANDWIDTH = Column("gbit_per_second", "double", "Gbit/s", "bandwidth of the link, 10^9 bits per second")

MIGRATIONS: Final = Table(
    "migrations",
    "pre-copy migration of a guest over a link, from the beginning of its own trace; memory that was given back is not sent; "
    "no rows where the trace has no times",
    (
        GUEST,
        _GRANULARITY,
        _BANDWIDTH,
        Column("downtime_target_s", "double", "s", "the longest pause that is allowed"),
        Column("converges", "bool", "", "whether what is left to send fits into the allowed pause at last"),
        Column(
            "verdict",
            "string",
            "",
            "converges; repeats: converges if the guest goes on as in its trace, which is shorter; diverges",
        ),
        Column("rounds", "int64", "rounds", "rounds before the pause"),
        Column("total_s", "double", "s", "time from the first byte to the guest's return"),
        Column("downtime_s", "double", "s", "the pause; where it diverges, the one after the last round"),
        Column("sent_bytes", "int64", "B", "bytes sent in all"),
        Column("trace_lengths", "double", "", "total_s as a multiple of the trace's length"),
        Column(
            "smallest_gbit_per_second",
            "double",
            "Gbit/s",
            "the smallest bandwidth that converges at this granularity; null if none up to 1000 does",
        ),
        Column(
            "failed_round",
            "int64",
            "round",
            "the last round before the pause: suppose the link fails at its end and nothing of it arrives",
        ),
        Column("failed_bytes", "int64", "B", "what was under way in it, its dirty bits already cleared"),
        Column(
            "lost_bytes",
            "int64",
            "B",
            "of that, what the guest did not write again: a second attempt would lose it if bits were not put back",
        ),
        Column(
            "retry_bytes",
            "int64",
            "B",
            "what the second attempt sends first once the bits are put back: with this it loses no page",
        ),
    ),
)

MIGRATION_ROUNDS: Final = Table(
    "migration_rounds",
    "round of a migration; the last one is the pause",
    (
        GUEST,
        _GRANULARITY,
        _BANDWIDTH,
        Column("round", "int64", "", "number of the round, from 0, which sends all memory"),
        Column("paused", "bool", "", "whether the guest stands still: the last round, where it converges"),
        Column("start_s", "double", "s", "when it begins, from the beginning of the migration"),
        Column("duration_s", "double", "s", "how long it takes: sent_bytes over the bandwidth"),
        Column("sent_bytes", "int64", "B", "bytes sent"),
        Column("dirtied_bytes", "int64", "B", "bytes dirtied meanwhile: what the next round has to send"),
    ),
)

WORKING_SET: Final = Table(
    "working_set",
    "length of window: how much memory a guest uses in windows of it; the same under every profile",
    (
        GUEST,
        Column("kind", "string", "", "touched: pages used; written: pages written"),
        Column("window_intervals", "int64", "intervals", "length: 1, 2, 4 ... and the whole trace"),
        Column("window_s", "double", "s", "the same in seconds; null where times are not known"),
        Column(
            "windows",
            "int64",
            "windows",
            "how many there are: one begins with every interval that leaves room",
        ),
        Column("mean_bytes", "double", "B", "average"),
        Column("p0_bytes", "int64", "B", "the smallest"),
        Column("p25_bytes", "int64", "B", "a quarter of the windows have at most this"),
        Column("p50_bytes", "int64", "B", "half of them"),
        Column("p75_bytes", "int64", "B", "three quarters"),
        Column("p100_bytes", "int64", "B", "the largest"),
    ),
)

RETURNS: Final = Table(
    "returns",
    "interval and earlier interval: how many pages of the one were last touched, or written, in the other; enough to find the distinct "
    "pages of any stretch of time; the same under every profile",
    (
        GUEST,
        Column(
            "kind",
            "string",
            "",
            "touched: pages used; written: pages written; regions: pages of 2 MiB regions written",
        ),
        INTERVAL,
        Column("previous", "int64", "interval", "the last interval before; null where there was none"),
        Column("pages", "int64", "pages", "how many pages"),
    ),
)

IDLE_AGE: Final = Table(
    "idle_age",
    "age: how much of a guest's memory was last touched that long before the end of its own trace; memory that was given back is "
    "in no row; the same under every profile",
    (
        GUEST,
        Column(
            "age_intervals",
            "int64",
            "intervals",
            "intervals since the one of the last touch, 0 for the trace's last one; null: memory the trace never touched, or not since "
            "it was mapped again",
        ),
        Column(
            "idle_s",
            "double",
            "s",
            "these pages were idle at least this long at the end; null likewise, and where times are not known",
        ),
        Column("pages", "int64", "pages", "pages of this age"),
        Column(
            "pages_written",
            "int64",
            "pages",
            "how many of them the trace ever wrote, since they were given back if they were: to reclaim them costs a write",
        ),
        Column("bytes", "int64", "B", "the same as pages"),
    ),
)

MISS_RATIO: Final = Table(
    "miss_ratio",
    "size of memory: how often a guest would miss with that much memory under LRU; the same under every profile",
    (
        GUEST,
        Column(
            "method",
            "string",
            "",
            "shards: from a sample of the pages; exact: with --mrc exact, in its place; intervals: bounds from the interval statistics, always",
        ),
        Column("memory_bytes", "int64", "B", "size of memory"),
        Column(
            "miss_ratio",
            "double",
            "",
            "accesses that miss, first touches included, over all accesses to memory",
        ),
        Column(
            "error",
            "double",
            "",
            "how far miss_ratio may be off, either way: at most (intervals), by two standard errors (shards), not at all (exact)",
        ),
        Column("sampling_rate", "double", "", "share of the pages in the sample; 1 for other methods"),
        Column(
            "accesses",
            "int64",
            "accesses",
            "all accesses to memory, those of the hypervisor and of devices included",
        ),
    ),
)
