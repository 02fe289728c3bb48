"""Types of facts about CPUs and of profiles, which the other files of this package fill in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag, StrEnum
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

FeatureValue: TypeAlias = bool | int | str | None


CostValue: TypeAlias = int | str | None

V_co = TypeVar("V_co", covariant=True)

REGISTER = "IA32_VMX_EPT_VPID_CAP"


class PmapType(IntEnum):
    """Format of the entries of a pmap."""

    PT_X86 = 0
    PT_EPT = 1
    PT_RVI = 2


class Release(IntEnum):
    """A FreeBSD release whose rules are modelled."""

    FREEBSD_10_0 = 0
    FREEBSD_14_0 = 1
    FREEBSD_14_LATER = 2

    @property
    def label(self) -> str:
        """Its name on the command line and in tables."""
        return RELEASE_LABELS[self]

    @property
    def title(self) -> str:
        """What it is."""
        return _RELEASE_TITLES[self]


RELEASE_LABELS: Final = {
    Release.FREEBSD_10_0: "10.0",
    Release.FREEBSD_14_0: "14.0",
    Release.FREEBSD_14_LATER: "14-later",
}

_RELEASE_TITLES: Final = {
    Release.FREEBSD_10_0: "FreeBSD 10.0",
    Release.FREEBSD_14_0: "FreeBSD 14.0-CURRENT of July 2022",
    Release.FREEBSD_14_LATER: "FreeBSD 14 with the changes of pmap.c until October 2023",
}


class PmapFlags(IntFlag):
    """Flags that bhyve passes to the pmap; the values are eptreplay's, the names FreeBSD's."""

    PMAP_PDE_SUPERPAGE = 1
    PMAP_EMULATE_AD_BITS = 2
    PMAP_SUPPORTS_EXEC_ONLY = 4


class Status(StrEnum):
    """How well a fact is known; profiles.toml says in a sentence what each word means."""

    SOURCED = "sourced"
    INFERRED = "inferred"
    RECALLED = "recalled"
    CONFLICT = "conflict"
    UNKNOWN = "unknown"
    ASSUMED = "assumed"
    OVERRIDE = "override"
    GIVEN = "given"


@dataclass(frozen=True, slots=True)
class Fact(Generic[V_co]):
    """One thing known about a CPU.

    Args:
        value: what is the case; None when nobody could say.
        status: how well it is known.
        sources: ids of the sources; `sources()` resolves them.
        note: the place in the source, or the reasoning.
    """

    value: V_co
    status: Status
    sources: tuple[str, ...] = ()
    note: str = ""

    def cite(self) -> str:
        """Say how well the fact is known, in one line."""
        cited = ", ".join((self.status, *self.sources))
        return f"{cited}; {self.note}" if self.note else cited


ABSENT: Fact[None] = Fact(None, Status.UNKNOWN, (), "no source states it")


@dataclass(frozen=True, slots=True)
class Source:
    """A place that facts were read in.

    Args:
        where: address of the document; for a repository also the path and the commit.
        note: what it says or how it was used.
    """

    where: str
    note: str


@dataclass(frozen=True, slots=True)
class TlbGeometry:
    """Size and shape of one TLB.

    Args:
        entries: number of translations it holds; 0 when the CPU has no such TLB.
        ways: associativity; None when it is not published.
        page_sizes: sizes of the pages it holds, such as "4K"; empty when that is not published.
    """

    entries: int
    ways: int | Literal["full"] | None = None
    page_sizes: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.entries == 0:
            return "none"
        ways = "ways unknown" if self.ways is None else f"{self.ways}-way"
        if self.ways == "full":
            ways = "fully associative"
        pages = f", pages of {' '.join(self.page_sizes)}" if self.page_sizes else ""
        return f"{self.entries} entries, {ways}{pages}"


@dataclass(frozen=True, slots=True)
class Profile:
    """A CPU as the replay sees it.

    Args:
        name: canonical name with its overrides, such as "haswell:ad=off,superpages=off"; `resolve` reads it back.
        title: the CPU, in words.
        vendor: "Intel", "AMD" or "generic".
        pmap_type: format of the nested entries.
        pmap_flags: what bhyve would tell the pmap.
        features: facts about capabilities, by name; empty for a generic profile.
        tlb: facts about TLBs, by name.
        costs: facts about costs, by name; the unit is in the name.
        overrides: what the user changed, sorted by key.
        release: the FreeBSD release that runs on it.
        allow_2m_x_ept: the kernel's variable of that name; 1 forbids executable 2 MB mappings in EPT.
        fault_2m: whether vm_fault maps 2 MB at once where it can.
        assumptions: sentences to show wherever results of this profile are shown.
        since: year of the first such CPU with nested paging; None when the profile is no real CPU.
        dump: the CPU whose registers were read; empty when there was none.
    """

    name: str
    title: str
    vendor: str
    pmap_type: PmapType
    pmap_flags: PmapFlags
    features: Mapping[str, Fact[FeatureValue]] = field(hash=False, repr=False)
    tlb: Mapping[str, Fact[TlbGeometry | None]] = field(hash=False, repr=False)
    costs: Mapping[str, Fact[CostValue]] = field(hash=False, repr=False)
    overrides: tuple[tuple[str, bool], ...] = ()
    release: Release = Release.FREEBSD_10_0
    allow_2m_x_ept: int = 0
    fault_2m: bool = False
    assumptions: tuple[str, ...] = field(default=(), repr=False)
    since: Fact[int] | None = field(default=None, repr=False)
    dump: str = ""

    @property
    def superpages(self) -> bool:
        """Whether the pmap makes 2 MB mappings of a guest's memory."""
        return PmapFlags.PMAP_PDE_SUPERPAGE in self.pmap_flags and not self.forbids_2m

    @property
    def forbids_2m(self) -> bool:
        """Whether the 2m_x rule forbids superpages: every mapping of a guest's memory is executable."""
        return self.allow_2m_x_ept != 0 and self.pmap_type is PmapType.PT_EPT

    @property
    def emulates_ad(self) -> bool:
        """Whether the pmap emulates accessed and dirty bits."""
        return PmapFlags.PMAP_EMULATE_AD_BITS in self.pmap_flags

    @property
    def exec_only(self) -> bool:
        """Whether the pmap may leave a mapping executable but not readable."""
        return PmapFlags.PMAP_SUPPORTS_EXEC_ONLY in self.pmap_flags

    @property
    def pml(self) -> bool:
        """Whether the CPU logs page modifications: it can, and sets the dirty bits that make it do so (SDM 28.2.5)."""
        logs = self.features.get("pml")
        return logs is not None and logs.value is True and not self.emulates_ad


@dataclass(frozen=True, slots=True)
class Capability:
    """One field of IA32_VMX_EPT_VPID_CAP.

    Args:
        name: name of the feature it stands for.
        bit: lowest bit of the field.
        width: bits in the field; 1 for a plain capability.
        meaning: what a set bit says.
        value: content of the field.
    """

    name: str
    bit: int
    width: int
    meaning: str
    value: int

    @property
    def is_set(self) -> bool:
        """Whether any bit of the field is set."""
        return self.value != 0


@dataclass(frozen=True, slots=True)
class EptVpidCap:
    """A decoded value of IA32_VMX_EPT_VPID_CAP.

    Args:
        value: the register, 64 bits.
        capabilities: every field known, by ascending bit, set or not.
        unknown_bits: bits that are set and belong to no field known.
        profile: the CPU that the value describes.
        refusals: why bhyve would refuse that CPU; empty when it would not.
    """

    value: int
    capabilities: tuple[Capability, ...]
    unknown_bits: tuple[int, ...]
    profile: Profile
    refusals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tunable:
    """A loader tunable of bhyve and the feature that it can switch off."""

    key: str
    meaning: str
    feature: str
    sysctl: str


@dataclass(frozen=True, slots=True)
class Cpu:
    """A CPU before overrides: what profiles.toml or a register value says about it.

    `configured` holds a generic profile's switches and is None for a CPU, whose facts decide.  `under_10_0` are assumptions that
    hold under 10.0 alone.  AMD's CPUs have PT_X86 here; from 14.0 on that is PT_RVI.
    """

    name: str
    title: str
    vendor: str
    pmap_type: PmapType
    features: dict[str, Fact[FeatureValue]] = field(default_factory=dict)
    tlb: dict[str, Fact[TlbGeometry | None]] = field(default_factory=dict)
    costs: dict[str, Fact[CostValue]] = field(default_factory=dict)
    configured: dict[str, bool] | None = None
    assumptions: tuple[str, ...] = ()
    under_10_0: tuple[str, ...] = ()
    since: Fact[int] | None = None
    dump: str = ""
