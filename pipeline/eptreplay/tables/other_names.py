"""Columns under the names that other tools use for them, which CSV files have as their last columns.

KVM counts a VM exit for a missing permission as pf_taken, one that ended with the permission granted as pf_fixed, and one that only
set bits of a present entry as pf_fast (arch/x86/kvm/mmu: kvm_mmu_do_page_fault, fast_page_fault).  The others are
FreeBSD's sysctls: vm.pmap.pde (pmap.c), and vm.stats.vm (vm_meter.c, sys/vmmeter.h; those of swapping count what
swap_pager.c reads and writes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SUMMARY: Final[Mapping[str, tuple[str, ...]]] = {
    "pf_taken": ("traps",),
    "pf_fixed": ("ad_emulated_r", "ad_emulated_w", "vm_faults_r", "vm_faults_w", "vm_faults_x"),
    "pf_fast": ("ad_emulated_r", "ad_emulated_w"),
    "vm.pmap.pde.promotions": ("promotions",),
    "vm.pmap.pde.demotions": ("demotions",),
    "vm.pmap.pde.p_failures": ("p_failures",),
    "vm.pmap.pde.mappings": ("mappings",),
}
HOST_MEMORY: Final[Mapping[str, tuple[str, ...]]] = {
    "vm.stats.vm.v_page_count": ("host_pages",),
    "vm.stats.vm.v_free_count": ("free",),
    "vm.stats.vm.v_active_count": ("active",),
    "vm.stats.vm.v_inactive_count": ("inactive",),
    "vm.stats.vm.v_wire_count": ("wired",),
}
SWAP_ACTIVITY: Final[Mapping[str, tuple[str, ...]]] = {
    "vm.stats.vm.v_zfod": ("zero_fills",),
    "vm.stats.vm.v_swappgsin": ("swap_ins",),
    "vm.stats.vm.v_swapout": ("pageouts",),
    "vm.stats.vm.v_swappgsout": ("laundered",),
}

OTHER_NAMES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "summary": SUMMARY,
    "intervals": SUMMARY,
    "host_memory": HOST_MEMORY,
    "swap_activity": SWAP_ACTIVITY,
}
"""By table and other name: the columns of ours that add up to it."""


def other_names(table: str) -> Mapping[str, tuple[str, ...]]:
    """Return the names of other tools in a table, each with the columns of ours that add up to it."""
    return OTHER_NAMES.get(table, {})


def documentation() -> list[str]:
    """Return the names as lines of docs/tables.md."""
    lines = ["| tables | column | sum of | whose name |", "|---|---|---|---|"]
    groups = {"summary, intervals": SUMMARY, "host_memory": HOST_MEMORY, "swap_activity": SWAP_ACTIVITY}
    for tables, names in groups.items():
        for name, parts in names.items():
            tool = "KVM" if name.startswith("pf_") else "FreeBSD"
            lines.append(f"| {tables} | `{name}` | {', '.join(f'`{part}`' for part in parts)} | {tool} |")
    return lines
