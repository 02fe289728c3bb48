"""An option that would change nothing is refused, with what it needs; every option has a statement about that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import typer.main
from tests.command_line import eptreplay, small_trace

from eptreplay.cli.app import app
from eptreplay.cli.conform import CONFORM
from eptreplay.ingest.importing.options import IMPORT_OPTIONS
from eptreplay.request.replay import REPLAY
from eptreplay.run.effects import OF_TRACES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VALUES = {
    "every": ("--every", "1M"),
    "tlb": ("--tlb", "--host-memory", "8M"),
    "guest_pages": ("--guest-pages", "4K"),
    "paging_structures": ("--paging-structures", "0"),
    "fragmentation": ("--fragmentation", "0.5", "--placement", "identity"),
    "host_offset": ("--host-offset", "5", "--placement", "identity"),
    "swap_read": ("--swap-read", "100us"),
    "swap_write": ("--swap-write", "1ms"),
    "idle_gap": ("--idle-gap", "1ms"),
    "checkpoint_every": ("--checkpoint-every", "256M", "--host-memory", "64M"),
    "check_conservation": ("--check-conservation",),
    "release": ("--release", "14.0", "-p", "haswell@14.0"),
    "align": ("--align", "start"),
    "clock_mhz": ("--clock-mhz", "2400"),
}
"""An option of `replay` with a value, which may be the one that holds anyway, and without what it needs."""

NEEDED = {
    "checkpoint_every": "leave out --host-memory",
    "every": "--policy age",
    "tlb": "leave out --host-memory",
    "guest_pages": "--tlb",
    "paging_structures": "--tlb",
    "fragmentation": "leave out --placement identity",
    "host_offset": "--placement reservation",
    "swap_read": "--host-memory",
    "swap_write": "--host-memory",
    "idle_gap": "--vcpus activity",
    "check_conservation": "--host-memory",
    "release": "a profile that names no release of its own",
    "align": "two guests or more",
    "clock_mhz": "a trace that counts cycles",
}


def commands() -> Iterator[tuple[str, set[str]]]:
    """Yield every command with the names of its parameters."""

    def below(command: Any, name: str) -> Iterator[tuple[str, set[str]]]:  # noqa: ANN401 - click's types are typer's own
        for sub_name, sub in getattr(command, "commands", {}).items():
            yield from below(sub, f"{name} {sub_name}".strip())
        if not hasattr(command, "commands"):
            yield name, {parameter.name for parameter in command.params} - {"help"}

    yield from below(typer.main.get_command(app), "")


OTHERS = {
    "batch run": {"plan", "overwrite", "resume", "jobs", "workers"},
    "batch init": {"plan", "parts", "overwrite"},
    "batch part": {"plan", "number", "workers"},
    "batch finish": {"plan", "overwrite"},
    "clean": {"run"},
    "check": {"traces", "on_bad_rows", "json"},
    "report": {"run", "assume", "open_page"},
    "compare": {"first", "second", "out", "overwrite", "assume", "open_page"},
    "summary": {"run", "guest", "assume"},
    "bench": {"traces", "runs", "as_json"},
    "export": {"export_format", "trace", "out", "overwrite"},
    "profiles list": set(),
    "profiles show": {"name"},
    "profiles from-msr": {"value", "arch_capabilities"},
}
"""By command, options that always have an effect."""

REFUSED = {
    "inspect": {"traces", "exact", "json", "clock_mhz"},
    "pack": {
        "traces", "out", "sort", "dense", "column", "hexadecimal", "seconds", "clock_mhz", "on_bad_rows", "overwrite",
    },
    "import": {
        "format", "inputs", "out", "overwrite", "on_bad_rows", "page_bytes", "dense", "page_map", "list_formats",
        *(option.name.replace("-", "_") for option in IMPORT_OPTIONS),
    },
    "synth": {"source", "out", "overwrite", "print_example"},
}  # fmt: skip
"""By command, options of which some need certain traces, formats or others: test_pack.py, test_inspect.py,
test_import_command.py and test_export_synth.py have them refused."""

STATED: dict[str, set[str]] = {
    "replay": set(REPLAY),
    "conform": set(CONFORM),
    **OTHERS,
    **REFUSED,
}


@pytest.mark.parametrize(("name", "parameters"), list(commands()))
def test_every_option_says_when_it_has_an_effect(name: str, parameters: set[str]) -> None:
    assert STATED[name] == parameters


def test_every_option_that_needs_something_is_tried_without_it() -> None:
    needy = {name for name, option in REPLAY.items() if option.declared.needs} | set(OF_TRACES)
    assert needy == set(VALUES) == set(NEEDED)


@pytest.mark.parametrize("name", VALUES)
def test_an_option_without_effect_is_refused_and_says_what_it_needs(tmp_path: Path, name: str) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    answer = eptreplay("replay", trace, "--out", tmp_path / "run", *VALUES[name])
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.startswith(f"eptreplay: {REPLAY[name].flag} needs ")
    assert NEEDED[name] in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--policy", "age", "--every", "1000"),
        ("--tlb", "--guest-pages", "2M", "--paging-structures", "8"),
        ("--host-memory", "8M", "--swap-read", "1ms", "--swap-write", "1ms", "--check-conservation"),
        ("--vcpus", "activity", "--idle-gap", "1us"),
        ("--policy", "plain", "--intervals", "4"),  # what holds anyway may be said
    ],
    ids=" ".join,
)
def test_with_what_it_needs_it_is_taken(tmp_path: Path, options: tuple[str, ...]) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    answer = eptreplay("replay", trace, "-p", "ept-ad", "--out", tmp_path / "run", *options)
    assert answer.code == 0, answer.err


def test_two_guests_can_be_aligned(tmp_path: Path) -> None:
    traces = [small_trace(tmp_path / f"{name}.parquet") for name in "ab"]
    answer = eptreplay("replay", *traces, "-p", "ept-ad", "--align", "clock", "--out", tmp_path / "run")
    assert answer.code == 0, answer.err


def test_an_idle_gap_that_every_guest_has_of_its_own_is_refused(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    (tmp_path / "guest.toml").write_text('idle_gap = "2ms"\n')
    options = ("--vcpus", "activity", "--idle-gap", "1ms")
    answer = eptreplay("replay", trace, "--out", tmp_path / "run", *options)
    assert answer.code == 2
    assert "--idle-gap needs a guest whose guest.toml gives no idle gap" in answer.err


@pytest.mark.parametrize(
    ("folder", "options", "needed"),
    [
        ("vectors", ("--traces", "."), "--traces needs golden replays or page daemon replays"),
        ("vectors", ("--tlb",), "--tlb needs golden replays"),
        ("vectors", ("--slow-path",), "--slow-path needs golden replays"),
        ("replays", ("--sequence", "0"), "--sequence needs vectors"),
        ("vectors", ("--sequence", "99999999"), "--sequence 99999999: "),
        ("vectors", ("--sequence", "0", "--sequence", "-4"), "--sequence -4: "),
    ],
)
def test_recordings_that_an_option_does_not_concern(
    golden: Path, folder: str, options: tuple[str, ...], needed: str
) -> None:
    answer = eptreplay("conform", golden / folder, *options)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert needed in line


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Path:
    found: Path = request.path.parent / "golden"
    return found
