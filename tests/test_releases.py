"""Releases as a user names them: in profiles, with --release, and by the registers of a machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest
from tests.command_line import eptreplay, small_trace

from eptreplay import profiles as cpu
from eptreplay.errors import UsageError
from eptreplay.model.state import releases as of_model
from eptreplay.profiles import PmapType, Release, resolve
from eptreplay.profiles.facts import RELEASE_LABELS
from eptreplay.request.choices import ReleaseName

if TYPE_CHECKING:
    from pathlib import Path

INTEL_WITHOUT = ("nehalem", "westmere", "sandybridge", "ivybridge", "haswell", "broadwell", "skylake-sp")
INTEL_WITH = ("icelake-sp", "sapphire-rapids", "granite-rapids")
AMD = ("barcelona", "bulldozer", "zen1", "zen2", "zen3", "zen4", "zen5")
GENERIC = ("ept-ad", "ept-ad-nosp", "ept-emul", "ept-emul-nosp", "ept-emul-xo", "x86")


def test_releases_have_one_number_and_one_name_everywhere() -> None:
    assert [release.value for release in Release] == [
        of_model.FREEBSD_10_0,
        of_model.FREEBSD_14_0,
        of_model.FREEBSD_14_LATER,
    ]
    assert tuple(map(str, ReleaseName)) == cpu.release_labels() == tuple(RELEASE_LABELS.values())


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("haswell", "haswell"),
        ("haswell@10.0", "haswell"),
        ("haswell@14.0", "haswell@14.0"),
        (" Haswell@14-LATER:ad=off ", "haswell@14-later:ad=off"),
        ("haswell@14.0:allow_2m_x_ept=off", "haswell@14.0:allow_2m_x_ept=0"),
        ("msr:0xf0106334141@14.0,ad=off", "msr-0xf0106334141@14.0:ad=off"),
        ("ept-emul@14.0:fault_2m=off", "ept-emul@14.0:fault_2m=off"),
    ],
)
def test_a_profile_is_named_with_its_release_and_10_0_plainly(spec: str, name: str) -> None:
    profile = resolve(spec)
    assert profile.name == name
    assert resolve(name) == profile


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("haswell@13", "no release is named '13'; one of 10.0, 14.0, 14-later"),
        ("haswell@", "no release is named ''"),
        ("haswell@14.0@10.0", "more than one release"),
        ("haswell:allow_2m_x_ept=0", "does not apply under 10.0"),
        ("haswell:fault_2m=off", "does not apply under 10.0"),
        ("zen2@14.0:allow_2m_x_ept=1", "about EPT entries alone"),
        ("x86@14.0:allow_2m_x_ept=1", "about EPT entries alone"),
    ],
)
def test_what_no_release_has_is_refused(spec: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        resolve(spec)


@pytest.mark.parametrize("release", ["14.0", "14-later"])
def test_the_2m_x_rule_follows_from_the_cpu(release: str) -> None:
    for name in INTEL_WITHOUT:
        profile = resolve(f"{name}@{release}")
        assert (profile.allow_2m_x_ept, profile.superpages) == (1, False)
        assert resolve(f"{profile.name}:allow_2m_x_ept=0").superpages
        assert resolve(f"{profile.name}:feature.pschange_mc_no=on").superpages
    for name in (*INTEL_WITH, "ept-ad", "ept-emul", "ept-emul-xo", "x86"):
        profile = resolve(f"{name}@{release}")
        assert (profile.allow_2m_x_ept, profile.superpages) == (0, True)
    assert not resolve(f"icelake-sp@{release}:allow_2m_x_ept=1").superpages


def test_amd_has_pt_rvi_from_the_release_that_has_it() -> None:
    for name in AMD:
        old, new = resolve(name), resolve(f"{name}@14.0")
        assert (old.pmap_type, new.pmap_type) == (PmapType.PT_X86, PmapType.PT_RVI)
        assert old.pmap_flags == new.pmap_flags
        assert any("Intel only" in text for text in old.assumptions)
        assert not any("Intel only" in text or "PT_X86" in text for text in new.assumptions)
    assert resolve("x86@14.0").pmap_type is PmapType.PT_X86


def test_every_cpu_has_the_fact_with_status_and_source() -> None:
    for name in (*INTEL_WITHOUT, *INTEL_WITH, *AMD):
        fact = resolve(name).features["pschange_mc_no"]
        assert fact.value is (name not in INTEL_WITHOUT)
        assert fact.sources
        assert fact.note
    assert set(cpu.names()) == {*INTEL_WITHOUT, *INTEL_WITH, *AMD, *GENERIC}


def test_a_fact_that_nobody_knows_is_assumed_and_said_to_be() -> None:
    profile = resolve("msr:0xf0106334141@14.0")
    assert profile.allow_2m_x_ept == 1
    assert any("it is taken as clear" in text for text in profile.assumptions)
    for known in ("feature.pschange_mc_no=on", "allow_2m_x_ept=1"):
        other = resolve(f"msr:0xf0106334141@14.0,{known}")
        assert not any("it is taken as clear" in text for text in other.assumptions)


@pytest.mark.parametrize(
    ("value", "state", "makes"),
    [("0x6b", "set", "make executable"), ("2B", "clear", "make no executable"), ("0", "clear", "make no")],
)
def test_arch_capabilities_are_decoded(value: str, state: str, makes: str) -> None:
    answer = eptreplay("profiles", "from-msr", "0xf0106334141", "--arch-capabilities", value)
    assert answer.code == 0
    (line,) = (line for line in answer.out.splitlines() if "pschange_mc_no" in line)
    assert line.split()[:4] == ["bit", "6", "pschange_mc_no", state]
    assert makes in answer.out
    decoded = cpu.from_ept_vpid_cap(0xF0106334141, int(value, 16))
    assert decoded.profile.features["pschange_mc_no"].value is (state == "set")


@pytest.mark.parametrize("value", ["", "x", "-1", "0x1" + 16 * "0"])
def test_what_no_register_holds_is_refused(value: str) -> None:
    answer = eptreplay("profiles", "from-msr", "0xf0106334141", f"--arch-capabilities={value}")
    assert answer.code == 2
    assert "IA32_ARCH_CAPABILITIES" in answer.err


def test_profiles_show_says_that_the_tunables_name_is_contrary() -> None:
    answer = eptreplay("profiles", "show", "haswell@14.0")
    text = " ".join(answer.out.split())
    assert "vm.pmap.allow_2m_x_ept=1: forbids" in text
    assert "the name says the contrary" in text
    assert "can run under 10.0, 14-later, too" in text


def test_releases_stand_side_by_side_in_one_run(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "trace.parquet")
    out = tmp_path / "run"
    given = ["-p", "haswell", "-p", "zen2@14-later", "--release", "10.0", "--release", "14.0"]
    answer = eptreplay("replay", trace, *given, "--out", out)
    assert answer.code == 0, answer.err
    names = pl.read_parquet(out / "tables/summary.parquet")["profile"].to_list()
    assert names == ["haswell", "haswell@14.0", "zen2@14-later"]
    described = json.loads((out / "run.json").read_text())["profiles"]
    assert [(p["release"], p["entries"], p["allow_2m_x_ept"]) for p in described] == [
        ("10.0", "PT_EPT", 0),
        ("14.0", "PT_EPT", 1),
        ("14-later", "PT_RVI", 0),
    ]


def test_a_release_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "trace.parquet")
    answer = eptreplay("replay", trace, "-p", "haswell@14.0", "--release", "14.0", "--out", tmp_path / "run")
    assert answer.code == 2
    assert "--release needs a profile that names no release" in answer.err
