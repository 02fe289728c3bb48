"""The registers that decide, decoded: IA32_VMX_EPT_VPID_CAP (MSR 48CH), which bhyve reads, and IA32_ARCH_CAPABILITIES (10AH).

Source: SDM volume 3, appendix A.10; volume 4, table 2-2, IA32_ARCH_CAPABILITIES.
"""

from __future__ import annotations

import re

from eptreplay.errors import UsageError
from eptreplay.profiles.data import capabilities, data, from_register
from eptreplay.profiles.facts import REGISTER, Cpu, EptVpidCap, Fact, FeatureValue, PmapType, Status
from eptreplay.profiles.kernel import PSCHANGE_MC_NO
from eptreplay.profiles.rules import bad_spec, build, refusals

READ_MSR = (
    "read it with 'cpucontrol -m 0x48c /dev/cpuctl0' on FreeBSD (write its two halves as one number) or "
    "'rdmsr 0x48c' on Linux, and give it as msr:0xf0106334141"
)


ARCH_CAPABILITIES = "IA32_ARCH_CAPABILITIES"
PSCHANGE_MC_NO_BIT = 6
READ_ARCH = (
    "read it with 'cpucontrol -m 0x10a /dev/cpuctl0' on FreeBSD or 'rdmsr 0x10a' on Linux, and give it as 0x6b; "
    "where reading it fails the CPU has none: give 0"
)


def _unknown_bits(value: int) -> tuple[int, ...]:
    """Return the bits that are set and belong to no field known."""
    known = sum(((1 << c.width) - 1) << c.bit for c in capabilities(value))
    return tuple(bit for bit in range(64) if (value & ~known) >> bit & 1)


def cpu_of_register(value: int, arch_capabilities: int | None = None) -> Cpu:
    """Make the CPU that values of IA32_VMX_EPT_VPID_CAP and IA32_ARCH_CAPABILITIES describe; they say nothing of TLBs and costs.

    Args:
        value: MSR 48CH.
        arch_capabilities: MSR 10AH; None: not given. A CPU without the register has 0.
    """
    unknown = ", ".join(str(bit) for bit in _unknown_bits(value))
    return Cpu(
        name=f"msr-{value:#x}",
        title=f"CPU with {REGISTER} {value:#x}",
        vendor="Intel",
        pmap_type=PmapType.PT_EPT,
        features=from_register(value, Status.GIVEN, (), f"{value:#x}")
        | {PSCHANGE_MC_NO: pschange_mc_no(arch_capabilities)},
        assumptions=(f"Bits {unknown} of {REGISTER} are set but not known; they change nothing.",)
        if unknown
        else (),
    )


def pschange_mc_no(arch_capabilities: int | None) -> Fact[FeatureValue]:
    """Return the fact that a value of IA32_ARCH_CAPABILITIES states about machine checks on page size changes."""
    if arch_capabilities is None:
        return Fact(None, Status.UNKNOWN, (), f"{ARCH_CAPABILITIES} (MSR 10AH) was not given")
    is_set = bool(arch_capabilities >> PSCHANGE_MC_NO_BIT & 1)
    return Fact(
        is_set, Status.GIVEN, (), f"bit {PSCHANGE_MC_NO_BIT} of {ARCH_CAPABILITIES} {arch_capabilities:#x}"
    )


def parse_arch_capabilities(text: str) -> int:
    """Read the value of IA32_ARCH_CAPABILITIES as a user types it, hexadecimal with or without 0x; 0 is one.

    Raises:
        UsageError: it is no hexadecimal number of at most 64 bits.
    """
    number = re.fullmatch(r"(?:0x)?([0-9a-f]{1,16})", text.strip(), re.IGNORECASE)
    if number is None:
        raise UsageError(
            f"the value of {ARCH_CAPABILITIES} must be a hexadecimal number of at most 64 bits, not {text[:40]!r}; {READ_ARCH}"
        )
    return int(number[1], 16)


def describe_arch_capabilities(value: int) -> list[str]:
    """Write a decoded IA32_ARCH_CAPABILITIES as lines: bit, name, state and meaning of every field known."""
    lines = [f"{ARCH_CAPABILITIES} (MSR 10AH) = {value:#018x}"]
    for name, entry in data()["arch_capabilities"]["bits"].items():
        state = "set" if value >> entry["bit"] & 1 else "clear"
        lines.append(f"  bit {entry['bit']:<5} {name:<30} {state:<6} {entry['meaning']}")
    if value >> PSCHANGE_MC_NO_BIT & 1:
        return [*lines, "  so releases from November 2019 on make executable 2 MB mappings in EPT"]
    none = (
        "  so releases from November 2019 on make no executable 2 MB mapping in EPT, and a guest gets no superpage, unless "
        "vm.pmap.allow_2m_x_ept=0 (1 forbids, whatever its name says)"
    )
    return [*lines, none]


def parse_register(text: str, spec: str) -> int:
    """Read a value of IA32_VMX_EPT_VPID_CAP; rdmsr prints it without 0x, so that is optional.

    Raises:
        UsageError: it is no value that a CPU with EPT can have there.
    """
    try:
        return parse_ept_vpid_cap(text)
    except UsageError as error:
        raise bad_spec(spec, str(error)) from error


def parse_ept_vpid_cap(text: str) -> int:
    """Read the value of IA32_VMX_EPT_VPID_CAP as a user types it, hexadecimal with or without 0x.

    Raises:
        UsageError: it is no hexadecimal number of at most 64 bits, or 0, which no CPU with EPT has there.
    """
    number = re.fullmatch(r"([-+]?)(?:0x)?([0-9a-f]+)", text.strip(), re.IGNORECASE)
    if number is None:
        raise UsageError(f"the value of {REGISTER} must be a hexadecimal number, not {text!r}; {READ_MSR}")
    if number[1]:
        raise UsageError(f"the value of {REGISTER} has no sign, as {text!r} has; {READ_MSR}")
    return _checked_register(int(number[2], 16))


def _checked_register(value: int) -> int:
    """Return the value if a CPU's register can hold it.

    Raises:
        UsageError: it is negative, too large, or 0.
    """
    if value < 0:
        raise UsageError(f"the value of {REGISTER} has no sign, but {value:#x} is below 0; {READ_MSR}")
    if value >= 1 << 64:
        raise UsageError(
            f"the value of {REGISTER} has at most 64 bits, but {value:#x} has {value.bit_length()}; {READ_MSR}"
        )
    if value == 0:
        raise UsageError(
            f"{REGISTER} is 0, so this CPU has no EPT, or the value was not read on the host itself: a virtual machine "
            f"without nested virtualization reads 0, too; {READ_MSR}"
        )
    return value


def from_ept_vpid_cap(value: int, arch_capabilities: int | None = None) -> EptVpidCap:
    """Decode a value of IA32_VMX_EPT_VPID_CAP, MSR 48CH (SDM volume 3, appendix A.10).

    Raises:
        UsageError: the value is negative, has more than 64 bits, or is 0.
    """
    cpu = cpu_of_register(_checked_register(value), arch_capabilities)
    profile = build(cpu, {}, cpu.name)
    return EptVpidCap(value, capabilities(value), _unknown_bits(value), profile, refusals(profile))


def describe_ept_vpid_cap(decoded: EptVpidCap) -> list[str]:
    """Write a decoded register as lines: bit, name, state and meaning of every field, then unknown bits."""
    lines = [f"{REGISTER} (MSR 48CH) = {decoded.value:#018x}"]
    for c in decoded.capabilities:
        bits = str(c.bit) if c.width == 1 else f"{c.bit + c.width - 1}:{c.bit}"
        state = ("set" if c.is_set else "clear") if c.width == 1 else f"= {c.value}"
        lines.append(f"  bit {bits:<5} {c.name:<30} {state:<6} {c.meaning}")
    lines += [f"  bit {bit:<5} {'(unknown)':<30} set" for bit in decoded.unknown_bits]
    return lines
