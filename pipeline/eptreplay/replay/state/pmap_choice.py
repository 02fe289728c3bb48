"""What a replay needs to know of a profile: the pmap that it makes, and the logs and TLBs of the CPU."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eptreplay.profiles import Fact, TlbGeometry


class Pmap(Protocol):
    """The part of a profile that a replay needs."""

    @property
    def pmap_type(self) -> int:
        """PT_X86, PT_EPT or PT_RVI."""

    @property
    def pmap_flags(self) -> int:
        """PMAP_* flags."""

    @property
    def release(self) -> int:
        """The FreeBSD release that makes it: its number, FREEBSD_* of model/state/releases.py."""

    @property
    def allow_2m_x_ept(self) -> int:
        """The sysctl of that name; 1 forbids executable 2 MB mappings in EPT."""

    @property
    def fault_2m(self) -> bool:
        """Whether vm_fault maps 2 MB at once where it can."""

    @property
    def pml(self) -> bool:
        """Whether the CPU logs page modifications."""

    @property
    def tlb(self) -> Mapping[str, Fact[TlbGeometry | None]]:
        """Facts about TLBs by name."""


class AnyPmap(NamedTuple):
    """A pmap alone, of a CPU of which nothing else is known: what recordings name, and the simplest profile."""

    pmap_type: int = 0
    pmap_flags: int = 0
    pml: bool = False
    tlb: Mapping[str, Fact[TlbGeometry | None]] = MappingProxyType({})
    release: int = 0
    allow_2m_x_ept: int = 0
    fault_2m: bool = False
