"""A memory layout that does not fit is refused by arithmetic, before anything is allocated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from tests.command_line import eptreplay, small_trace

from eptreplay.errors import UsageError
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.state.guest_memory import guest_memory
from eptreplay.replay.state.pmap_choice import AnyPmap
from eptreplay.request.choices import MissRatio
from eptreplay.request.host import HostOptions
from eptreplay.run import memory_fit
from eptreplay.run.memory_fit import Room, refuse_what_does_not_fit, reserved, warnings

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
AMPLE = Room(None, None, None)


def layout(path: Path, *segments: tuple[int, int]) -> Path:
    """Write a trace of a guest with segments of memory (address, bytes)."""
    small_trace(path)
    raw = [{"gpa": gpa, "bytes": size, "kind": "ram"} for gpa, size in segments]
    pq.write_table(
        pq.read_table(path).replace_schema_metadata({"memory_segments": json.dumps(raw), "vcpus": "2"}), path
    )
    return path


def bytes_of(state: Any) -> int:  # noqa: ANN401 - any of the model's
    """Return the bytes of all arrays of a state, statistics, log or reuse of the model."""
    known = {name: getattr(state, name) for name in type(state).__annotations__}
    return sum(array.nbytes for name, array in known.items() if name != "watched")  # which is `fast_path`


@pytest.mark.parametrize("profiles", [1, 3])
@pytest.mark.parametrize(
    "segments", [[(0, GIB)], [(GIB - (2 << 20), 2 << 20)], [(0, GIB >> 1), (GIB, GIB >> 2)]]
)
def test_the_arithmetic_is_that_of_the_arrays(
    tmp_path: Path, segments: list[tuple[int, int]], profiles: int
) -> None:
    trace = open_trace(layout(tmp_path / "g.parquet", *segments))
    replay = Replay([AnyPmap()] * profiles, [guest_memory(trace)], mrc=MissRatio.SHARDS)
    taken = sum(map(bytes_of, (replay.states, replay.statistics, replay.log, replay.reuse)))
    (said,) = memory_fit._layouts([trace], None)
    assert reserved(said, profiles) == pytest.approx(taken, rel=0.04)


@pytest.mark.parametrize(
    ("segments", "told"),
    [
        ([(0, 1 << 42)], ("1,073,741,824 pages", "in one array", "memory and swap")),
        ([((1 << 48) - (2 << 20), 2 << 20)], ("68,719,476,736 pages", "= 64 GiB")),
        ([(0, 4 << 20), ((1 << 47) - 4096, 4096)], ("34,359,738,368 pages", "= 32 GiB")),
    ],
)
def test_a_layout_that_does_not_fit_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segments: list[tuple[int, int]], told: tuple[str, ...]
) -> None:
    monkeypatch.setattr(memory_fit, "room", lambda: Room(24 * GIB, 24 * GIB, None))
    trace = layout(tmp_path / "guest.parquet", *segments)
    answer = eptreplay("replay", trace, "--out", tmp_path / "run")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    for part in ("guest 'guest'", *told):
        assert part in line
    assert not (tmp_path / "run").exists()


def test_limits_of_the_process_count(tmp_path: Path) -> None:
    trace = open_trace(layout(tmp_path / "g.parquet", (0, 1 << 30)))
    (of,) = memory_fit._layouts([trace], None)
    refuse_what_does_not_fit([trace], 1, None, Room(None, None, reserved(of, 1)))
    with pytest.raises(UsageError, match=r"36 \+ .* of state, but this process may take .* \(ulimit -v\)"):
        refuse_what_does_not_fit([trace], 1, None, Room(None, None, reserved(of, 1) - 1))


def test_more_pages_than_the_model_can_number_are_refused_on_any_machine(tmp_path: Path) -> None:
    trace = open_trace(layout(tmp_path / "g.parquet", ((1 << 43) - 4096, 4096)))
    with pytest.raises(UsageError, match="the model numbers 2,147,482,624"):
        refuse_what_does_not_fit([trace], 1, None, AMPLE)


def test_guests_of_one_host_have_to_fit_together(tmp_path: Path) -> None:
    traces = [open_trace(layout(tmp_path / f"{name}.parquet", (0, GIB))) for name in "ab"]
    machine = Room(None, GIB >> 6, None)  # one array of each takes 9 MiB
    refuse_what_does_not_fit(traces, 1, None, machine)
    with pytest.raises(UsageError, match="2 guests together"):
        refuse_what_does_not_fit(traces, 1, HostOptions(), machine)


def test_guests_that_need_not_fit_are_warned_of_and_replayed(tmp_path: Path) -> None:
    trace = open_trace(layout(tmp_path / "g.parquet", (0, GIB)))  # 3,000 rows
    most = 6000 * (27 + 2 * 44)
    assert warnings([trace], 2, Room(most, None, None)) == []
    (line,) = warnings([trace], 2, Room(most - 1, None, None))
    assert "6,000 pages" in line
    refuse_what_does_not_fit([trace], 2, None, Room(GIB, None, None))


def test_what_this_machine_has_is_measured() -> None:
    found = memory_fit.room()
    if memory_fit.MEMINFO.exists():
        assert found.available
        assert found.all_memory
        assert found.available <= found.all_memory


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "1000", "memory.current": "400"}, 600),
        ({"memory.max": "max", "memory.current": "400"}, None),
        ({"memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "1400"}, 0),
        ({}, None),
    ],
)
def test_the_limit_of_a_control_group_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], left: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(memory_fit, "CGROUP", tmp_path)
    assert memory_fit._left_in_group() == left


@pytest.mark.parametrize("where", ["metadata", "guest.toml"])
def test_more_segments_than_a_machine_can_have_are_refused(tmp_path: Path, where: str) -> None:
    segments = [(8192 * number, 4096) for number in range(4097)]
    trace = layout(tmp_path / "guest.parquet", *segments[:4096])
    assert open_trace(trace).ram_pages == 4096
    if where == "metadata":
        layout(trace, *segments)
    else:
        items = ", ".join(f'{{ gpa = {gpa}, bytes = {size}, kind = "ram" }}' for gpa, size in segments)
        (tmp_path / "guest.toml").write_text(f"segments = [{items}]\n")
    answer = eptreplay("replay", trace, "--out", tmp_path / "run")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert "4,097 segments; expected at most 4,096" in line
