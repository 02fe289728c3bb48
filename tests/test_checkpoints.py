"""Checkpoints in the middle of a guest: a run that goes on from one ends as one that was not disturbed."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.command_line import MEMORY, eptreplay, small_trace

from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.ingest.trace.schema import Event
from eptreplay.run.unfinished.checkpoint import Checkpoints
from eptreplay.run.unfinished.folder import find
from eptreplay.run.unfinished.manifest import MANIFEST_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.replay.driver.checkpoint import Kept

ROWS, GROUP = 6000, 500
CASES: dict[str, tuple[str, ...]] = {
    "plain": ("-p", "x86", "-p", "broadwell"),
    "rows": ("-p", "ept-emul", "--policy", "age", "--every", "700"),
    "times": ("-p", "ept-ad", "--policy", "harvest", "--every", "7us", "--intervals", "9"),
    "exact": ("-p", "x86", "--mrc", "exact", "--page-accesses"),
    "tlb": ("-p", "haswell", "--tlb", "--paging-structures", "4"),
    "slow": ("-p", "haswell", "--slow-path", "--intervals", "1"),
}


def trace_of(path: Path, *, events: bool, seed: int = 1) -> Path:
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "gpa": rng.integers(0, MEMORY, ROWS).astype(np.uint64) & ~np.uint64(7),
        "op": rng.choice(3, ROWS, p=[0.5, 0.4, 0.1]).astype(np.uint8),
        "vcpu": rng.integers(0, 2, ROWS).astype(np.uint8),
        "size": rng.choice(np.array([1, 8], np.uint8), ROWS),
    }
    if events:
        arguments = np.zeros(ROWS, np.uint64)
        kinds = [Event.HOST_WRITE, Event.HOST_READ, Event.UNMAP, Event.MAP]
        for number, row in enumerate(range(50, ROWS, 53)):
            kind = kinds[number % len(kinds)]
            columns["op"][row] = kind
            block = np.uint64((number // 4 * 4096 * 3) % MEMORY)
            columns["gpa"][row] = block
            arguments[row] = 4096 if kind in (Event.UNMAP, Event.MAP) else 0
        columns["arg"] = arguments
    return small_trace(path, rows=ROWS, row_group_size=GROUP, **columns)


def content(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes() for name, path in found.items() if name not in (MANIFEST_FILE, "files.json")
    }


def interrupted_after(checkpoints: int, line: Sequence[object]) -> None:
    """Run a command that is ended when it has kept so many checkpoints."""
    with pytest.MonkeyPatch.context() as patch:
        save = Checkpoints.save
        count = iter(range(1, checkpoints + 1))

        def saving(self: Checkpoints, trace: GuestTrace, kept: Kept) -> None:
            save(self, trace, kept)
            if next(count) == checkpoints:
                raise SystemExit(77)

        patch.setattr(Checkpoints, "save", saving)
        patch.setattr("eptreplay.run.unfinished.checkpoint.WORTH", 0)
        assert eptreplay(*line).code == 77


@pytest.mark.parametrize("events", [False, True], ids=["rows", "events"])
@pytest.mark.parametrize("case", CASES)
def test_a_guest_goes_on_from_its_checkpoint(
    tmp_path: Path, case: str, events: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = trace_of(tmp_path / "guest.parquet", events=events)
    line = ["replay", trace, *CASES[case], "-j", "1", "--checkpoint-every", "1000"]
    whole = eptreplay(
        "replay", trace, *CASES[case], "-j", "1", "--checkpoint-every", "0", "--out", tmp_path / "whole"
    )
    assert whole.code == 0, whole.err
    line += ["--out", tmp_path / "run"]
    interrupted_after(2, line)
    work = find(tmp_path / "run")
    assert work is not None
    assert "0 of 1 guest is done, 1 in its middle" in work.state()
    interrupted_after(3, [*line, "--resume"])
    loaded: list[int] = []
    load = Checkpoints.load

    def loading(self: Checkpoints, trace: GuestTrace) -> Kept | None:
        kept = load(self, trace)
        loaded.append(0 if kept is None else kept.position.rows)
        return kept

    monkeypatch.setattr(Checkpoints, "load", loading)
    resumed = eptreplay(*line, "--resume")
    assert resumed.code == 0, resumed.err
    assert loaded == [5000]
    assert content(tmp_path / "run") == content(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["guest.parquet", "run", "whole"]


def test_rows_out_of_order_are_found_across_a_checkpoint(tmp_path: Path) -> None:
    time = np.arange(ROWS, dtype=np.uint64) * 10
    time[3 * GROUP :] -= np.uint64(4000)
    trace = small_trace(
        tmp_path / "guest.parquet", rows=ROWS, row_group_size=GROUP, time=time, statistics=False
    )
    line = ["replay", trace, "-p", "x86", "-j", "1"]
    whole = eptreplay(*line, "--out", tmp_path / "whole")
    assert whole.code == 2
    interrupted_after(1, [*line, "--checkpoint-every", str(3 * GROUP), "--out", tmp_path / "run"])
    resumed = eptreplay(*line, "--checkpoint-every", str(3 * GROUP), "--out", tmp_path / "run", "--resume")
    assert resumed.code == 2
    assert resumed.err == whole.err


def kept_checkpoint(tmp_path: Path) -> tuple[Path, list[object]]:
    """Return a checkpoint, and the command that goes on from it."""
    trace = trace_of(tmp_path / "guest.parquet", events=False)
    line = ["replay", trace, "-p", "x86", "-j", "1", "--checkpoint-every", "1000", "--out", tmp_path / "run"]
    interrupted_after(2, line)
    (path,) = (tmp_path / ".run.eptreplay-unfinished/checkpoints").iterdir()
    return path, [*line, "--resume"]


class Hostile:
    """Would run a command where anything might come out of a pickle."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os  # noqa: PLC0415 - what an attacker would name

        return os.system, ("touch taken",)


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def hostile(path: Path) -> None:
    import hashlib  # noqa: PLC0415 - for this alone

    import pyarrow as pa  # noqa: PLC0415 - likewise

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "lz4") as stream:
        stream.write(pickle.dumps(((), Hostile())))
    body = sink.getvalue().to_pybytes()
    path.write_bytes(body + hashlib.sha256(body).digest())


@pytest.mark.parametrize("spoil", [damaged, truncated, hostile])
def test_a_checkpoint_that_is_none_costs_time_and_nothing_else(
    tmp_path: Path,
    spoil: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, line = kept_checkpoint(tmp_path)
    monkeypatch.chdir(tmp_path)
    spoil(path)
    (trace,) = find_traces([str(tmp_path / "guest.parquet")])
    assert Checkpoints(path.parents[1], 1, "").load(trace) is None
    assert eptreplay(*line).code == 0
    assert not (tmp_path / "taken").exists()


def test_a_checkpoint_of_another_trace_or_other_options_is_not_used(tmp_path: Path) -> None:
    path, _ = kept_checkpoint(tmp_path)
    (trace,) = find_traces([str(tmp_path / "guest.parquet")])
    assert Checkpoints(path.parents[1], 1, "other").load(trace) is None
    trace_of(tmp_path / "guest.parquet", events=False, seed=2)
    (other,) = find_traces([str(tmp_path / "guest.parquet")])
    assert Checkpoints(path.parents[1], 1, "other").load(other) is None


def test_processes_keep_and_use_checkpoints_too(tmp_path: Path) -> None:
    trace = trace_of(tmp_path / "guest.parquet", events=False)
    path, line = kept_checkpoint(tmp_path)
    assert path.exists()
    assert eptreplay(*line, "--workers", "1").code == 0
    assert eptreplay("replay", trace, "-p", "x86", "--out", tmp_path / "whole").code == 0


def test_a_time_is_no_distance_between_checkpoints(tmp_path: Path) -> None:
    answer = eptreplay("replay", "none.parquet", "--checkpoint-every", "10ms", "--out", tmp_path / "run")
    assert answer.code == 2
    assert "give rows between two checkpoints" in answer.err
