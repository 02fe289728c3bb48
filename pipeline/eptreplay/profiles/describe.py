"""Profiles in words: the overview, and every fact of one with its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eptreplay.profiles.data import sources, tunables
from eptreplay.profiles.facts import PmapFlags, PmapType, Profile, Release
from eptreplay.profiles.kernel import ALLOW_2M_X_EPT, PSCHANGE_MC_NO
from eptreplay.profiles.naming import available, available_under
from eptreplay.profiles.releases import superpages_note
from eptreplay.profiles.rules import X86_REFUSES, in_words, refusals

if TYPE_CHECKING:
    from collections.abc import Iterable

OVERVIEW_HEADER = (
    "profile",
    "CPU",
    "since",
    "entries",
    "A/D",
    "superpages",
    "from 14.0",
    "exec-only",
    "facts",
)


def overview_rows() -> list[tuple[str, ...]]:
    """Return one row for each profile, as text, under the columns of `OVERVIEW_HEADER`."""
    return [
        (
            profile.name,
            profile.title,
            str(profile.since.value) if profile.since else "-",
            profile.pmap_type.name,
            "emulated" if profile.emulates_ad else "hardware",
            "2 MB" if profile.superpages else "no",
            _today(later),
            "yes" if profile.exec_only else "no",
            _confidence(profile),
        )
        for profile, later in zip(available(), available_under(Release.FREEBSD_14_0), strict=True)
    ]


def _today(later: Profile) -> str:
    """Say whether later releases make superpages on a CPU, with the type of the entries where 10.0 has another."""
    made = "2 MB" if later.superpages else "no"
    return f"{made}, PT_RVI" if later.pmap_type is PmapType.PT_RVI else made


def _confidence(profile: Profile) -> str:
    """Say how well the facts that decide the flags of the pmap are known."""
    if profile.vendor == "generic":
        return "-"
    deciding = [profile.features[t.feature].status for t in tunables(profile.pmap_type).values()]
    assumed = ["format assumed"] if profile.pmap_type is PmapType.PT_X86 else []
    return ", ".join([*dict.fromkeys(deciding), *assumed])


def describe(profile: Profile) -> list[str]:
    """Write a profile as lines: flags and why, refusals, assumptions, features, TLBs, costs, sources."""
    lines = [f"{profile.name}: {profile.title}"]
    if profile.since:
        lines.append(f"{profile.vendor}, nested paging since {profile.since.value} ({profile.since.cite()})")
    if profile.dump:
        lines.append(f"registers and CPUID read on: {profile.dump}")
    lines += _section("release", _release_lines(profile))
    lines += _section("pmap", [f"type {profile.pmap_type.name}", *_flag_lines(profile)])
    note = superpages_note(described(profile))
    lines += _section("superpages", [note] if note else [])
    lines += _section("bhyve would refuse this CPU", refusals(profile))
    lines += _section("assumptions", profile.assumptions)
    for title, facts in (("features", profile.features), ("TLBs", profile.tlb), ("costs", profile.costs)):
        lines += _section(
            title, [f"{key:<30} {in_words(fact.value)} ({fact.cite()})" for key, fact in facts.items()]
        )
    return lines + _section("sources", _source_lines(profile))


def described(profile: Profile) -> dict[str, Any]:
    """Return what run.json has of a profile that decides its superpages."""
    return {
        "name": profile.name,
        "entries": profile.pmap_type.name,
        "flags": [flag.name or "" for flag in profile.pmap_flags],
        "release": profile.release.label,
        "allow_2m_x_ept": profile.allow_2m_x_ept,
        "fault_2m": int(profile.fault_2m),
    }


def _release_lines(profile: Profile) -> list[str]:
    """Say which release runs, which others can, and what this one decides."""
    stands_in = (
        "; 10.0's bhyve runs on Intel alone, and is a stand-in here" if profile.vendor == "AMD" else ""
    )
    others = ", ".join(release.label for release in Release if release is not profile.release)
    lines = [f"{profile.release.title}; can run under {others}, too{stands_in}"]
    if profile.release is Release.FREEBSD_10_0:
        return lines
    if profile.pmap_type is PmapType.PT_EPT:
        verb = "forbids" if profile.allow_2m_x_ept else "allows"
        lines.append(
            f"vm.pmap.allow_2m_x_ept={profile.allow_2m_x_ept}: {verb} executable 2 MB mappings; the name says the contrary "
            f"of what it does ({_why_2m_x(profile)})"
        )
    how = "2 MB at once where it can" if profile.fault_2m else "one page at a time, by override"
    return [*lines, f"vm_fault maps {how}"]


def _why_2m_x(profile: Profile) -> str:
    """Say what decided about executable 2 MB mappings."""
    if ALLOW_2M_X_EPT in dict(profile.overrides):
        return "by override"
    if profile.vendor == "generic":
        return "no CPU: configured so"
    fact = profile.features[PSCHANGE_MC_NO]
    return f"{PSCHANGE_MC_NO} is {in_words(fact.value)}, {fact.cite()}"


def _section(title: str, lines: Iterable[str]) -> list[str]:
    """Put a heading over indented lines; nothing when there are none."""
    body = [f"  {line}" for line in lines]
    return ["", f"{title}:", *body] if body else []


def _flag_lines(profile: Profile) -> list[str]:
    """Say for every flag of the pmap whether it is set, and why."""
    why = {
        PmapFlags.PMAP_PDE_SUPERPAGE: "superpages",
        PmapFlags.PMAP_EMULATE_AD_BITS: "ad",
        PmapFlags.PMAP_SUPPORTS_EXEC_ONLY: "exec_only",
    }
    return [
        f"{flag.name or '':<24} {'set' if flag in profile.pmap_flags else 'clear':<6} {_reason(profile, key)}"
        for flag, key in why.items()
    ]


def _reason(profile: Profile, key: str) -> str:
    """Say what decided about the flag that belongs to a tunable."""
    tunable = tunables(profile.pmap_type).get(key)
    if tunable is None:
        return X86_REFUSES[key]
    set_by_user = dict(profile.overrides).get(key)
    switched = "" if set_by_user is None else f"{tunable.sysctl}={int(set_by_user)} by override; "
    if profile.vendor == "generic":
        return f"{switched}configured so"
    fact = profile.features[tunable.feature]
    return f"{switched}{tunable.feature} is {in_words(fact.value)} ({fact.cite()})"


def _source_lines(profile: Profile) -> list[str]:
    """List the sources that the profile's facts name."""
    since = [] if profile.since is None else [profile.since]
    facts = [*since, *profile.features.values(), *profile.tlb.values(), *profile.costs.values()]
    cited = dict.fromkeys(name for fact in facts for name in fact.sources)
    return [f"{name:<14} {sources()[name].where}" for name in cited]
