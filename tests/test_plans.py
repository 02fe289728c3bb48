"""Plans: what a command line means as a file, checked before anything runs, with the line of a mistake."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.command_line import eptreplay, small_trace

from eptreplay.errors import UsageError
from eptreplay.request.plan import plan_text, read_plan
from eptreplay.request.replay import REPLAY, ReplayRequest
from eptreplay.tables.files import read_run_file

if TYPE_CHECKING:
    from eptreplay.request.option import Option

OTHER_VALUES: dict[str, Any] = {
    "traces": ("a b.parquet", 'quote"back\\slash.parquet', "täg\t.parquet"),
    "guest": ("web-*",),
    "profile": ("haswell:superpages=off", "zen2"),
    "out": Path("some/where"),
    "every": "10ms",
    "downtime": "1s",
    "host_memory": "64M",
    "scan_interval": "1s",
    "bandwidth": (2.5, 10.0),
    "fragmentation": 0.25,
    "swap_read": "1ms",
    "swap_write": "2ms",
    "idle_gap": "3ms",
    "checkpoint_every": "1M",
}


def other_value(option: Option) -> Any:  # noqa: ANN401 - of the option's type
    """Return a value of an option that is not its default."""
    if option.name in OTHER_VALUES:
        return OTHER_VALUES[option.name]
    if option.type is bool:
        return not option.default
    if option.choices:
        last = option.choices[-1]
        value = option.type(last) if isinstance(option.type, type) else last
        return (value,) if option.several else value
    return option.type((option.default or 0) + 1)


def written(folder: Path, text: str) -> Path:
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("option", REPLAY.values(), ids=REPLAY)
def test_every_option_is_in_plans_as_soon_as_it_is_declared(
    tmp_path: Path, option: Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "eptreplay.request.plan._check", lambda *_: None
    )  # most need others to have an effect
    value = other_value(option)
    request = ReplayRequest(
        **{"traces": ("t",), option.name: value}, given=frozenset({"traces", option.name})
    )
    text = plan_text(request)
    if option.declared.in_plan:
        (run,) = read_plan(written(tmp_path, text)).runs
        assert getattr(run.request, option.name) == value
        assert type(getattr(run.request, option.name)) is type(value)
    else:
        assert option.name not in text
        with pytest.raises(UsageError, match=r"plan\.toml:2: .* for the command line alone"):
            read_plan(written(tmp_path, f'traces = ["t"]\n{option.name} = true\n'))


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("traces = [", 1, "Invalid value|Unclosed"),
        ('traces = ["t"]\npolcy = "age"\n', 2, "did you mean policy"),
        ('traces = ["t"]\n\n# so\npolicy = "old"\n', 4, "is none of 'plain', 'age', 'harvest'"),
        ('traces = ["t"]\nintervals = 0\n', 2, "out of range"),
        ('traces = ["t"]\nintervals = 1.5\n', 2, "no number of intervals"),
        ('traces = ["t"]\nintervals = nan\n', 2, "no number of intervals"),
        ('traces = ["t"]\nfragmentation = nan\n', 2, "no share"),
        ('traces = ["t"]\noverwrite = "yes"\n', 2, "neither true nor false"),
        ('traces = ["t"]\npolicy = "age"\nevery = "never"\n', 3, "no distance"),
        ('traces = ["t"]\nevery = "10ms"\n', 2, "needs --policy age"),
        ('traces = ["t"]\nhost_memory = "64M"\nswap_read = "x"\n', 3, "'x'"),
        ('traces = ["t"]\nbandwidth = [\n  1,\n  # none\n  7000,\n]\n', 5, "no speed of a link"),
        ('traces = ["t"]\nprofile = ["haswell",\n"hasswell"]\n', 3, "hasswell"),
        ("traces = []\n", 1, "is empty"),
        ('policy = "age"\n', 0, "has no traces"),
        ('traces = ["t"]\nslow-path = true\nslow_path = true\n', 2, "twice"),
        ('traces = ["t"]\n[sweep]\npolicy = "age"\n', 3, "a list of the values"),
        ('traces = ["t"]\n[sweep]\npolicy = ["age",\n "old"]\n', 4, "is none of"),
        ('traces = ["t"]\nsweep.policy = ["old"]\n', 2, "is none of"),
        ('traces = ["t"]\npolicy = "age"\n[sweep]\npolicy = ["age"]\n', 2, r"in \[sweep\] too"),
        ('traces = ["t"]\nsweep = 3\n', 2, "a table"),
        ('traces = ["t"]\n[sweep]\nout = ["a"]\n', 3, "folder of its own"),
        ('traces = ["t"]\n[host]\nmemory = 3\n', 2, "no option"),
        ('traces = ["t"]\nguest = ["""\npolicy = 1\n"""]\nintervals = 0\n', 5, "out of range"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, why: str) -> None:
    plan = written(tmp_path, text)
    answer = eptreplay("batch", plan)
    assert answer.code == 2
    assert answer.out == ""
    assert re.search(why, answer.err)
    assert answer.err.startswith(f"eptreplay: {plan}:{line}: " if line else f"eptreplay: {plan}: ")
    assert answer.err.count("\n") == 1


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_bytes(b"a = 1\nb = '\xff'\n")
    assert f"{tmp_path / 'plan.toml'}:2: is not UTF-8" in eptreplay("batch", tmp_path / "plan.toml").err
    assert "cannot be read" in eptreplay("batch", tmp_path / "none.toml").err
    (tmp_path / "plan.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    assert "is no plan" in eptreplay("batch", tmp_path / "plan.toml").err


def test_a_command_line_and_its_plan_give_the_same_run(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    line = ["replay", trace, "-p", "x86", "--policy", "age", "--every", "500", "--out", tmp_path / "run"]
    printed = eptreplay(*line, "--print-plan")
    assert printed.code == 0
    assert not (tmp_path / "run").exists()
    assert eptreplay(*line).code == 0
    (tmp_path / "run").rename(tmp_path / "by-line")
    assert eptreplay("batch", written(tmp_path, printed.out)).code == 0
    one, other = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "by-line", tmp_path / "run")
    )
    assert one == other


def test_a_sweep_replays_every_combination_into_a_folder_of_its_own(tmp_path: Path) -> None:
    small_trace(tmp_path / "guest.parquet")
    plan = written(
        tmp_path,
        f'traces = ["{tmp_path}/guest.parquet"]\nout = "{tmp_path}/runs"\n'
        '[sweep]\nprofile = ["x86", ["haswell", "zen2"]]\nhost-memory = ["64M"]\npolicy = ["plain", "age"]\n',
    )
    assert eptreplay("batch", plan).code == 0
    found = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert found == [
        "profile=haswell+zen2,host_memory=64M,policy=age",
        "profile=haswell+zen2,host_memory=64M,policy=plain",
        "profile=x86,host_memory=64M,policy=age",
        "profile=x86,host_memory=64M,policy=plain",
    ]
    for name in found:
        run = read_run_file(tmp_path / "runs" / name)
        assert f"policy={run['options']['policy']}" in name
        assert f"profile={'+'.join(profile['name'] for profile in run['profiles'])}," in name
        assert run["host"]["memory_bytes"] == 64 << 20


def test_nothing_runs_while_anything_of_a_plan_is_wrong(tmp_path: Path) -> None:
    small_trace(tmp_path / "guest.parquet")
    (tmp_path / "runs/policy=age").mkdir(parents=True)
    (tmp_path / "runs/policy=age/thesis.txt").write_text("all of it")
    text = f'traces = ["{tmp_path}/guest.parquet"]\nout = "{tmp_path}/runs"\n[sweep]\npolicy = ["plain", "age"]\n'
    answer = eptreplay("batch", written(tmp_path, text))
    assert answer.code == 2
    assert "policy=age" in answer.err
    assert "no run of eptreplay" in answer.err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["policy=age"]


def test_guests_can_be_chosen_by_name(tmp_path: Path) -> None:
    for name in ("web-1", "web-2", "boot"):
        small_trace(tmp_path / f"{name}.parquet")
    options = ("-p", "x86", "--out", tmp_path / "run")
    assert eptreplay("replay", tmp_path, "--guest", "web-*", *options).code == 0
    assert [guest["name"] for guest in read_run_file(tmp_path / "run")["guests"]] == ["web-1", "web-2"]
    answer = eptreplay("replay", tmp_path, "--guest", "wbe", *options, "--overwrite")
    assert answer.code == 2
    assert "no guest is called 'wbe'; there are boot, web-1, web-2" in answer.err
