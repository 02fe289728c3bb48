"""The commands `profiles list`, `profiles show` and `profiles from-msr`."""

from __future__ import annotations

from eptreplay import profiles as cpu
from eptreplay.cli.console import note, say_all, say_table
from eptreplay.errors import Exit


def show_all() -> None:
    """Carry out `profiles list`."""
    say_table(cpu.OVERVIEW_HEADER, cpu.overview_rows())
    say_all(["", cpu.SUPERPAGES_OF])


def show(name: str) -> int:
    """Carry out `profiles show` and return the exit code."""
    profile = cpu.resolve(name, even_refused=True)
    say_all(cpu.describe(profile))
    return Exit.BAD_INPUT if cpu.refusals(profile) else Exit.GOOD


def from_msr(value: str, arch_capabilities: str | None = None) -> int:
    """Carry out `profiles from-msr` and return the exit code."""
    arch = None if arch_capabilities is None else cpu.parse_arch_capabilities(arch_capabilities)
    decoded = cpu.from_ept_vpid_cap(cpu.parse_ept_vpid_cap(value), arch)
    say_all(cpu.describe_ept_vpid_cap(decoded))
    if arch is not None:
        say_all(cpu.describe_arch_capabilities(arch))
    if decoded.refusals:
        note(f"bhyve would refuse this CPU: {'; '.join(decoded.refusals)}")
    return Exit.BAD_INPUT if decoded.refusals else Exit.GOOD
