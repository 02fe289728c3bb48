from __future__ import annotations

from typing import Final

import pytest
from tests.model.harness import Host, Kind

from eptreplay.model.state import pte

NX: Final = 1 << 63
EMULATE: Final = pte.PMAP_EMULATE_AD_BITS

# Written out from the formats: bit numbers are those of the SDM, what is emulated stands in bits 52 and 53.
# fmt: off
X86_MASKS: Final = {
    "PG_V":  0x001, "PG_RW": 0x002, "PG_A": 0x020, "PG_M": 0x040, "PG_G": 0x100, "PG_CACHE_WB": 0,
    "PG_PTE_PROMOTE": NX | 0xDFF,  # NX W MANAGED G PAT M A PCD PWT U RW V
    "PG_READ": 0x005, "PG_WRITE": 0x007, "PG_FETCH": 0x005, "PG_NOFETCH": NX,
    "PG_HW_A": 0x020, "PG_HW_M": 0x040,
}
EPT_MASKS: Final = {
    "PG_V":  0x001, "PG_RW": 0x002, "PG_A": 0x100, "PG_M": 0x200, "PG_G": 0, "PG_CACHE_WB": 0x070,
    "PG_PTE_PROMOTE": NX | 0xF7F,  # NX W MANAGED M A IPAT MT U RW V
    "PG_READ": 0x001, "PG_WRITE": 0x002, "PG_FETCH": 0x004, "PG_NOFETCH": 0,
    "PG_HW_A": 0x100, "PG_HW_M": 0x200,
}
EMULATED_MASKS: Final = {
    "PG_V": 1 << 52, "PG_RW": 1 << 53, "PG_A": 0x001, "PG_M": 0x002, "PG_G": 0, "PG_CACHE_WB": 0x070,
    "PG_PTE_PROMOTE": NX | 3 << 52 | 0xC7F,  # NX RW V W MANAGED IPAT MT U M A
    "PG_READ": 0x001, "PG_WRITE": 0x002, "PG_FETCH": 0x004, "PG_NOFETCH": 0,
    "PG_HW_A": 0, "PG_HW_M": 0,
}

X86_NAMES: Final = {0: "V", 1: "RW", 2: "U", 3: "PWT", 4: "PCD", 5: "A", 6: "M", 8: "G", 10: "MANAGED", 11: "W", 54: "PROMOTED", 63: "NX"}
EPT_NAMES: Final = {0: "READ=V", 1: "WRITE=RW", 2: "EXECUTE=U", 6: "IPAT", 7: "PS", 8: "A", 9: "M", 10: "MANAGED", 11: "W", 54: "PROMOTED", 63: "NX"}
EMULATED_NAMES: Final = {0: "READ=A", 1: "WRITE=M", 2: "EXECUTE=U", 6: "IPAT", 7: "PS", 10: "MANAGED", 11: "W", 52: "EMUL_V", 53: "EMUL_RW", 54: "PROMOTED", 63: "NX"}
# fmt: on


def masks_of(pm_type: int, pm_flags: int) -> dict[str, int]:
    if pm_type == pte.PT_X86:
        return X86_MASKS
    if pm_type == pte.PT_RVI:
        return X86_MASKS | {"PG_G": 0, "PG_PTE_PROMOTE": X86_MASKS["PG_PTE_PROMOTE"] & ~X86_MASKS["PG_G"]}
    return EMULATED_MASKS if pm_flags & EMULATE else EPT_MASKS


@pytest.mark.parametrize("pm_flags", range(8))
@pytest.mark.parametrize("pm_type", [pte.PT_X86, pte.PT_EPT, pte.PT_RVI])
def test_a_pmap_picks_its_masks_by_type_and_flags(pm_type: int, pm_flags: int) -> None:
    pmap = Host(Kind("", pm_type, pm_flags)).st.pmap[0]
    found = {name: int(pmap[name]) for name in X86_MASKS}
    assert found == masks_of(pm_type, pm_flags)
    assert (pmap.pm_type, pmap.pm_flags) == (pm_type, pm_flags)


@pytest.mark.parametrize("masks", [X86_MASKS, EPT_MASKS, EMULATED_MASKS])
def test_the_bits_of_a_format_do_not_overlap(masks: dict[str, int]) -> None:
    single = [masks[name] for name in ("PG_V", "PG_RW", "PG_A", "PG_M", "PG_G", "PG_CACHE_WB")]
    software = [0x400, 0x800, NX, 0x80, 0x4]
    fields = [*single, *software, 0x000F_FFFF_FFFF_F000]
    assert sum(fields) == fields[0] | sum(fields[1:])
    for i, field in enumerate(fields):
        assert not any(field & other for other in fields[i + 1 :])


def test_the_constants_are_those_of_the_manual() -> None:
    assert (int(pte.X86_PG_V), int(pte.X86_PG_RW), int(pte.X86_PG_U)) == (1, 2, 4)
    assert (int(pte.X86_PG_A), int(pte.X86_PG_M), int(pte.X86_PG_G), int(pte.X86_PG_PS)) == (32, 64, 256, 128)
    assert (int(pte.EPT_PG_READ), int(pte.EPT_PG_WRITE), int(pte.EPT_PG_EXECUTE)) == (1, 2, 4)
    assert (int(pte.EPT_PG_A), int(pte.EPT_PG_M), int(pte.EPT_PG_PS)) == (1 << 8, 1 << 9, 1 << 7)
    assert int(pte.EPT_PG_MT_WB) == 6 << 3
    assert int(pte.EPT_PG_IGNORE_PAT) == 1 << 6
    assert int(pte.PG_FRAME) == sum(1 << bit for bit in range(12, 52))
    assert int(pte.PG_PS_FRAME) == sum(1 << bit for bit in range(21, 52))


@pytest.mark.parametrize("level", [1, 2, 3, 4])
@pytest.mark.parametrize("pm_flags", range(8))
def test_each_bit_of_an_x86_entry_has_its_name(pm_flags: int, level: int) -> None:
    table = X86_NAMES | {7: "PAT" if level == 1 else "PS"}
    for bit in range(64):
        for pm_type in (pte.PT_X86, pte.PT_RVI):
            assert pte.names(1 << bit, pm_type, pm_flags, level) == ([table[bit]] if bit in table else [])


def test_bit_12_of_an_x86_pde_is_its_memory_type_in_a_superpage_only() -> None:
    assert pte.names(0x1080, pte.PT_X86, 0, 2) == ["PS", "PAT"]
    assert pte.names(0x1000, pte.PT_X86, 0, 2) == []
    assert pte.names(0x1080, pte.PT_X86, 0, 3) == ["PS"]


@pytest.mark.parametrize("level", [1, 2, 3, 4])
@pytest.mark.parametrize("pm_flags", range(8))
def test_each_bit_of_an_ept_entry_has_its_name(pm_flags: int, level: int) -> None:
    table = EMULATED_NAMES if pm_flags & EMULATE else EPT_NAMES
    for bit in range(64):
        expected = [table[bit]] if bit in table else []
        if level == 1 or (level == 2 and bit == 7):
            expected.append(f"MT={1 << bit >> 3 & 7}")
        assert pte.names(1 << bit, pte.PT_EPT, pm_flags, level) == expected


@pytest.mark.parametrize("memory_type", range(8))
def test_the_memory_type_of_an_ept_leaf_is_a_number(memory_type: int) -> None:
    raw = memory_type << 3
    assert pte.names(raw, pte.PT_EPT, 0, 1) == [f"MT={memory_type}"]
    assert pte.names(raw | 0x80, pte.PT_EPT, 0, 2) == ["PS", f"MT={memory_type}"]
    assert pte.names(raw, pte.PT_EPT, 0, 2) == []
    assert pte.names(raw | 0x80, pte.PT_EPT, 0, 3) == ["PS"]


def test_names_come_low_bits_first() -> None:
    raw = NX | 3 << 52 | 0x877 | 0x1_2345_6000
    assert pte.names(raw, pte.PT_EPT, EMULATE, 1) == [
        "READ=A", "WRITE=M", "EXECUTE=U", "IPAT", "W", "EMUL_V", "EMUL_RW", "NX", "MT=6",
    ]  # fmt: skip
