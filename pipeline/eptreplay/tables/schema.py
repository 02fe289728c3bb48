"""The result tables: what columns each has, in what order, of what type and unit, and what they mean.

This is the one definition: tables are written with exactly these columns, and docs/tables.md is made from it.
"""

from __future__ import annotations

from typing import Final

from eptreplay.tables.analysis import (
    DIRTY,
    DIRTY_RATE,
    HEATMAP,
    IDLE_AGE,
    MIGRATION_ROUNDS,
    MIGRATIONS,
    MISS_RATIO,
    RETURNS,
    WORKING_SET,
    WRITERS,
)
from eptreplay.tables.columns import GUEST, INTERVAL, PROFILE, Column, Table
from eptreplay.tables.costs import COSTS
from eptreplay.tables.host import HOST_TABLES
from eptreplay.tables.other_names import documentation as other_names_documentation
from eptreplay.tables.other_names import other_names
from eptreplay.tables.tlb import TRANSLATIONS

COUNTERS: Final = (
    Column("rows", "int64", "rows", "rows of the trace"),
    Column("reads", "int64", "accesses", "reads of memory"),
    Column("writes", "int64", "accesses", "writes to memory"),
    Column("fetches", "int64", "accesses", "instruction fetches from memory"),
    Column(
        "unbacked",
        "int64",
        "accesses",
        "accesses to a page that is neither memory nor in a BAR of a passthrough device (other MMIO, ROM, holes, memory "
        "that was unmapped); counted nowhere else",
    ),
    Column("unbacked_rows", "int64", "rows", "rows that made such accesses"),
    Column("hit_r", "int64", "accesses", "reads that stayed in the guest"),
    Column("hit_w", "int64", "accesses", "writes that stayed in the guest"),
    Column("hit_x", "int64", "accesses", "fetches that stayed in the guest"),
    Column(
        "ad_emulated_r",
        "int64",
        "exits",
        "reads that left the guest and were resolved by setting an emulated accessed bit",
    ),
    Column(
        "ad_emulated_w",
        "int64",
        "exits",
        "writes that left the guest and were resolved by setting an emulated dirty bit",
    ),
    Column("vm_faults_r", "int64", "exits", "reads that left the guest and went to vm_fault"),
    Column("vm_faults_w", "int64", "exits", "writes that left the guest and went to vm_fault"),
    Column("vm_faults_x", "int64", "exits", "fetches that left the guest and went to vm_fault"),
    Column(
        "traps",
        "int64",
        "exits",
        "EPT violations (#NPF on AMD): refusals of the page walker, each attempt; at least the sum of the five above",
    ),
    Column("pages_allocated", "int64", "pages", "4 KB pages of host memory given to the guest"),
    Column(
        "promotions",
        "int64",
        "superpages",
        "512 4 KB mappings replaced by one of 2 MB (vm.pmap.pde.promotions)",
    ),
    Column("demotions", "int64", "superpages", "2 MB mappings split into 512 (vm.pmap.pde.demotions)"),
    Column("p_failures", "int64", "attempts", "promotions tried in vain (vm.pmap.pde.p_failures)"),
    Column("mappings", "int64", "superpages", "2 MB mappings made directly (vm.pmap.pde.mappings)"),
    Column(
        "resident",
        "int64",
        "pages",
        "pm_stats.resident_count: 4 KB pages mapped, page-table pages included, the root too from 14.0 on; a level",
    ),
    Column("wired", "int64", "pages", "pm_stats.wired_count: pages mapped wired; a level"),
    Column(
        "eptgen",
        "int64",
        "invalidations",
        "pm_eptgen: invalidations of the nested page tables; 0 under PT_X86",
    ),
    Column(
        "ipis",
        "int64",
        "IPIs",
        "interprocessor interrupts to CPUs that run the guest, for nested page tables",
    ),
    Column("x86_ipis", "int64", "IPIs", "the same for TLB shootdowns of x86-format tables"),
    Column("inv_page", "int64", "calls", "pmap_invalidate_page"),
    Column("inv_range", "int64", "calls", "pmap_invalidate_range"),
    Column("inv_all", "int64", "calls", "pmap_invalidate_all"),
    Column("dirty_calls", "int64", "calls", "vm_page_dirty"),
    Column("sweeps", "int64", "sweeps", "aging or harvest sweeps over all pages"),
    Column("ts_referenced", "int64", "references", "what pmap_ts_referenced found in aging sweeps"),
    Column("dirty_last_harvest", "int64", "pages", "pages found dirty by the last harvest sweep; a level"),
    Column(
        "dirty_all_harvests", "int64", "pages", "pages found dirty by harvest sweeps, summed over the sweeps"
    ),
    Column(
        "soft_maps",
        "int64",
        "superpages",
        "2 MB mapped at once by a fault on a page in memory; 0 under 10.0",
    ),
    Column(
        "soft_fails",
        "int64",
        "faults",
        "faults that would have, but for the 2m_x rule (docs/releases.md)",
    ),
    Column(
        "soft_fail_reads",
        "int64",
        "faults",
        "those of soft_fails that were reads or fetches: the page is dirty all the same",
    ),
)

SUMMARY: Final = Table(
    "summary",
    "guest and profile, at the end of the guest's trace",
    (
        GUEST,
        PROFILE,
        Column("vcpus", "int64", "vCPUs", "virtual CPUs of the guest"),
        Column("memory_bytes", "int64", "B", "memory of the guest: all segments of kind ram"),
        Column("first_time", "int64", "time unit of the trace", "time of the first row; null if unknown"),
        Column("last_time", "int64", "time unit of the trace", "time of the last row; null if unknown"),
        *COUNTERS,
        Column(
            "pages_touched",
            "int64",
            "pages",
            "distinct 4 KB guest pages the trace touched (the truth, whatever a CPU records)",
        ),
        Column("pages_written", "int64", "pages", "distinct 4 KB guest pages the trace wrote (the truth)"),
        Column(
            "pages_unmapped",
            "int64",
            "pages",
            "pages of memory_bytes that the guest does not have at the end: unmapped, and not mapped again",
        ),
        Column(
            "pages_freed",
            "int64",
            "pages",
            "pages whose contents the guest gave up (advise free) and did not use since",
        ),
        Column("unbacked_low", "int64", "B", "lowest address of `unbacked`; null where there is none"),
        Column("unbacked_high", "int64", "B", "highest address of `unbacked`; null likewise"),
        Column("superpage_pages", "int64", "pages", "touched 4 KB pages mapped by a superpage at the end"),
        Column("state_sum", "uint64", "", "checksum of all leaf entries at the end, see docs/conformance.md"),
    ),
)

INTERVALS: Final = Table(
    "intervals",
    "interval of a guest's trace and profile; counters are what the interval added, levels are at its end",
    (
        GUEST,
        PROFILE,
        INTERVAL,
        Column(
            "start_time",
            "int64",
            "time unit of the trace",
            "where the interval begins; null where intervals are counted in rows",
        ),
        Column(
            "end_time",
            "int64",
            "time unit of the trace",
            "where it ends, exclusive but for the last; null likewise",
        ),
        *COUNTERS,
        Column(
            "pages_touched", "int64", "pages", "distinct 4 KB guest pages touched in the interval (the truth)"
        ),
        Column(
            "pages_written", "int64", "pages", "distinct 4 KB guest pages written in the interval (the truth)"
        ),
    ),
)

FAULTS: Final = Table(
    "faults",
    "kind and cause of exits, guest and profile; combinations that never occurred are left out",
    (
        GUEST,
        PROFILE,
        Column("kind", "string", "", "what the guest did: read, write or fetch"),
        Column(
            "cause",
            "string",
            "",
            "accessed, dirty: an emulated bit was clear; first_use: the page was never used; unmapped: in memory, but its "
            "mapping was removed; write_protected, superpage_protected: mapped, but not for this kind of access; "
            "swapped_out, freed_clean: the page daemon freed it, with or without a copy in swap",
        ),
        Column("resolution", "string", "", "ad_emulation or vm_fault"),
        Column("count", "int64", "exits", "how often"),
    ),
)

FAULT_INTERVALS: Final = Table(
    "fault_intervals",
    "kind and cause of exits, interval and profile; what did not occur is left out",
    (
        GUEST,
        PROFILE,
        INTERVAL,
        Column("kind", "string", "", "as in `faults`"),
        Column("cause", "string", "", "as in `faults`"),
        Column("count", "int64", "exits", "how often in the interval"),
    ),
)

PAGES: Final = Table(
    "pages",
    "page that the guest's trace touched, and profile",
    (
        GUEST,
        PROFILE,
        Column("gpa", "uint64", "B", "guest-physical address of the page"),
        Column("first_row", "int64", "row", "row of the trace that touched it first, from 0"),
        Column("first_interval", "int64", "interval", "interval of that row"),
        Column("last_interval", "int64", "interval", "interval of the last touch"),
        Column(
            "last_write_interval", "int64", "interval", "interval of the last write; null if never written"
        ),
        Column("reads", "int64", "accesses", "reads; null if accesses were not counted by page"),
        Column("writes", "int64", "accesses", "writes; null likewise"),
        Column("fetches", "int64", "accesses", "instruction fetches; null likewise"),
        Column("mapped", "bool", "", "whether the guest's tables map it at the end"),
        Column("superpage", "bool", "", "whether a 2 MB entry does"),
        Column(
            "accessed",
            "bool",
            "",
            "whether the host sees it as used at the end: an accessed bit, or the page's own flag",
        ),
        Column(
            "dirty",
            "bool",
            "",
            "whether the host sees it as written at the end: a dirty bit, or the page's own field",
        ),
    ),
)

TABLES: Final = (
    SUMMARY,
    INTERVALS,
    FAULTS,
    FAULT_INTERVALS,
    PAGES,
    TRANSLATIONS,
    HEATMAP,
    DIRTY,
    WRITERS,
    DIRTY_RATE,
    MIGRATIONS,
    MIGRATION_ROUNDS,
    WORKING_SET,
    RETURNS,
    IDLE_AGE,
    MISS_RATIO,
    *HOST_TABLES,
    COSTS,
)
"""All tables, in the order they are documented."""

REPLAYED: Final = TABLES[:-1]
"""Tables that a replay writes; that of costs is made from them when pages are rendered."""

BY_NAME: Final = {table.name: table for table in TABLES}

CORE: Final = frozenset({"summary", "intervals"})
"""Tables that every run has; what rests on another one is shown where a run has it."""

GAUGES: Final = frozenset({"resident", "wired", "dirty_last_harvest"})
"""Counters that are a level at a moment, not a number of events."""


def csv_names(table: Table) -> list[str]:
    """Return the names of a table's columns in CSV: those of other tools come last."""
    return [*table.names(), *other_names(table.name)]


def documentation() -> str:
    """Return docs/tables.md: every table and column with type, unit and meaning."""
    lines = [
        "# Result tables",
        "",
        "A run writes each table twice, with the same rows: `tables/NAME.parquet` for programs,",
        "`tables/NAME.csv` for spreadsheets (UTF-8, no index column; text that a spreadsheet would run as a",
        "formula begins with an apostrophe, also where blanks or a byte order mark come first; characters that a terminal would act on",
        "are spelled out, as in `\\x1b`). `tables/columns.csv` is this page for programs: table, column, type,",
        "unit and meaning. Reports are made from these tables alone.",
        "",
        "Counters are 64-bit. Times are in the unit of the trace, which `run.json` names for every guest; in columns",
        "whose names end in `_s` they are in seconds. 1 MiB is 2^20 B, 1 Gbit 10^9 bit.",
        "",
        "CSV files also have these columns, under the names that other tools use, as the last ones:",
        "",
        *other_names_documentation(),
    ]
    for table in TABLES:
        lines += [
            "",
            f"## {table.name}",
            "",
            f"One row per {table.row}.",
            "",
            "| column | type | unit | meaning |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{name}` | {kind} | {unit} | {meaning} |" for name, kind, unit, meaning in table.columns
        ]
    return "\n".join(lines) + "\n"
