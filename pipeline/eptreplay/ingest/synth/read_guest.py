"""A made-up guest from a TOML file: every key checked, every mistake named with its line."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from typing import TYPE_CHECKING

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.file import one_line
from eptreplay.ingest.synth.guest import LINE_BYTES, Access, By, Guest, Pattern, Phase, Turns
from eptreplay.ingest.synth.toml_keys import Keys
from eptreplay.ingest.trace.schema import HOST_CPUS, PAGE_SIZE, VCPUS_MAX

if TYPE_CHECKING:
    from pathlib import Path

MOST_MEMORY = 16 << 40
MOST_ROWS = 1 << 40
_MOST_BURST = 1 << 30
_MOST_REPEATS = 100_000
_MOST_GAP_NS = 1 << 30
_MOST_NS = 1 << 62
_MOST_ACCESSES = 64
"""Kinds of access of a phase."""
_WHOLE = Decimal(1)
_MOST_SKEW = 10


def read_guest(path: Path) -> Guest:
    """Read a made-up guest.

    Raises:
        TraceError: the file cannot be read, is no TOML, or says what cannot be.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise TraceError(str(path), f"it cannot be read ({one_line(error)})", advice=_ADVICE) from error
    return parse_guest(text, str(path))


_ADVICE = "'eptreplay synth --print-example' prints one to begin with"


def parse_guest(text: str, file: str) -> Guest:
    """Read a made-up guest from the text of a file.

    Raises:
        TraceError: it is no TOML, or says what cannot be.
    """
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise TraceError(file, f"it is no TOML ({one_line(error)})", advice=_ADVICE) from error
    top = Keys(data, text, file)
    memory = top.size("memory", None, PAGE_SIZE, MOST_MEMORY, of=PAGE_SIZE)
    vcpus = top.number("vcpus", 1, 1, VCPUS_MAX)
    access_bytes = top.number("access_bytes", 8, 1, PAGE_SIZE)
    if access_bytes & (access_bytes - 1):
        raise top.wrong("access_bytes", f"{access_bytes}", "a power of two up to 4096")
    gap = top.duration("gap", "10ns", 1, _MOST_GAP_NS)
    phases = top.tables("phase")
    guest = Guest(
        seed=top.number("seed", 1, 0, (1 << 63) - 1),
        rows=top.number("rows", None, 1, MOST_ROWS),
        memory=memory,
        vcpus=vcpus,
        access_bytes=access_bytes,
        burst=top.number("burst", 64, 1, _MOST_BURST),
        repeat=top.number("repeat", 1, 1, _MOST_REPEATS),
        turns=_turns(top),
        phases=tuple(_phase(each, memory, vcpus, access_bytes, gap) for each in phases),
    )
    top.done()
    _check_time(guest, top)
    return guest


def _turns(top: Keys) -> Turns | None:
    keys = top.table("turns")
    if keys is None:
        return None
    turns = Turns(
        host_cpus=keys.number("host_cpus", None, 1, HOST_CPUS),
        slice_ns=keys.duration("slice", "1ms", 1000, _MOST_NS),
    )
    keys.done()
    return turns


def _phase(keys: Keys, memory: int, vcpus: int, access_bytes: int, gap: int) -> Phase:
    gap_ns = keys.duration("gap", f"{gap}ns", 1, _MOST_GAP_NS)
    own = keys.numbers("vcpus", range(vcpus), 0, vcpus - 1)
    accesses = keys.tables("access")
    if len(accesses) > _MOST_ACCESSES:
        raise keys.wrong("access", f"{len(accesses)} kinds of access", f"at most {_MOST_ACCESSES}")
    phase = Phase(
        weight=keys.share("weight", _WHOLE, Decimal(10**6)),
        gap_ns=gap_ns,
        idle_ns=keys.duration("idle", "0ns", 0, _MOST_NS),
        vcpus=own,
        accesses=tuple(_access(each, memory, access_bytes) for each in accesses),
    )
    if not phase.weight:
        raise keys.wrong("weight", "0", "something above 0")
    if not sum(each.weight for each in phase.accesses):
        raise keys.wrong("access", "of no weight", "one with a weight above 0")
    keys.done()
    return phase


def _access(keys: Keys, memory: int, access_bytes: int) -> Access:
    pattern = Pattern(keys.choice("pattern", None, tuple(Pattern)))
    by = By(keys.choice("by", By.VCPU, tuple(By)))
    begin = keys.size("begin", 0, 0, memory - PAGE_SIZE, of=PAGE_SIZE)
    length = keys.size("bytes", memory - begin, PAGE_SIZE, memory - begin, of=PAGE_SIZE)
    skew, stride = Decimal(0), max(LINE_BYTES, access_bytes)
    if pattern is Pattern.ZIPF:
        skew = keys.share("skew", _WHOLE, Decimal(_MOST_SKEW))
    if pattern is Pattern.STRIDED:
        stride = keys.size("stride", None, access_bytes, length, of=access_bytes)
    writes = keys.share("write_share", Decimal("0.3"), _WHOLE)
    fetches = keys.share("fetch_share", Decimal(0), _WHOLE - writes) if by is By.VCPU else Decimal(0)
    access = Access(
        pattern=pattern,
        by=by,
        weight=keys.share("weight", _WHOLE, Decimal(10**6)),
        begin=begin,
        bytes=length,
        skew=skew,
        stride=stride,
        drift=keys.size("drift", 0, 0, memory, of=1),
        write_share=writes,
        fetch_share=fetches,
    )
    keys.done()
    return access


def _check_time(guest: Guest, top: Keys) -> None:
    """Refuse a guest that lasts longer than times can say."""
    longest = max(phase.gap_ns for phase in guest.phases) * 2 * guest.rows
    idle = guest.repeat * sum(phase.idle_ns for phase in guest.phases)
    if longest + idle > _MOST_NS:
        raise top.wrong(
            "rows",
            f"{guest.rows} accesses and idle times",
            f"less than {_MOST_NS // 10**9:,} seconds together",
        )
