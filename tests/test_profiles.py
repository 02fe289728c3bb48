from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections import Counter
from itertools import combinations, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay import profiles
from eptreplay.errors import UsageError
from eptreplay.profiles import (
    Fact,
    PmapFlags,
    PmapType,
    Status,
    TlbGeometry,
    available,
    cost_parameters,
    describe,
    describe_ept_vpid_cap,
    from_ept_vpid_cap,
    names,
    overview_rows,
    refusals,
    resolve,
    sources,
    status_meanings,
)
from eptreplay.profiles.data import data

GENERIC = ("ept-ad", "ept-ad-nosp", "ept-emul", "ept-emul-nosp", "ept-emul-xo", "x86")
INTEL = (
    "nehalem",
    "westmere",
    "sandybridge",
    "ivybridge",
    "haswell",
    "broadwell",
    "skylake-sp",
    "icelake-sp",
    "sapphire-rapids",
    "granite-rapids",
)
AMD = ("barcelona", "bulldozer", "zen1", "zen2", "zen3", "zen4", "zen5")

SUPERPAGE = PmapFlags.PMAP_PDE_SUPERPAGE
EMULATE = PmapFlags.PMAP_EMULATE_AD_BITS
EXEC_ONLY = PmapFlags.PMAP_SUPPORTS_EXEC_ONLY

# The register of a Haswell-EP, and the bits of it that ept_init in ept.c demands.
GOOD = 0xF0106334141
REQUIRED_BITS = {
    "walk4": 6,
    "wb": 14,
    "invept": 20,
    "invept_single": 25,
    "invept_all": 26,
    "invvpid": 32,
    "invvpid_addr": 40,
    "invvpid_single": 41,
    "invvpid_all": 42,
    "invvpid_single_retain_globals": 43,
}
DECIDING_BITS = {"ept_2m": 16, "ept_ad": 21, "exec_only": 0}
ON_OFF = {True: "on", False: "off"}

AnyFact = Fact[bool | int | str | None] | Fact[TlbGeometry | None] | Fact[int | str | None]


def spec(base: str, *overrides: str) -> str:
    return f"{base}:{','.join(overrides)}" if overrides else base


def facts_of(name: str) -> dict[str, AnyFact]:
    profile = resolve(name)
    groups = (("features", profile.features), ("tlb", profile.tlb), ("costs", profile.costs))
    return {f"{group}.{key}": fact for group, facts in groups for key, fact in facts.items()}


# ---- The data ------------------------------------------------------------------------------------------------


def test_all_profiles_are_there_generic_first_then_each_vendor_by_year() -> None:
    assert names() == (*GENERIC, *INTEL, *AMD)
    assert tuple(profile.name for profile in available()) == names()
    for vendor in ("Intel", "AMD"):
        years = [p.since.value for p in available() if p.vendor == vendor and p.since is not None]
        assert years == sorted(years)
        assert len(years) == sum(p.vendor == vendor for p in available())


def test_the_file_keeps_every_fact_of_the_survey() -> None:
    cpus = data()["cpu"].values()
    facts = [fact for cpu in cpus for group in ("features", "tlb", "costs") for fact in cpu[group].values()]
    assert (
        Counter(fact["status"] for fact in facts)
        == {
            "sourced": 482,
            "inferred": 81,  # two more than in the survey: TLBs of Barcelona and Bulldozer for fetches from 2 MB pages
            "unknown": 29,
            "conflict": 6,
            "recalled": 3,
        }
    )
    assert all(set(fact) <= {"value", "status", "src", "note"} for fact in facts)


@pytest.mark.parametrize("name", [*INTEL, *AMD])
def test_every_fact_has_a_known_status_and_sources_that_exist(name: str) -> None:
    for key, fact in facts_of(name).items():
        assert fact.status in status_meanings(), key
        assert set(fact.sources) <= set(sources()), key
        if fact.status in {Status.SOURCED, Status.RECALLED, Status.CONFLICT}:
            assert fact.sources, key
            assert fact.value is not None, key
        if fact.status is Status.UNKNOWN:
            assert fact.value is None, key
        if not fact.sources:
            assert fact.note, key


def test_every_status_has_a_meaning_and_every_source_a_place() -> None:
    assert set(status_meanings()) == set(Status)
    assert all(status_meanings().values())
    assert all(source.where for source in sources().values())


@pytest.mark.parametrize("name", INTEL)
def test_features_agree_with_the_register_that_was_read(name: str) -> None:
    raw = resolve(name).features.get("raw_48c")
    if raw is None:
        assert name == "nehalem"
        return
    decoded = from_ept_vpid_cap(int(str(raw.value), 16))
    assert decoded.unknown_bits == ()
    for capability in decoded.capabilities:
        expected = capability.is_set if capability.width == 1 else capability.value
        assert resolve(name).features[capability.name].value == expected, capability.name


def test_a_field_that_the_survey_does_not_name_is_read_from_the_dump() -> None:
    wb = resolve("haswell").features["wb"]
    assert wb == Fact(
        value=True, status=Status.SOURCED, sources=("instlat",), note="bit 14 of raw_48c, 0xf0106334141"
    )


@pytest.mark.parametrize("name", [*INTEL, *AMD])
def test_tlb_geometries_are_well_formed(name: str) -> None:
    for key, fact in resolve(name).tlb.items():
        if fact.value is None:
            assert key.startswith("note_")
            continue
        assert fact.value.entries >= 0
        assert fact.value.ways is None or fact.value.ways == "full" or 0 <= fact.value.ways <= 16
        assert set(fact.value.page_sizes) <= {"4K", "2M", "4M", "1G"}


def test_tlb_and_costs_can_be_reached_by_name() -> None:
    haswell = resolve("haswell")
    assert haswell.tlb["stlb"].value == TlbGeometry(1024, 8, ("4K", "2M"))
    assert haswell.costs["stlb_hit_extra_cycles"].value == 12
    assert resolve("zen4").tlb["l2d"].value == TlbGeometry(3072, None, ("4K", "2M"))


def test_profiles_survive_pickling_and_are_hashable() -> None:
    for profile in available():
        assert pickle.loads(pickle.dumps(profile)) == profile  # noqa: S301 - our own bytes
    assert len(set(available())) == len(names())


def test_importing_the_module_reads_no_data_and_pulls_in_no_heavy_package() -> None:
    code = (
        "import sys, eptreplay.profiles as p; assert 'tomllib' not in sys.modules; p.available();"
        "print(*{'numba', 'numpy', 'polars', 'pyarrow'} & set(sys.modules))"
    )
    root = Path(profiles.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


# ---- Generic profiles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pmap_type", "flags"),
    [
        ("ept-ad", PmapType.PT_EPT, SUPERPAGE),
        ("ept-ad-nosp", PmapType.PT_EPT, PmapFlags(0)),
        ("ept-emul", PmapType.PT_EPT, SUPERPAGE | EMULATE),
        ("ept-emul-nosp", PmapType.PT_EPT, EMULATE),
        ("ept-emul-xo", PmapType.PT_EPT, SUPERPAGE | EMULATE | EXEC_ONLY),
        ("x86", PmapType.PT_X86, SUPERPAGE),
    ],
)
def test_generic_profiles_are_the_configurations_of_the_golden_replays(
    name: str, pmap_type: PmapType, flags: PmapFlags
) -> None:
    profile = resolve(name)
    assert (profile.pmap_type, profile.pmap_flags) == (pmap_type, flags)
    assert (profile.features, profile.tlb, profile.costs, profile.assumptions) == ({}, {}, {}, ())
    assert refusals(profile) == ()


def test_a_generic_profile_can_be_switched_off_but_not_on() -> None:
    assert resolve("ept-ad:superpages=off").pmap_flags == resolve("ept-ad-nosp").pmap_flags
    assert resolve("ept-ad:ad=off").pmap_flags == resolve("ept-emul").pmap_flags
    assert resolve("ept-emul-xo:exec_only=off").pmap_flags == resolve("ept-emul").pmap_flags
    with pytest.raises(UsageError, match="take a generic profile that has"):
        resolve("ept-ad-nosp:superpages=on")
    with pytest.raises(UsageError, match="no CPU facts to override"):
        resolve("ept-ad:feature.ept_ad=off")


# ---- Derivation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["haswell", "nehalem", "register"])
@pytest.mark.parametrize(("ept_2m", "ept_ad", "exec_only"), list(product((True, False), repeat=3)))
def test_intel_flags_follow_features_and_tunables(
    *, base: str, ept_2m: bool, ept_ad: bool, exec_only: bool
) -> None:
    features = {"ept_2m": ept_2m, "ept_ad": ept_ad, "exec_only": exec_only}
    if base == "register":
        value = sum(1 << bit for bit in REQUIRED_BITS.values())
        value += sum(1 << DECIDING_BITS[name] for name, on in features.items() if on)
        base, given = f"msr-{value:#x}", []
    else:
        given = [f"feature.{name}={ON_OFF[on]}" for name, on in features.items()]
    for tunables in product((None, True, False), repeat=3):
        keys = dict(zip(("superpages", "ad", "exec_only"), tunables, strict=True))
        wanted = spec(base, *given, *(f"{key}={ON_OFF[on]}" for key, on in keys.items() if on is not None))
        if any(on and not has for on, has in zip(tunables, features.values(), strict=True)):
            with pytest.raises(UsageError, match="can only switch off what the CPU has"):
                resolve(wanted)
            continue
        profile = resolve(wanted)
        assert profile.pmap_type is PmapType.PT_EPT
        assert profile.superpages == (ept_2m and tunables[0] is not False)
        assert profile.emulates_ad == (not ept_ad or tunables[1] is False)
        assert profile.exec_only == (exec_only and tunables[2] is not False)
        expected = (
            SUPERPAGE * profile.superpages | EMULATE * profile.emulates_ad | EXEC_ONLY * profile.exec_only
        )
        assert profile.pmap_flags == expected


@pytest.mark.parametrize("name", INTEL)
def test_accessed_and_dirty_bits_are_emulated_before_haswell_only(name: str) -> None:
    assert resolve(name).emulates_ad == (INTEL.index(name) < INTEL.index("haswell"))
    assert resolve(name).superpages
    assert resolve(name).exec_only


def test_switching_on_what_the_cpu_lacks_names_the_fact_and_the_way_out() -> None:
    with pytest.raises(UsageError) as raised:
        resolve("nehalem:ad=on")
    text = str(raised.value)
    assert "hw.vmm.ept.use_hw_ad_bits" in text
    assert "ept_ad is off (sourced, qemu72" in text
    assert "write nehalem:feature.ept_ad=on" in text
    assert not resolve("nehalem:feature.ept_ad=on").emulates_ad


def test_a_feature_override_changes_the_fact_and_says_so() -> None:
    profile = resolve("haswell:feature.ept_ad=off")
    assert profile.features["ept_ad"].value is False
    assert profile.features["ept_ad"].status is Status.OVERRIDE
    assert "before: on (sourced" in profile.features["ept_ad"].note
    assert profile.emulates_ad
    assert any(line.startswith("ept_ad is off by override") for line in profile.assumptions)
    assert resolve("haswell").features["ept_ad"].value is True


@pytest.mark.parametrize("name", [*INTEL, *AMD])
def test_every_switch_among_the_features_can_be_overridden(name: str) -> None:
    for key, fact in resolve(name).features.items():
        if isinstance(fact.value, bool):
            changed = resolve(f"{name}:feature.{key}={ON_OFF[not fact.value]}", even_refused=True)
            assert changed.features[key].value is not fact.value
            assert len(changed.assumptions) > 0


def test_an_override_that_decides_nothing_says_that() -> None:
    profile = resolve("haswell:feature.pml=on")
    assert any("nothing that bhyve tells the pmap depends on it" in line for line in profile.assumptions)
    assert profile.pmap_flags == resolve("haswell").pmap_flags


def test_a_fact_that_is_not_a_switch_cannot_be_overridden() -> None:
    for wanted in ("zen3:feature.asids=on", "haswell:feature.raw_48c=off"):
        with pytest.raises(UsageError, match="is not a switch"):
            resolve(wanted)


def test_hardware_accessed_and_dirty_bits_come_with_the_page_walk_assumption() -> None:
    assert any("page tables as writes" in line for line in resolve("haswell").assumptions)
    assert not any("page tables as writes" in line for line in resolve("haswell:ad=off").assumptions)


# ---- AMD -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AMD)
def test_amd_profiles_have_x86_entries_and_never_emulate(name: str) -> None:
    profile = resolve(name)
    assert (profile.pmap_type, profile.pmap_flags) == (PmapType.PT_X86, SUPERPAGE)
    assert resolve(f"{name}:superpages=on").pmap_flags == SUPERPAGE
    assert resolve(f"{name}:superpages=off").pmap_flags == PmapFlags(0)
    assert resolve(f"{name}:feature.npt_2m=off").pmap_flags == PmapFlags(0)
    assert resolve(f"{name}:feature.npt_ad=off,feature.exec_only=on").pmap_flags == SUPERPAGE


@pytest.mark.parametrize("name", [*AMD, "x86"])
@pytest.mark.parametrize("word", ["on", "off"])
def test_x86_entries_refuse_the_tunables_of_ept(name: str, word: str) -> None:
    with pytest.raises(UsageError, match="never emulates"):
        resolve(f"{name}:ad={word}")
    with pytest.raises(UsageError, match="no read permission"):
        resolve(f"{name}:exec_only={word}")


@pytest.mark.parametrize("name", AMD)
def test_amd_profiles_say_what_they_assume(name: str) -> None:
    text = " ".join(resolve(name).assumptions)
    assert "npt.c" in text
    assert "PT_RVI" in text
    assert "PT_X86 format" in text
    assert ("next-RIP" in text) == (name == "barcelona")


def test_amd_without_nested_paging_is_refused() -> None:
    assert "bit 0 of CPUID 8000_000AH EDX" in refusals(resolve("zen3:feature.npt=off", even_refused=True))[0]
    with pytest.raises(UsageError, match="bhyve would refuse this CPU"):
        resolve("zen3:feature.npt=off")


# ---- Refusals ------------------------------------------------------------------------------------------------


def test_no_profile_that_ships_is_refused() -> None:
    assert [profile.name for profile in available() if refusals(profile)] == []


def test_each_required_bit_that_is_clear_is_a_refusal_of_its_own() -> None:
    bits = REQUIRED_BITS.values()
    for cleared in (set(c) for size in range(len(bits) + 1) for c in combinations(bits, size)):
        value = GOOD & ~sum(1 << bit for bit in cleared)
        reasons = from_ept_vpid_cap(value).refusals
        named = {int(number) for reason in reasons for number in re.findall(r"bit (\d+) of", reason)}
        assert named == cleared
        assert len(reasons) == len(cleared)


@pytest.mark.parametrize("feature", REQUIRED_BITS)
def test_a_required_feature_that_is_missing_stops_the_profile(feature: str) -> None:
    bit = REQUIRED_BITS[feature]
    for wanted in (f"haswell:feature.{feature}=off", f"msr:{GOOD & ~(1 << bit):#x}"):
        with pytest.raises(UsageError, match=rf"bhyve would refuse .*\({feature}, bit {bit} of"):
            resolve(wanted)
        assert refusals(resolve(wanted, even_refused=True))
    assert resolve(f"msr:{GOOD & ~(1 << bit):#x},feature.{feature}=on").pmap_flags == SUPERPAGE | EXEC_ONLY


@given(st.integers(min_value=0, max_value=63).filter(lambda bit: bit not in REQUIRED_BITS.values()))
def test_no_other_bit_is_required(bit: int) -> None:
    assert from_ept_vpid_cap(GOOD & ~(1 << bit)).refusals == ()


def test_a_requirement_that_no_source_states_is_assumed_and_shown() -> None:
    nehalem = resolve("nehalem")
    assert "wb" not in nehalem.features
    assert refusals(nehalem) == ()
    assert any("(wb, bit 14 of" in line for line in nehalem.assumptions)
    assert refusals(resolve("nehalem:feature.wb=off", even_refused=True))
    assert not any("No source states" in line for line in resolve("nehalem:feature.wb=on").assumptions)


# ---- The register --------------------------------------------------------------------------------------------


@given(st.integers(min_value=1, max_value=2**64 - 1))
def test_any_register_value_decodes_and_round_trips(value: int) -> None:
    decoded = from_ept_vpid_cap(value)
    again = sum(c.value << c.bit for c in decoded.capabilities) + sum(
        1 << bit for bit in decoded.unknown_bits
    )
    assert again == decoded.value == value
    assert decoded.profile.emulates_ad == (not value >> 21 & 1)
    assert decoded.profile.name == f"msr-{value:#x}"
    assert resolve(decoded.profile.name, even_refused=True) == decoded.profile
    assert describe(decoded.profile)
    assert len(describe_ept_vpid_cap(decoded)) == 1 + len(decoded.capabilities) + len(decoded.unknown_bits)


def test_reserved_bits_are_listed_as_unknown_and_change_nothing() -> None:
    decoded = from_ept_vpid_cap(GOOD | 1 << 63 | 1 << 1)
    assert decoded.unknown_bits == (1, 63)
    assert decoded.profile.pmap_flags == from_ept_vpid_cap(GOOD).profile.pmap_flags
    assert any(line.startswith("Bits 1, 63 of") for line in decoded.profile.assumptions)
    assert from_ept_vpid_cap(GOOD).unknown_bits == ()


def test_a_register_value_is_accepted_in_each_spelling() -> None:
    expected = from_ept_vpid_cap(GOOD).profile
    for wanted in ("msr:0xF0106334141", "msr:f0106334141", " MSR:0X00000f0106334141 ", "msr-0xf0106334141"):
        assert resolve(wanted) == expected
    for wanted in ("msr:0xF0106334141,ad=off", "msr:0xF0106334141:ad=off", "msr-0xf0106334141:ad=off"):
        assert resolve(wanted).name == "msr-0xf0106334141:ad=off"
        assert resolve(wanted).emulates_ad


@pytest.mark.parametrize(
    "wanted",
    [
        "msr",
        "msr:",
        "msr:zz",
        "msr:-1",
        "msr:-0x1",
        "msr:1_0",
        "msr:0x",
        "msr:0x10000000000000000",
        "msr:0xf01 0x6",
    ],
)
def test_a_bad_register_value_says_how_to_read_it(wanted: str) -> None:
    with pytest.raises(UsageError) as raised:
        resolve(wanted)
    assert "cpucontrol -m 0x48c /dev/cpuctl0" in str(raised.value)
    assert "rdmsr 0x48c" in str(raised.value)


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_number_that_no_register_holds_is_refused(value: int) -> None:
    with pytest.raises(UsageError, match=r"at most 64 bits|no sign"):
        from_ept_vpid_cap(value)


# ---- Naming --------------------------------------------------------------------------------------------------


def test_names_are_canonical_and_read_back() -> None:
    profile = resolve(" Haswell:Superpages=NO, ad=0 ,feature.ept-1g=Yes")
    assert profile.name == "haswell:ad=off,feature.ept_1g=on,superpages=off"
    assert profile.overrides == (("ad", False), ("feature.ept_1g", True), ("superpages", False))
    assert resolve(profile.name) == profile
    assert [resolve(name).name for name in names()] == list(names())


@pytest.mark.parametrize("on", ["on", "ON", "true", "True", "1", "yes"])
@pytest.mark.parametrize("off", ["off", "OFF", "false", "False", "0", "no"])
def test_switches_are_spelled_in_any_usual_way(on: str, off: str) -> None:
    assert resolve(f"haswell:superpages={on},ad={off}").name == "haswell:ad=off,superpages=on"


@pytest.mark.parametrize(
    ("wanted", "suggestion"),
    [("hasswell", "haswell"), ("skylake", "skylake-sp"), ("zen", "zen5"), ("ept-emu", "ept-emul")],
)
def test_an_unknown_name_gets_a_suggestion_and_the_way_to_list(wanted: str, suggestion: str) -> None:
    with pytest.raises(UsageError) as raised:
        resolve(wanted)
    assert "did you mean" in str(raised.value)
    assert suggestion in str(raised.value)
    assert "'eptreplay profiles list' lists all" in str(raised.value)


def test_an_unknown_name_that_is_near_nothing_gets_no_suggestion() -> None:
    with pytest.raises(UsageError, match="lists all") as raised:
        resolve("pdp-11/70")
    assert "did you mean" not in str(raised.value)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ("", "no profile is named"),
        ("haswell:", "is not an override"),
        ("haswell:ad", "is not an override"),
        ("haswell:ad=off,", "is not an override"),
        ("haswell:superpage=off", "did you mean superpages"),
        ("haswell:ad=maybe", "neither on nor off"),
        ("haswell:ad=", "neither on nor off"),
        ("haswell:ad=o\nn", r"'o\\nn' is neither on nor off"),
        ("haswell:feature.a\nb=on", r"'feature.a\\nb' is not a feature"),
        ("haswell:feature.a\nb=on,feature.a\nb=on", "given twice"),
        ("haswell:ad=on,AD=off", "given twice"),
        ("haswell:feature.ept_add=on", "did you mean ept_ad"),
        ("zen3:feature.walk4=on", "not a feature of this CPU"),
    ],
)
def test_a_bad_override_is_named(wanted: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as raised:
        resolve(wanted)
    assert repr(wanted) in str(raised.value)
    assert "\n" not in str(raised.value)


@given(st.text())
def test_any_text_resolves_or_is_a_usage_error(text: str) -> None:
    for wanted in (text, f"haswell:{text}", f"msr:{text}"):
        try:
            resolve(wanted)
        except UsageError as error:
            assert "\n" not in str(error)  # noqa: PT017 - both outcomes are right


# ---- For a reader --------------------------------------------------------------------------------------------


def test_a_description_gives_flags_reasons_assumptions_and_sources() -> None:
    text = "\n".join(describe(resolve("nehalem:superpages=off")))
    assert re.search(
        r"PMAP_PDE_SUPERPAGE +clear +hw\.vmm\.ept\.use_superpages=0 by override; ept_2m is on", text
    )
    assert re.search(
        r"PMAP_EMULATE_AD_BITS +set +ept_ad is off \(sourced, qemu72; QEMU model Nehalem\)", text
    )
    assert "assumptions:" in text
    assert re.search(r"stlb +512 entries, 4-way, pages of 4K \(sourced, instlat", text)
    assert re.search(r"vmexit_roundtrip_cycles +1009 \(recalled, atc12", text)
    assert re.search(r"qemu72 +Debian source package", text)
    assert "refuse" not in text


def test_a_description_of_a_refused_cpu_gives_the_reasons() -> None:
    lines = describe(resolve("haswell:feature.wb=off", even_refused=True))
    assert "bhyve would refuse this CPU:" in lines
    assert any("wb, bit 14" in line for line in lines)


@pytest.mark.parametrize("name", [*GENERIC, *INTEL, *AMD])
def test_every_profile_can_be_described(name: str) -> None:
    lines = describe(resolve(name))
    assert lines[0].startswith(f"{name}: ")
    assert sum("PMAP_" in line for line in lines) >= 3


def test_a_decoded_register_is_written_bit_by_bit() -> None:
    lines = describe_ept_vpid_cap(from_ept_vpid_cap(0x1_0F01_06F3_41C1 & ~(1 << 21) | 1 << 60))
    assert lines[0].startswith("IA32_VMX_EPT_VPID_CAP")
    text = "\n".join(lines)
    assert re.search(r"bit 21 +ept_ad +clear +accessed and dirty flags", text)
    assert re.search(r"bit 53:48 hlat_prefix += 1 ", text)
    assert re.search(r"bit 60 +\(unknown\) +set", text)


def test_the_overview_has_a_row_for_every_profile_and_the_docs_show_it() -> None:
    rows = overview_rows()
    assert [row[0] for row in rows] == list(names())
    assert {len(row) for row in rows} == {len(profiles.OVERVIEW_HEADER)}
    text = (Path(__file__).parents[1] / "docs" / "profiles.md").read_text(encoding="utf-8")
    for name, *cells in rows:
        assert f"| `{name}` | {' | '.join(cells)} |" in text


# ---- What events cost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cost_parameters())
def test_every_cost_has_a_range_around_its_value_a_status_and_grounds(name: str) -> None:
    parameter = cost_parameters()[name]
    assert 0 < parameter.low <= parameter.value <= parameter.high
    assert name.endswith({"cycles": "_cycles", "us": "_us", "MHz": "_mhz"}[parameter.unit])
    assert parameter.meaning
    assert parameter.note
    assert set(parameter.sources) <= set(sources())
    assert bool(parameter.sources) == (parameter.status is not Status.ASSUMED)
