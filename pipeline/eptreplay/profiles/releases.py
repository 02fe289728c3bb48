"""The note that superpages are those of FreeBSD 10.0, which stands wherever superpages are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SUPERPAGES_OF: Final = (
    "Superpages are those of FreeBSD 10.0. Since November 2019 (SA-19:25, CVE-2018-12207) FreeBSD makes no executable 2 MB "
    "mapping in EPT on Intel CPUs without bit 6 of IA32_ARCH_CAPABILITIES: a bhyve guest on Nehalem to Skylake-SP gets "
    "none today. The rules of later releases are not modelled."
)


def superpages_note(entries: str, flags: Sequence[str]) -> str:
    """Return the note on superpages for a profile with these entries and pmap flags; empty if it makes none."""
    return SUPERPAGES_OF if entries == "PT_EPT" and "PMAP_PDE_SUPERPAGE" in flags else ""
