"""Every option of a replay is declared once: the command line, the dataclass and the documentation have it from there."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
from tests.command_line import eptreplay, small_trace

from eptreplay.cli.app import app
from eptreplay.errors import UsageError
from eptreplay.request.documentation import documentation
from eptreplay.request.host import HostOptions
from eptreplay.request.link import Link
from eptreplay.request.needs import HOST_OPTIONS
from eptreplay.request.options import Options, TlbOptions
from eptreplay.request.replay import REPLAY, ReplayRequest
from eptreplay.units import parse_every

if TYPE_CHECKING:
    from eptreplay.request.option import Option

ROOT = Path(__file__).parents[1]
every_option = pytest.mark.parametrize("option", REPLAY.values(), ids=REPLAY)


def parameters() -> dict[str, Any]:
    """Return the parameters of `replay` as they are on the command line."""
    command: Any = typer.main.get_command(app)
    return {parameter.name: parameter for parameter in command.commands["replay"].params}


def test_the_command_line_has_the_options_of_the_request_in_their_order() -> None:
    assert [name for name in parameters() if name != "help"] == list(REPLAY)
    assert [field.name for field in fields(ReplayRequest) if field.name != "given"] == list(REPLAY)


@every_option
def test_the_command_line_takes_an_option_as_it_is_declared(option: Option) -> None:
    parameter = parameters()[option.name]
    declared = option.declared
    assert parameter.required == option.required
    assert (parameter.multiple if not declared.positional else parameter.nargs == -1) == option.several
    if not declared.positional:
        assert parameter.opts == [option.flag, *filter(None, [declared.short])]
    assert parameter.help.startswith(option.help)
    for bound, value in (("min", declared.minimum), ("max", declared.maximum)):
        if declared.parse is None:
            assert getattr(parameter, bound, None) == value
        elif value is not None:
            assert declared.parse(str(value)) == value


@pytest.mark.parametrize(
    "option",
    [option for option in REPLAY.values() if option.declared.parse and option.declared.minimum is not None],
    ids=lambda option: option.name,
)
def test_a_number_beyond_the_declared_bounds_is_refused(option: Option) -> None:
    declared = option.declared
    assert declared.parse
    assert declared.minimum is not None
    assert declared.maximum is not None
    for value in (declared.minimum - 1e-9, declared.maximum + 1e-9):
        with pytest.raises(UsageError, match="give"):
            declared.parse(repr(value))


@pytest.mark.parametrize(
    "option", [option for option in REPLAY.values() if option.choices], ids=lambda option: option.name
)
def test_a_value_that_is_none_of_the_choices_is_refused_with_all_of_them(option: Option) -> None:
    answer = eptreplay("replay", "none.parquet", option.flag, "else")
    assert answer.code == 2
    assert ", ".join(f"'{choice}'" for choice in option.choices) in answer.err


@every_option
def test_the_dataclass_and_the_command_line_have_the_same_default(option: Option) -> None:
    (field,) = (field for field in fields(ReplayRequest) if field.name == option.name)
    assert (field.default is MISSING) == option.required
    found = parameters()[option.name].default
    if isinstance(option.default, tuple):
        assert tuple(found) == option.default
    elif not option.required:
        assert found == option.default


@every_option
def test_a_number_has_a_unit_and_a_text_a_metavar(option: Option) -> None:
    assert (option.type in {int, float}) == bool(option.declared.unit)
    if option.type is str:
        assert option.declared.metavar


def test_a_request_that_says_nothing_means_the_defaults_of_a_replay() -> None:
    request = ReplayRequest(traces=["trace.parquet"])
    assert request.options() == Options(every=parse_every("1M"), link=Link())
    checked = ReplayRequest(traces=["trace.parquet"], check_conservation=True)
    assert checked.options().host == HostOptions(check=True)
    assert ReplayRequest(traces=["trace.parquet"], tlb=True).options().tlb == TlbOptions()


@pytest.mark.parametrize("name", HOST_OPTIONS)
def test_an_option_of_the_host_has_no_default_but_says_in_words_what_holds(name: str) -> None:
    assert REPLAY[name].default is None
    assert REPLAY[name].declared.unset or name == "host_memory"


def test_what_the_command_line_reads_is_what_the_request_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No option is lost, mixed up or turned into another type on its way."""
    found: list[ReplayRequest] = []

    def replay(request: ReplayRequest) -> int:
        found.append(request)
        return 0

    monkeypatch.setattr("eptreplay.cli.replay.replay", replay)
    options = [
        *("-p", "haswell", "--policy", "age", "--every", "10ms", "--mrc", "exact", "--bandwidth", "2.5"),
        *(
            "--placement",
            "identity",
            "--align",
            "clock",
            "--vcpus",
            "activity",
            "--on-bad-rows",
            "skip",
            "-j",
            "3",
        ),
    ]
    trace = small_trace(tmp_path / "guest.parquet")
    assert eptreplay("replay", trace, "--out", tmp_path / "run", *options).code == 0
    (request,) = found
    for option in REPLAY.values():
        value = getattr(request, option.name)
        for each in value if option.several and value is not None else [value]:
            if option.choices:
                assert each is None or each in option.choices
            else:
                assert isinstance(each, option.type) or (option.optional and each is None)
    assert request.given == {
        *("traces", "out", "profile", "policy", "every", "mrc", "bandwidth", "placement"),
        *("align", "vcpus", "on_bad_rows", "jobs"),
    }
    assert request.options().policy == "age"


def test_the_page_of_options_is_made_from_their_declaration() -> None:
    assert (ROOT / "docs/options.md").read_text(encoding="utf-8") == documentation()


def test_no_document_gives_replay_an_option_that_it_does_not_have() -> None:
    flags = {flag for parameter in parameters().values() for flag in parameter.opts} | {"-h"}
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for line in document.read_text(encoding="utf-8").splitlines():
            for command in re.findall(r"eptreplay replay ([^`#|;]*)", line):
                assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", command)) <= flags, line


def test_a_request_needs_no_command_line_and_no_library_of_the_model() -> None:
    program = (
        "import sys, eptreplay.request.replay, eptreplay.request.effects, eptreplay.request.documentation\n"
        "print(*{'typer', 'numba', 'numpy', 'polars', 'pyarrow'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout == "\n"
