"""The table `translations` (`--tlb`)."""

from __future__ import annotations

from typing import Final

from eptreplay.tables.columns import GUEST, PROFILE, Column, Table

_KINDS: Final = (("r", "reads"), ("w", "writes"), ("x", "fetches"))

TRANSLATIONS: Final = Table(
    "translations",
    "guest and profile, at the end of the guest's trace; the table has no rows unless TLBs were modelled (`--tlb`)",
    (
        GUEST,
        PROFILE,
        Column("guest_page_bytes", "int64", "B", "size the guest's own pages are taken to have"),
        *(
            Column(f"first_misses_{letter}", "int64", "accesses", f"{words} that missed the first-level TLB")
            for letter, words in _KINDS
        ),
        *(
            Column(f"misses_{letter}", "int64", "walks", f"{words} that missed the second level, too")
            for letter, words in _KINDS
        ),
        Column("walks_4k", "int64", "walks", "page walks to a page that the host maps by 4 KB"),
        Column("walks_2m", "int64", "walks", "page walks to a page that the host maps by 2 MB"),
        *(
            Column(
                f"guest_refs_l{level}",
                "int64",
                "references",
                f"memory references of walks to level {level} of the guest's tables",
            )
            for level in range(1, 5)
        ),
        *(
            Column(
                f"host_refs_l{level}",
                "int64",
                "references",
                f"memory references of walks to level {level} of the host's tables",
            )
            for level in range(1, 5)
        ),
        Column(
            "walk_refs", "int64", "references", "all memory references of walks: the sum of the eight above"
        ),
        Column(
            "dirty_walks",
            "int64",
            "walks",
            "walks that set a dirty bit for a translation that was cached; not counted above",
        ),
        Column(
            "stale_hits",
            "int64",
            "accesses",
            "accesses that left a bit clear which a walk would have set: their translation was cached before it was cleared",
        ),
        Column("flushes", "int64", "flushes", "times that the guest's translations were lost in all CPUs"),
        Column(
            "invepts",
            "int64",
            "INVEPTs",
            "executed on entry to the guest: one per CPU and invalidation, as all vCPUs count as running",
        ),
    ),
)
