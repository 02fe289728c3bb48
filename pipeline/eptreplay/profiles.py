"""CPU feature profiles: which pmap bhyve builds on a CPU, and how well the facts behind it are known.

The facts are data, in profiles.toml. This module turns them into a pmap type and flags by the rules of bhyve's
start-up code, lets a user override each of them, and decodes IA32_VMX_EPT_VPID_CAP, the register those rules
read. It prints nothing and loads the data on first use: importing it must cost next to nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import IntEnum, IntFlag, StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from eptreplay.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

FeatureValue: TypeAlias = bool | int | str | None
CostValue: TypeAlias = int | str | None
Table: TypeAlias = dict[str, Any]
V_co = TypeVar("V_co", covariant=True)

OVERVIEW_HEADER = ("profile", "CPU", "since", "entries", "A/D", "superpages", "exec-only", "facts")

_REGISTER = "IA32_VMX_EPT_VPID_CAP"
_READ_MSR = (
    "read it with 'cpucontrol -m 0x48c /dev/cpuctl0' on FreeBSD (write its two halves as one number) or "
    "'rdmsr 0x48c' on Linux, and give it as msr:0xf0106334141"
)
_LIST_HINT = "'eptreplay profiles' lists all"
_OVERRIDE_HINT = (
    "an override is superpages=, ad=, exec_only= or feature.NAME= with on or off, as in haswell:ad=off"
)
_FEATURE = "feature."
_SWITCHES = {
    "on": True,
    "true": True,
    "1": True,
    "yes": True,
    "off": False,
    "false": False,
    "0": False,
    "no": False,
}
# Bit 3 of CPUID 8000_000AH EDX: the processor saves the address of the next instruction at an exit.
_SVM_NRIP_SAVE = 1 << 3

_X86_REFUSES = {
    "ad": "x86-format entries always have accessed and dirty bits that the processor sets, and bhyve never emulates them",
    "exec_only": "x86-format entries have no read permission of their own, so nothing can be mapped execute-only",
}
_AMD_STANDS_FOR = (
    "FreeBSD 10.0's bhyve runs on Intel only: this profile assumes what bhyve's AMD support of late 2014 (npt.c) "
    "tells the pmap: processor-set accessed and dirty bits, and 2 MB mappings unless "
    "hw.vmm.npt.enable_superpage=0."
)
_AMD_FORMAT = (
    "Entries have the PT_X86 format: the later pmap type PT_RVI has the same valid, write, accessed and dirty bits, "
    "but the replayed pmap does not know it."
)
_AMD_INVALIDATION = (
    "bhyve invalidates a PT_RVI pmap as it does a PT_EPT one, with a generation and an IPI to every CPU that runs "
    "the guest; a PT_X86 pmap has no generation, so calls of pmap_invalidate_* compare with EPT's, generations and "
    "IPIs do not."
)
_HARDWARE_AD_ASSUMPTION = (
    "With EPT accessed/dirty flags on, the processor treats its walks of the guest's own page tables as writes; "
    "only what the trace holds is replayed, so those pages turn dirty only where the trace says so."
)


class PmapType(IntEnum):
    """Format of the entries of a pmap."""

    PT_X86 = 0
    PT_EPT = 1


class PmapFlags(IntFlag):
    """What bhyve tells the pmap about the CPU; the values are eptreplay's, the names FreeBSD's."""

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


_ABSENT: Fact[None] = Fact(None, Status.UNKNOWN, (), "no source states it")


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
    assumptions: tuple[str, ...] = field(default=(), repr=False)
    since: Fact[int] | None = field(default=None, repr=False)
    dump: str = ""

    @property
    def superpages(self) -> bool:
        """Whether the pmap makes 2 MB mappings."""
        return PmapFlags.PMAP_PDE_SUPERPAGE in self.pmap_flags

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
        """Whether the CPU logs page modifications: it can, and sets the dirty bits that make it do so (SDM 28.2.6)."""
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
class _Tunable:
    """A loader tunable of bhyve and the feature that it can switch off."""

    key: str
    meaning: str
    feature: str
    sysctl: str


@dataclass(frozen=True, slots=True)
class _Cpu:
    """A CPU before overrides: what profiles.toml or a register value says about it.

    `configured` holds a generic profile's switches and is None for a CPU, whose facts decide.
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
    since: Fact[int] | None = None
    dump: str = ""


# ---- The data ------------------------------------------------------------------------------------------------


@cache
def _data() -> Table:
    """Read profiles.toml."""
    # Imported here because 'eptreplay --help' does not need them and they are slow to import.
    import tomllib  # noqa: PLC0415
    from importlib.resources import files  # noqa: PLC0415

    return tomllib.loads(files("eptreplay").joinpath("profiles.toml").read_text(encoding="utf-8"))


@cache
def sources() -> Mapping[str, Source]:
    """Return every source that a fact can name, by id."""
    return {
        name: Source(
            " ".join(entry[key] for key in ("url", "path", "commit") if key in entry), entry.get("note", "")
        )
        for name, entry in _data()["source"].items()
    }


@cache
def status_meanings() -> Mapping[Status, str]:
    """Return what each status means, in words."""
    return {Status(word): meaning for word, meaning in _data()["status"].items()}


def _fact(entry: Table, convert: Callable[[Any], V_co]) -> Fact[V_co]:
    """Make a fact of an inline table; a value that is absent is not known."""
    return Fact(
        convert(entry.get("value")),
        Status(entry["status"]),
        tuple(entry.get("src", ())),
        entry.get("note", ""),
    )


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a TOML scalar may be
    """Take a value as it is."""
    return value


def _geometry(value: Table | None) -> TlbGeometry | None:
    """Make a TLB's geometry of its table."""
    if value is None:
        return None
    return TlbGeometry(value["entries"], value.get("ways"), tuple(value.get("page_sizes", ())))


def _capabilities(value: int) -> tuple[Capability, ...]:
    """Split a value of IA32_VMX_EPT_VPID_CAP into its fields (SDM volume 3, appendix A.10)."""
    return tuple(
        Capability(
            name,
            entry["bit"],
            entry.get("width", 1),
            entry["meaning"],
            value >> entry["bit"] & ((1 << entry.get("width", 1)) - 1),
        )
        for name, entry in _data()["ept_vpid_cap"]["bits"].items()
    )


def _from_register(
    value: int, status: Status, cited: tuple[str, ...], where: str
) -> dict[str, Fact[FeatureValue]]:
    """Make a fact of every field of IA32_VMX_EPT_VPID_CAP; a plain capability becomes a boolean."""
    return {
        c.name: Fact(c.is_set if c.width == 1 else c.value, status, cited, f"bit {c.bit} of {where}")
        for c in _capabilities(value)
    }


def _features(table: Table) -> dict[str, Fact[FeatureValue]]:
    """Read a CPU's features; fields that nobody named are taken from the register dump where there is one."""
    facts: dict[str, Fact[FeatureValue]] = {name: _fact(entry, _plain) for name, entry in table.items()}
    raw = facts.get("raw_48c")
    if raw is None or not isinstance(raw.value, str):
        return facts
    return _from_register(int(raw.value, 16), raw.status, raw.sources, f"raw_48c, {raw.value}") | facts


def _load_cpu(name: str, entry: Table) -> _Cpu:
    """Read one CPU of profiles.toml."""
    amd = entry["vendor"] == "AMD"
    features = _features(entry["features"])
    return _Cpu(
        name=name,
        title=entry["title"],
        vendor=entry["vendor"],
        pmap_type=PmapType.PT_X86 if amd else PmapType.PT_EPT,
        features=features,
        tlb={key: _fact(value, _geometry) for key, value in entry["tlb"].items()},
        costs={key: _fact(value, _plain) for key, value in entry["costs"].items()},
        assumptions=_amd_assumptions(features) if amd else (),
        since=_fact(entry["since"], int),
        dump=entry["dump"],
    )


def _amd_assumptions(features: Mapping[str, Fact[FeatureValue]]) -> tuple[str, ...]:
    """Say what an AMD profile assumes, and whether bhyve would start at all (check_svm_features in svm.c)."""
    assumed = (_AMD_STANDS_FOR, _AMD_FORMAT, _AMD_INVALIDATION)
    raw = features["raw_svm_edx"].value
    if not isinstance(raw, str) or int(raw, 16) & _SVM_NRIP_SAVE:
        return assumed
    no_nrip = (
        "bhyve would not start on this CPU, because its dump lacks next-RIP saving (CPUID 8000_000AH EDX bit 3 of "
        f"{raw}): the replay shows what its nested paging would do."
    )
    return (*assumed, no_nrip)


@cache
def _cpus() -> Mapping[str, _Cpu]:
    """Return every CPU and generic profile by name: generic first, then by vendor and year."""
    generic = [
        _Cpu(
            name=name,
            title=entry["title"],
            vendor="generic",
            pmap_type=PmapType[entry["type"]],
            configured={key: entry[key] for key in _data()["bhyve"]["tunable"]},
        )
        for name, entry in _data()["generic"].items()
    ]
    real = [_load_cpu(name, entry) for name, entry in _data()["cpu"].items()]
    real.sort(key=lambda cpu: (cpu.vendor != "Intel", cpu.since.value if cpu.since else 0))
    return {cpu.name: cpu for cpu in generic + real}


def _tunables(pmap_type: PmapType) -> dict[str, _Tunable]:
    """Return the tunables that bhyve has for entries of this format, by the user's key."""
    kind = "ept" if pmap_type is PmapType.PT_EPT else "npt"
    return {
        key: _Tunable(key, entry["meaning"], entry[f"{kind}_feature"], entry[kind])
        for key, entry in _data()["bhyve"]["tunable"].items()
        if kind in entry
    }


def _requirements(pmap_type: PmapType) -> dict[str, str]:
    """Return what bhyve asks of a CPU: for each feature, its meaning and its bit (ept_init; check_svm_features)."""
    if pmap_type is PmapType.PT_X86:
        return dict.fromkeys(
            _data()["bhyve"]["npt_requires"], "nested paging (npt, bit 0 of CPUID 8000_000AH EDX)"
        )
    bits = _data()["ept_vpid_cap"]["bits"]
    return {
        name: f"{bits[name]['meaning']} ({name}, bit {bits[name]['bit']} of {_REGISTER})"
        for name in _data()["bhyve"]["ept_requires"]
    }


# ---- From facts to a profile ---------------------------------------------------------------------------------


def _word(value: object) -> str:
    """Write a fact's value for a reader."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _bad(spec: str, why: str) -> UsageError:
    """Make the error for a specification that cannot be used."""
    return UsageError(f"profile {spec!r}: {why}")


def _closest(word: str, words: Iterable[str]) -> str:
    """Suggest what the user may have meant; empty when nothing is close."""
    import difflib  # noqa: PLC0415 - only a mistake needs it, every start would pay for it

    found = difflib.get_close_matches(word, list(words), n=3)
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def _apply_features(cpu: _Cpu, overrides: Mapping[str, bool], spec: str) -> _Cpu:
    """Replace the facts that the user overrides.

    Raises:
        UsageError: no such fact, or it is not a switch.
    """
    facts = dict(cpu.features)
    known = [name for name, fact in facts.items() if isinstance(fact.value, bool | None)]
    if cpu.vendor == "Intel":
        known += [c.name for c in _capabilities(0) if c.width == 1 and c.name not in facts]
    notes = []
    for key, on in overrides.items():
        name = key.removeprefix(_FEATURE)
        if cpu.configured is not None:
            raise _bad(
                spec, f"{key!r}: {cpu.name} is a configuration of the pmap and has no CPU facts to override"
            )
        if name not in known:
            what = "is not a switch" if name in facts else "is not a feature of this CPU"
            raise _bad(
                spec,
                f"{key!r} {what}{_closest(name, known)}; 'eptreplay profiles {cpu.name}' shows its features",
            )
        old = facts.get(name, _ABSENT)
        was = f"{_word(old.value)} ({old.cite()})"
        facts[name] = Fact(on, Status.OVERRIDE, (), f"before: {was}")
        notes.append(_override_note(cpu, name, f"{name} is {_word(on)} by override, in place of {was}"))
    return replace(cpu, features=facts, assumptions=(*cpu.assumptions, *notes))


def _override_note(cpu: _Cpu, name: str, change: str) -> str:
    """Say what a feature override changed, and whether the replay can notice."""
    deciding = {tunable.feature for tunable in _tunables(cpu.pmap_type).values()}
    if name in deciding or name in _requirements(cpu.pmap_type):
        return f"{change}."
    return f"{change}; nothing that bhyve tells the pmap depends on it."


def _supported(cpu: _Cpu) -> dict[str, bool]:
    """Say for each tunable of the CPU whether there is something to switch; a fact not known counts as no."""
    tunables = _tunables(cpu.pmap_type)
    if cpu.configured is not None:
        return {key: cpu.configured[key] for key in tunables}
    return {key: cpu.features.get(t.feature, _ABSENT).value is True for key, t in tunables.items()}


def _apply_tunables(cpu: _Cpu, overrides: Mapping[str, bool], spec: str) -> dict[str, bool]:
    """Return what bhyve would use of each supported feature.

    Raises:
        UsageError: a tunable that these entries do not have, or that would switch on what the CPU lacks.
    """
    used = _supported(cpu)
    for key, on in overrides.items():
        if key not in used:
            raise _bad(spec, f"{key}= does not apply: {_X86_REFUSES[key]}")
        if on and not used[key]:
            raise _bad(spec, _lacks(cpu, _tunables(cpu.pmap_type)[key]))
        used[key] = used[key] and on
    return used


def _lacks(cpu: _Cpu, tunable: _Tunable) -> str:
    """Say why a tunable cannot be switched on, and what to do instead."""
    if cpu.configured is not None:
        return f"{tunable.key}=on: {cpu.name} has no {tunable.meaning}; take a generic profile that has ({_LIST_HINT})"
    fact = cpu.features.get(tunable.feature, _ABSENT)
    return (
        f"{tunable.key}=on: {tunable.sysctl} can only switch off what the CPU has, and {cpu.name} lacks "
        f"{tunable.meaning}: {tunable.feature} is {_word(fact.value)} ({fact.cite()}); if your CPU has the feature, "
        f"write {cpu.name}:{_FEATURE}{tunable.feature}=on"
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


def _unstated(cpu: _Cpu) -> tuple[str, ...]:
    """Say which requirements of bhyve nobody stated for the CPU.

    They count as met: every CPU whose register was read has all of them.
    """
    if cpu.configured is not None:
        return ()
    return tuple(
        f"No source states {what} for this CPU; it is taken as present, because bhyve would not start without it."
        for name, what in _requirements(cpu.pmap_type).items()
        if cpu.features.get(name, _ABSENT).value is None
    )


def _build(cpu: _Cpu, overrides: Mapping[str, bool], spec: str) -> Profile:
    """Make a profile of a CPU and a user's overrides.

    Raises:
        UsageError: an override that the CPU does not allow.
    """
    features = {key: on for key, on in overrides.items() if key.startswith(_FEATURE)}
    cpu = _apply_features(cpu, features, spec)
    used = _apply_tunables(cpu, {key: on for key, on in overrides.items() if key not in features}, spec)
    hardware_ad = (_HARDWARE_AD_ASSUMPTION,) if cpu.vendor == "Intel" and used["ad"] else ()
    suffix = ",".join(f"{key}={_word(on)}" for key, on in sorted(overrides.items()))
    return Profile(
        name=f"{cpu.name}:{suffix}" if suffix else cpu.name,
        title=cpu.title,
        vendor=cpu.vendor,
        pmap_type=cpu.pmap_type,
        pmap_flags=_flags(cpu.pmap_type, used),
        features=cpu.features,
        tlb=cpu.tlb,
        costs=cpu.costs,
        overrides=tuple(sorted(overrides.items())),
        assumptions=(*cpu.assumptions, *_unstated(cpu), *hardware_ad),
        since=cpu.since,
        dump=cpu.dump,
    )


# ---- Naming profiles -----------------------------------------------------------------------------------------


def names() -> tuple[str, ...]:
    """Return the names of all profiles, in the order of `available`."""
    return tuple(_cpus())


def available() -> tuple[Profile, ...]:
    """Return every profile without overrides: generic ones, then Intel's and AMD's by year."""
    return tuple(_build(cpu, {}, name) for name, cpu in _cpus().items())


def refusals(profile: Profile) -> tuple[str, ...]:
    """Say why bhyve would refuse the CPU; empty when it would not.

    Only a capability known to be missing is a reason: one that no source states counts as there and is
    listed among the profile's assumptions. The rules are those of ept_init in ept.c, and for AMD the demand
    for nested paging of check_svm_features in svm.c.
    """
    return tuple(
        f"the CPU lacks {what}"
        for name, what in _requirements(profile.pmap_type).items()
        if profile.features.get(name, _ABSENT).value is False
    )


def resolve(spec: str, *, even_refused: bool = False) -> Profile:
    """Find the profile that a user asks for.

    Args:
        spec: "NAME[:KEY=on|off,...]" or, for the register of a real machine, "msr:0xVALUE[,KEY=on|off,...]".
        even_refused: return a CPU that bhyve would refuse, for showing why, instead of raising.

    Raises:
        UsageError: an unknown name, an override that is wrong, or a CPU that bhyve would refuse.
    """
    cpu, overrides = _parse(spec)
    profile = _build(cpu, overrides, spec)
    reasons = refusals(profile)
    if reasons and not even_refused:
        raise _bad(
            spec,
            f"bhyve would refuse this CPU: {'; '.join(reasons)}; if yours has what is missing, "
            f"override it with {_FEATURE}NAME=on",
        )
    return profile


def _parse(spec: str) -> tuple[_Cpu, dict[str, bool]]:
    """Split a specification into a CPU and overrides.

    Raises:
        UsageError: an unknown name, a bad register value or a bad override.
    """
    text = spec.strip().lower()
    # 'msr-' is how the name of such a profile starts, 'msr:' what reads well on a command line.
    register = re.fullmatch(r"msr[:-]([^:,]*)(?:[:,](.*))?", text)
    if register:
        return _cpu_of_register(_parse_register(register[1], spec)), _parse_overrides(register[2], spec)
    name, colon, overrides = text.partition(":")
    if name not in _cpus():
        if name == "msr":
            raise _bad(spec, f"the value of {_REGISTER} is missing; {_READ_MSR}")
        raise _bad(spec, f"no profile is named {name!r}{_closest(name, _cpus())}; {_LIST_HINT}")
    return _cpus()[name], _parse_overrides(overrides if colon else None, spec)


def _parse_register(text: str, spec: str) -> int:
    """Read a value of IA32_VMX_EPT_VPID_CAP; rdmsr prints it without 0x, so that is optional.

    Raises:
        UsageError: it is not a hexadecimal number of at most 64 bits.
    """
    if not re.fullmatch(r"(0x)?[0-9a-f]+", text):
        raise _bad(spec, f"the value of {_REGISTER} must be a hexadecimal number; {_READ_MSR}")
    return _checked_register(int(text, 16), spec)


def _checked_register(value: int, spec: str) -> int:
    """Return the value if a 64-bit register can hold it.

    Raises:
        UsageError: it is negative or too large.
    """
    if not 0 <= value < 1 << 64:
        raise _bad(spec, f"the value of {_REGISTER} must have at most 64 bits and no sign; {_READ_MSR}")
    return value


def _parse_overrides(text: str | None, spec: str) -> dict[str, bool]:
    """Read "KEY=on|off,..."; None means that there are none.

    Raises:
        UsageError: an empty or unknown key, a value that is not a switch, or a key given twice.
    """
    overrides: dict[str, bool] = {}
    for item in [] if text is None else text.split(","):
        key, equals, word = (part.strip() for part in item.partition("="))
        key = key.replace("-", "_")
        tunables = list(_data()["bhyve"]["tunable"])
        if not equals or not (key in tunables or key.startswith(_FEATURE)):
            near = _closest(key, tunables) if equals else ""
            raise _bad(spec, f"{item.strip()!r} is not an override{near}; {_OVERRIDE_HINT}")
        if word not in _SWITCHES:
            raise _bad(spec, f"{key!r}: {word!r} is neither on nor off ({', '.join(_SWITCHES)})")
        if key in overrides:
            raise _bad(spec, f"{key!r} is given twice")
        overrides[key] = _SWITCHES[word]
    return overrides


# ---- IA32_VMX_EPT_VPID_CAP -----------------------------------------------------------------------------------


def _unknown_bits(value: int) -> tuple[int, ...]:
    """Return the bits that are set and belong to no field known."""
    known = sum(((1 << c.width) - 1) << c.bit for c in _capabilities(value))
    return tuple(bit for bit in range(64) if (value & ~known) >> bit & 1)


def _cpu_of_register(value: int) -> _Cpu:
    """Make the CPU that a value of IA32_VMX_EPT_VPID_CAP describes; it says nothing of TLBs and costs."""
    unknown = ", ".join(str(bit) for bit in _unknown_bits(value))
    return _Cpu(
        name=f"msr-{value:#x}",
        title=f"CPU with {_REGISTER} {value:#x}",
        vendor="Intel",
        pmap_type=PmapType.PT_EPT,
        features=_from_register(value, Status.GIVEN, (), f"{value:#x}"),
        assumptions=(f"Bits {unknown} of {_REGISTER} are set but not known; they change nothing.",)
        if unknown
        else (),
    )


def parse_ept_vpid_cap(text: str) -> int:
    """Read the value of IA32_VMX_EPT_VPID_CAP as a user types it, hexadecimal with or without 0x.

    Raises:
        UsageError: it is no hexadecimal number of at most 64 bits.
    """
    return _parse_register(text, text)


def from_ept_vpid_cap(value: int) -> EptVpidCap:
    """Decode a value of IA32_VMX_EPT_VPID_CAP, MSR 48CH (SDM volume 3, appendix A.10).

    Raises:
        UsageError: the value is negative or has more than 64 bits.
    """
    cpu = _cpu_of_register(_checked_register(value, f"msr:{value:#x}"))
    profile = _build(cpu, {}, cpu.name)
    return EptVpidCap(value, _capabilities(value), _unknown_bits(value), profile, refusals(profile))


def describe_ept_vpid_cap(decoded: EptVpidCap) -> list[str]:
    """Write a decoded register as lines: bit, name, state and meaning of every field, then unknown bits."""
    lines = [f"{_REGISTER} (MSR 48CH) = {decoded.value:#018x}"]
    for c in decoded.capabilities:
        bits = str(c.bit) if c.width == 1 else f"{c.bit + c.width - 1}:{c.bit}"
        state = ("set" if c.is_set else "clear") if c.width == 1 else f"= {c.value}"
        lines.append(f"  bit {bits:<5} {c.name:<30} {state:<6} {c.meaning}")
    lines += [f"  bit {bit:<5} {'(unknown)':<30} set" for bit in decoded.unknown_bits]
    return lines


# ---- For a reader --------------------------------------------------------------------------------------------


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
            "yes" if profile.exec_only else "no",
            _confidence(profile),
        )
        for profile in available()
    ]


def _confidence(profile: Profile) -> str:
    """Say how well the facts are known that decide the pmap's flags."""
    if profile.vendor == "generic":
        return "-"
    deciding = [profile.features[t.feature].status for t in _tunables(profile.pmap_type).values()]
    assumed = ["format assumed"] if profile.pmap_type is PmapType.PT_X86 else []
    return ", ".join([*dict.fromkeys(deciding), *assumed])


def describe(profile: Profile) -> list[str]:
    """Write a profile as lines: flags and why, refusals, assumptions, features, TLBs, costs, sources."""
    lines = [f"{profile.name}: {profile.title}"]
    if profile.since:
        lines.append(f"{profile.vendor}, nested paging since {profile.since.value} ({profile.since.cite()})")
    if profile.dump:
        lines.append(f"registers and CPUID read on: {profile.dump}")
    lines += _section("pmap", [f"type {profile.pmap_type.name}", *_flag_lines(profile)])
    lines += _section("bhyve would refuse this CPU", refusals(profile))
    lines += _section("assumptions", profile.assumptions)
    for title, facts in (("features", profile.features), ("TLBs", profile.tlb), ("costs", profile.costs)):
        lines += _section(
            title, [f"{key:<30} {_word(fact.value)} ({fact.cite()})" for key, fact in facts.items()]
        )
    return lines + _section("sources", _source_lines(profile))


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
    tunable = _tunables(profile.pmap_type).get(key)
    if tunable is None:
        return _X86_REFUSES[key]
    set_by_user = dict(profile.overrides).get(key)
    switched = "" if set_by_user is None else f"{tunable.sysctl}={int(set_by_user)} by override; "
    if profile.vendor == "generic":
        return f"{switched}configured so"
    fact = profile.features[tunable.feature]
    return f"{switched}{tunable.feature} is {_word(fact.value)} ({fact.cite()})"


def _source_lines(profile: Profile) -> list[str]:
    """List the sources that the profile's facts name."""
    since = [] if profile.since is None else [profile.since]
    facts = [*since, *profile.features.values(), *profile.tlb.values(), *profile.costs.values()]
    cited = dict.fromkeys(name for fact in facts for name in fact.sources)
    return [f"{name:<14} {sources()[name].where}" for name in cited]
