"""From facts to a profile: bhyve's start-up rules, and what a user may override.

Source: ept_init in ept.c, FreeBSD 10.0; check_svm_features in svm.c and npt.c as of late 2014.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eptreplay.errors import UsageError
from eptreplay.profiles.data import capabilities, requirements, tunables
from eptreplay.profiles.facts import (
    ABSENT,
    Cpu,
    Fact,
    PmapFlags,
    PmapType,
    Profile,
    Release,
    Status,
    Tunable,
)
from eptreplay.profiles.kernel import ALLOW_2M_X_EPT, KERNEL_OVERRIDES, PSCHANGE_MC_NO, kernel_choice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FEATURE = "feature."
LIST_HINT = "'eptreplay profiles list' lists all"


X86_REFUSES = {
    "ad": "x86-format entries always have accessed and dirty bits that the processor sets, and bhyve never emulates them",
    "exec_only": "x86-format entries have no read permission of their own, so nothing can be mapped execute-only",
}

_HARDWARE_AD_ASSUMPTION = (
    "With EPT accessed/dirty flags on, the processor treats its walks of the guest's own page tables as writes; "
    "only what the trace holds is replayed, so those pages turn dirty only where the trace says so."
)


def in_words(value: object) -> str:
    """Write a fact's value for a reader."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def bad_spec(spec: str, why: str) -> UsageError:
    """Make the error for a specification that cannot be used."""
    return UsageError(f"profile {spec!r}: {why}")


def closest(word: str, words: Iterable[str]) -> str:
    """Suggest what the user may have meant; empty when nothing is close."""
    import difflib  # noqa: PLC0415 - only a mistake needs it, every start would pay for it

    found = difflib.get_close_matches(word, list(words), n=3)
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def _apply_features(cpu: Cpu, overrides: Mapping[str, bool], spec: str) -> Cpu:
    """Replace the facts that the user overrides.

    Raises:
        UsageError: no such fact, or it is not a switch.
    """
    facts = dict(cpu.features)
    known = [name for name, fact in facts.items() if isinstance(fact.value, bool | None)]
    if cpu.vendor == "Intel":
        known += [c.name for c in capabilities(0) if c.width == 1 and c.name not in facts]
    notes = []
    for key, on in overrides.items():
        name = key.removeprefix(FEATURE)
        if cpu.configured is not None:
            raise bad_spec(
                spec, f"{key!r}: {cpu.name} is a configuration of the pmap and has no CPU facts to override"
            )
        if name not in known:
            what = "is not a switch" if name in facts else "is not a feature of this CPU"
            raise bad_spec(
                spec,
                f"{key!r} {what}{closest(name, known)}; 'eptreplay profiles show {cpu.name}' shows its features",
            )
        old = facts.get(name, ABSENT)
        was = f"{in_words(old.value)} ({old.cite()})"
        facts[name] = Fact(on, Status.OVERRIDE, (), f"before: {was}")
        notes.append(_override_note(cpu, name, f"{name} is {in_words(on)} by override, in place of {was}"))
    return replace(cpu, features=facts, assumptions=(*cpu.assumptions, *notes))


def _override_note(cpu: Cpu, name: str, change: str) -> str:
    """Say what a feature override changed, and whether the replay can notice."""
    deciding = {tunable.feature for tunable in tunables(cpu.pmap_type).values()}
    deciding |= {PSCHANGE_MC_NO} if cpu.pmap_type is PmapType.PT_EPT else set()
    if name in deciding or name in requirements(cpu.pmap_type):
        return f"{change}."
    return f"{change}; nothing that bhyve tells the pmap depends on it."


def _supported(cpu: Cpu) -> dict[str, bool]:
    """Say for each tunable of the CPU whether there is something to switch; a fact not known counts as no."""
    switches = tunables(cpu.pmap_type)
    if cpu.configured is not None:
        return {key: cpu.configured[key] for key in switches}
    return {key: cpu.features.get(t.feature, ABSENT).value is True for key, t in switches.items()}


def _apply_tunables(cpu: Cpu, overrides: Mapping[str, bool], spec: str) -> dict[str, bool]:
    """Return what bhyve would use of each supported feature.

    Raises:
        UsageError: a tunable that these entries do not have, or that would switch on what the CPU lacks.
    """
    used = _supported(cpu)
    for key, on in overrides.items():
        if key not in used:
            raise bad_spec(spec, f"{key}= does not apply: {X86_REFUSES[key]}")
        if on and not used[key]:
            raise bad_spec(spec, _lacks(cpu, tunables(cpu.pmap_type)[key]))
        used[key] = used[key] and on
    return used


def _lacks(cpu: Cpu, tunable: Tunable) -> str:
    """Say why a tunable cannot be switched on, and what to do instead."""
    if cpu.configured is not None:
        return f"{tunable.key}=on: {cpu.name} has no {tunable.meaning}; take a generic profile that has ({LIST_HINT})"
    fact = cpu.features.get(tunable.feature, ABSENT)
    return (
        f"{tunable.key}=on: {tunable.sysctl} can only switch off what the CPU has, and {cpu.name} lacks "
        f"{tunable.meaning}: {tunable.feature} is {in_words(fact.value)} ({fact.cite()}); if your CPU has the feature, "
        f"write {cpu.name}:{FEATURE}{tunable.feature}=on"
    )


def _flags(pmap_type: PmapType, used: Mapping[str, bool]) -> PmapFlags:
    """Derive the pmap's flags as bhyve's start-up code does (ept_init in ept.c, svm_npt_init in npt.c).

    Only EPT has the last two: x86-format entries always have accessed and dirty bits, and never a read
    permission of their own.
    """
    flags = PmapFlags(0)
    if used["superpages"]:
        flags |= PmapFlags.PMAP_PDE_SUPERPAGE
    if pmap_type is PmapType.PT_EPT and not used["ad"]:
        flags |= PmapFlags.PMAP_EMULATE_AD_BITS
    if pmap_type is PmapType.PT_EPT and used["exec_only"]:
        flags |= PmapFlags.PMAP_SUPPORTS_EXEC_ONLY
    return flags


def _unstated(cpu: Cpu) -> tuple[str, ...]:
    """Say which requirements of bhyve nobody stated for the CPU.

    They count as met: every CPU whose register was read has all of them.
    """
    if cpu.configured is not None:
        return ()
    return tuple(
        f"No source states {what} for this CPU; it is taken as present, because bhyve would not start without it."
        for name, what in requirements(cpu.pmap_type).items()
        if cpu.features.get(name, ABSENT).value is None
    )


def _suffix(overrides: Mapping[str, bool]) -> str:
    """Write overrides as a user does; those of a tunable that means the contrary of its name as the number that it has."""
    words = {
        key: str(int(on)) if key == ALLOW_2M_X_EPT else in_words(on) for key, on in sorted(overrides.items())
    }
    return ",".join(f"{key}={word}" for key, word in words.items())


def build(
    cpu: Cpu, overrides: Mapping[str, bool], spec: str, release: Release = Release.FREEBSD_10_0
) -> Profile:
    """Make a profile of a CPU, a user's overrides and the release that runs on it.

    Raises:
        UsageError: an override that the CPU does not allow.
    """
    features = {key: on for key, on in overrides.items() if key.startswith(FEATURE)}
    cpu = _apply_features(cpu, features, spec)
    of_kernel = {key: on for key, on in overrides.items() if key in KERNEL_OVERRIDES}
    kernel = kernel_choice(cpu, release, of_kernel, lambda why: bad_spec(spec, why))
    of_bhyve = {key: on for key, on in overrides.items() if key not in features and key not in of_kernel}
    used = _apply_tunables(cpu, of_bhyve, spec)
    hardware_ad = (_HARDWARE_AD_ASSUMPTION,) if cpu.vendor == "Intel" and used["ad"] else ()
    under = "" if release is Release.FREEBSD_10_0 else f"@{release.label}"
    suffix = f":{_suffix(overrides)}" if overrides else ""
    return Profile(
        name=f"{cpu.name}{under}{suffix}",
        title=cpu.title,
        vendor=cpu.vendor,
        pmap_type=kernel.pmap_type,
        pmap_flags=_flags(cpu.pmap_type, used),
        features=cpu.features,
        tlb=cpu.tlb,
        costs=cpu.costs,
        overrides=tuple(sorted(overrides.items())),
        release=release,
        allow_2m_x_ept=kernel.allow_2m_x_ept,
        fault_2m=kernel.fault_2m,
        assumptions=(*kernel.assumptions, *cpu.assumptions, *_unstated(cpu), *hardware_ad),
        since=cpu.since,
        dump=cpu.dump,
    )


def refusals(profile: Profile) -> tuple[str, ...]:
    """Say why bhyve would refuse the CPU; empty when it would not.

    Only a capability known to be missing is a reason: one that no source states counts as there and is
    listed among the profile's assumptions. The rules are those of ept_init in ept.c, and for AMD the demand
    for nested paging of check_svm_features in svm.c.
    """
    return tuple(
        f"the CPU lacks {what}"
        for name, what in requirements(profile.pmap_type).items()
        if profile.features.get(name, ABSENT).value is False
    )
