"""What is said of superpages under each release wherever superpages are shown, and how releases are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from eptreplay.profiles.facts import RELEASE_LABELS, Release

if TYPE_CHECKING:
    from collections.abc import Mapping

SUPERPAGES_OF: Final = (
    "Superpages are those of FreeBSD 10.0. Since November 2019 (SA-19:25, CVE-2018-12207) FreeBSD makes no executable 2 MB "
    "mapping in EPT on Intel CPUs without bit 6 of IA32_ARCH_CAPABILITIES: a bhyve guest on Nehalem to Skylake-SP gets "
    "none today. Replay it with --release 14.0 to see what that costs."
)

FORBIDDEN: Final = (
    "The kernel forbids executable 2 MB mappings in EPT here, and every guest mapping is executable: no superpage is made. "
    "vm.pmap.allow_2m_x_ept is 1, which forbids, whatever the name says; the kernel sets it by itself on Intel CPUs without bit 6 of "
    "IA32_ARCH_CAPABILITIES (SA-19:25, CVE-2018-12207), and 0 would allow them."
)

DAEMON_OF: Final = (
    "The page daemon is that of 10.0 under every release: the laundry queue, the PID controller and a daemon for each domain, which "
    "later releases have, are not modelled (docs/releases.md)."
)

DEFAULT: Final = RELEASE_LABELS[Release.FREEBSD_10_0]


def release_label(profile: Mapping[str, Any]) -> str:
    """Return the release of a profile as run.json describes it; a run from before there were several is of 10.0."""
    return str(profile.get("release", DEFAULT))


def is_later(profile: Mapping[str, Any]) -> bool:
    """Return whether a profile, as run.json describes it, is of a release after 10.0."""
    return release_label(profile) != DEFAULT


def superpages_note(profile: Mapping[str, Any]) -> str:
    """Return the note on superpages for a profile, as run.json describes it; empty if there is nothing to say."""
    if profile["entries"] != "PT_EPT" or "PMAP_PDE_SUPERPAGE" not in profile["flags"]:
        return ""
    if is_later(profile):
        return f"{profile['name']}: {FORBIDDEN}" if profile.get("allow_2m_x_ept") else ""
    return SUPERPAGES_OF


def daemon_note(profile: Mapping[str, Any]) -> str:
    """Return the note on the page daemon for a profile, as run.json describes it; empty under 10.0."""
    return DAEMON_OF if is_later(profile) else ""
