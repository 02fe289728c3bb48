"""profiles.toml, read once and on first use: CPUs, sources, and bhyve's rules as data."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from eptreplay.profiles.facts import (
    REGISTER,
    Capability,
    Cpu,
    Fact,
    FeatureValue,
    PmapType,
    Source,
    Status,
    TlbGeometry,
    Tunable,
    V_co,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Table: TypeAlias = dict[str, Any]


# Bit 3 of CPUID 8000_000AH EDX: the processor saves the address of the next instruction at an exit.
_SVM_NRIP_SAVE = 1 << 3

_AMD_STANDS_FOR = (
    "FreeBSD 10.0's bhyve runs on Intel only: this profile assumes what bhyve's AMD support of late 2014 (npt.c) "
    "passes to the pmap: processor-set accessed and dirty bits, and 2 MB mappings unless "
    "hw.vmm.npt.enable_superpage=0."
)

_AMD_FORMAT = (
    "Entries have the PT_X86 format: the later pmap type PT_RVI, which --release 14.0 has, has the same valid, write, accessed "
    "and dirty bits, but 10.0 does not know it."
)

_AMD_INVALIDATION = (
    "bhyve invalidates a PT_RVI pmap as it does a PT_EPT one, with a generation and an IPI to every CPU that runs "
    "the guest; a PT_X86 pmap has no generation, so calls of pmap_invalidate_* compare with EPT's, generations and "
    "IPIs do not."
)


@cache
def data() -> Table:
    """Read profiles.toml."""
    # Imported here because 'eptreplay --help' does not need them and they are slow to import.
    import tomllib  # noqa: PLC0415 - only where the file is read: --help needs neither
    from importlib.resources import files  # noqa: PLC0415 - likewise

    return tomllib.loads(files("eptreplay.profiles").joinpath("profiles.toml").read_text(encoding="utf-8"))


@cache
def sources() -> Mapping[str, Source]:
    """Return every source that a fact can name, by id."""
    return {
        name: Source(
            " ".join(entry[key] for key in ("url", "path", "commit") if key in entry), entry.get("note", "")
        )
        for name, entry in data()["source"].items()
    }


@cache
def status_meanings() -> Mapping[Status, str]:
    """Return what each status means, in words."""
    return {Status(word): meaning for word, meaning in data()["status"].items()}


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


def capabilities(value: int) -> tuple[Capability, ...]:
    """Split a value of IA32_VMX_EPT_VPID_CAP into its fields (SDM volume 3, appendix A.10)."""
    return tuple(
        Capability(
            name,
            entry["bit"],
            entry.get("width", 1),
            entry["meaning"],
            value >> entry["bit"] & ((1 << entry.get("width", 1)) - 1),
        )
        for name, entry in data()["ept_vpid_cap"]["bits"].items()
    )


def from_register(
    value: int, status: Status, cited: tuple[str, ...], where: str
) -> dict[str, Fact[FeatureValue]]:
    """Make a fact of every field of IA32_VMX_EPT_VPID_CAP; a plain capability becomes a boolean."""
    return {
        c.name: Fact(c.is_set if c.width == 1 else c.value, status, cited, f"bit {c.bit} of {where}")
        for c in capabilities(value)
    }


def _features(table: Table) -> dict[str, Fact[FeatureValue]]:
    """Read a CPU's features; fields that nobody named are taken from the register dump where there is one."""
    facts: dict[str, Fact[FeatureValue]] = {name: _fact(entry, _plain) for name, entry in table.items()}
    raw = facts.get("raw_48c")
    if raw is None or not isinstance(raw.value, str):
        return facts
    return from_register(int(raw.value, 16), raw.status, raw.sources, f"raw_48c, {raw.value}") | facts


def _load_cpu(name: str, entry: Table) -> Cpu:
    """Read one CPU of profiles.toml."""
    amd = entry["vendor"] == "AMD"
    features = _features(entry["features"])
    return Cpu(
        name=name,
        title=entry["title"],
        vendor=entry["vendor"],
        pmap_type=PmapType.PT_X86 if amd else PmapType.PT_EPT,
        features=features,
        tlb={key: _fact(value, _geometry) for key, value in entry["tlb"].items()},
        costs={key: _fact(value, _plain) for key, value in entry["costs"].items()},
        assumptions=_no_nrip(features) if amd else (),
        under_10_0=(_AMD_STANDS_FOR, _AMD_FORMAT, _AMD_INVALIDATION) if amd else (),
        since=_fact(entry["since"], int),
        dump=entry["dump"],
    )


def _no_nrip(features: Mapping[str, Fact[FeatureValue]]) -> tuple[str, ...]:
    """Say of an AMD CPU if bhyve would not start on it (check_svm_features in svm.c)."""
    raw = features["raw_svm_edx"].value
    if not isinstance(raw, str) or int(raw, 16) & _SVM_NRIP_SAVE:
        return ()
    no_nrip = (
        "bhyve would not start on this CPU, because its dump lacks next-RIP saving (CPUID 8000_000AH EDX bit 3 of "
        f"{raw}): the replay shows what its nested paging would do."
    )
    return (no_nrip,)


@cache
def cpus() -> Mapping[str, Cpu]:
    """Return every CPU and generic profile by name: generic first, then by vendor and year."""
    generic = [
        Cpu(
            name=name,
            title=entry["title"],
            vendor="generic",
            pmap_type=PmapType[entry["type"]],
            configured={key: entry[key] for key in data()["bhyve"]["tunable"]},
        )
        for name, entry in data()["generic"].items()
    ]
    real = [_load_cpu(name, entry) for name, entry in data()["cpu"].items()]
    real.sort(key=lambda cpu: (cpu.vendor != "Intel", cpu.since.value if cpu.since else 0))
    return {cpu.name: cpu for cpu in generic + real}


def tunables(pmap_type: PmapType) -> dict[str, Tunable]:
    """Return the tunables that bhyve has for entries of this format, by the user's key."""
    kind = "ept" if pmap_type is PmapType.PT_EPT else "npt"
    return {
        key: Tunable(key, entry["meaning"], entry[f"{kind}_feature"], entry[kind])
        for key, entry in data()["bhyve"]["tunable"].items()
        if kind in entry
    }


def requirements(pmap_type: PmapType) -> dict[str, str]:
    """Return what bhyve asks of a CPU: for each feature, its meaning and its bit (ept_init; check_svm_features)."""
    if pmap_type is not PmapType.PT_EPT:
        return dict.fromkeys(
            data()["bhyve"]["npt_requires"], "nested paging (npt, bit 0 of CPUID 8000_000AH EDX)"
        )
    bits = data()["ept_vpid_cap"]["bits"]
    return {
        name: f"{bits[name]['meaning']} ({name}, bit {bits[name]['bit']} of {REGISTER})"
        for name in data()["bhyve"]["ept_requires"]
    }
