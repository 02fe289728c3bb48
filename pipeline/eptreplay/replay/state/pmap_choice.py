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
        """PT_X86 or PT_EPT."""

    @property
    def pmap_flags(self) -> int:
        """PMAP_* flags."""

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
