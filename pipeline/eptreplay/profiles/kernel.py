"""What a FreeBSD release decides for a CPU beyond bhyve's rules: the type of an AMD pmap, the 2m_x rule, the fault path.

Source: pmap_recalc_allow_2m_x_ept and pmap_pinit_type in pmap.c, vm_fault_soft_fast in vm_fault.c, npt.c, 14.0-CURRENT of July 2022;
FreeBSD-SA-19:25 (CVE-2018-12207).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from eptreplay.profiles.facts import ABSENT, PmapType, Release

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eptreplay.errors import UsageError
    from eptreplay.profiles.facts import Cpu

PSCHANGE_MC_NO: Final = "pschange_mc_no"
"""The fact that decides the 2m_x rule: bit 6 of IA32_ARCH_CAPABILITIES (MSR 10AH)."""

ALLOW_2M_X_EPT: Final = "allow_2m_x_ept"
FAULT_2M: Final = "fault_2m"
KERNEL_OVERRIDES: Final = {
    ALLOW_2M_X_EPT: "the tunable vm.pmap.allow_2m_x_ept; 1 forbids executable 2 MB mappings in EPT, whatever its name says",
    FAULT_2M: "vm_fault maps 2 MB at once where it can; off: one page at a time, as 10.0 does",
}
"""What a user may override of a kernel, and what it means."""


class KernelChoice(NamedTuple):
    """What a kernel decides.

    Args:
        pmap_type: format and invalidation of the nested entries.
        allow_2m_x_ept: the kernel's variable of that name; 1 forbids.
        fault_2m: whether vm_fault maps 2 MB at once where it can.
        assumptions: sentences to show wherever results are shown.
    """

    pmap_type: PmapType
    allow_2m_x_ept: int
    fault_2m: bool
    assumptions: tuple[str, ...]


def kernel_choice(
    cpu: Cpu, release: Release, overrides: Mapping[str, bool], refuse: Callable[[str], UsageError]
) -> KernelChoice:
    """Return what a release decides for a CPU.

    Args:
        cpu: the CPU, with the facts that the user overrides.
        release: the release.
        overrides: those of KERNEL_OVERRIDES that the user gave.
        refuse: makes the error that says why a specification cannot be used.

    Raises:
        UsageError: an override that changes nothing there.
    """
    if release is Release.FREEBSD_10_0:
        for key in overrides:
            raise refuse(
                f"{key}= does not apply under 10.0, which has no such thing; write {cpu.name}@14.0:{key}=…"
            )
        return KernelChoice(cpu.pmap_type, 0, False, cpu.under_10_0)
    pmap_type = PmapType.PT_RVI if cpu.vendor == "AMD" else cpu.pmap_type
    if ALLOW_2M_X_EPT in overrides and pmap_type is not PmapType.PT_EPT:
        raise refuse(
            f"{ALLOW_2M_X_EPT}= does not apply: it is about EPT entries alone, and these are {pmap_type.name}"
        )
    return KernelChoice(
        pmap_type,
        int(overrides.get(ALLOW_2M_X_EPT, _forbids_2m_x(cpu))),
        overrides.get(FAULT_2M, True),
        _assumed(cpu, overrides),
    )


def _forbids_2m_x(cpu: Cpu) -> bool:
    """Return whether the kernel forbids executable 2 MB mappings by itself: on Intel CPUs that do not report the bit.

    A profile that is no CPU has no fact about it, and allows them.  A fact that nobody knows counts as not reported.
    """
    if cpu.vendor != "Intel":
        return False
    return cpu.features.get(PSCHANGE_MC_NO, ABSENT).value is not True


def _assumed(cpu: Cpu, overrides: Mapping[str, bool]) -> tuple[str, ...]:
    """Say what is assumed of the 2m_x rule where no source says whether the CPU reports the bit."""
    fact = cpu.features.get(PSCHANGE_MC_NO, ABSENT)
    if cpu.vendor != "Intel" or fact.value is not None or ALLOW_2M_X_EPT in overrides:
        return ()
    text = (
        "Nobody says whether this CPU sets PSCHANGE_MC_NO (bit 6 of IA32_ARCH_CAPABILITIES); it is taken as clear, so the kernel "
        f"forbids executable 2 MB mappings; if yours sets it, write feature.{PSCHANGE_MC_NO}=on."
    )
    return (text,)
