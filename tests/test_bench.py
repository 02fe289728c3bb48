"""The benchmark: its figures, its bars, and the check that tells a slower version from a faster one."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.command_line import small_trace

from eptreplay.bench import measure as bench
from eptreplay.bench import measured
from eptreplay.bench import wide as bench_wide
from eptreplay.bench.measure import Figure
from eptreplay.ingest.native.decode import decode
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.ingest.synth.synthetic import Synthetic, write_synthetic
from eptreplay.model._numba.pointer import arrays_of
from eptreplay.model.instances import GuestMemory
from eptreplay.profiles import resolve
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.one_guest import replay_trace
from eptreplay.request.options import Options

if TYPE_CHECKING:
    from types import ModuleType

PAGES = 1 << 18
SCRIPT = Path(__file__).parent / "benchmarks" / "bench.py"


def script() -> ModuleType:
    """Return the script behind `make bench` as a module."""
    spec = importlib.util.spec_from_file_location("bench_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kept(folder: Path, name: str, **figures: float) -> None:
    """Write results as `make bench` keeps them."""
    entries = [{"name": key, "value": value} for key, value in figures.items()]
    (folder / name).write_text(json.dumps({"figures": entries}))


@pytest.mark.parametrize(
    ("value", "at_least", "worse"),
    [(1.19, False, False), (1.21, False, True), (0.5, False, False), (0.84, True, False), (0.82, True, True)],
)
def test_a_ratio_a_fifth_worse_than_before_is_a_regression(
    tmp_path: Path, value: float, at_least: bool, worse: bool
) -> None:
    kept(tmp_path, "2026-01-02T0000-b.json", speed=1.0)
    kept(tmp_path, "2026-01-01T0000-a.json", speed=9.0)
    figure = Figure("speed", value, "ratio", at_least=at_least)
    assert bool(script().regressions([figure], tmp_path)) == worse


def test_only_ratios_that_were_measured_before_are_compared(tmp_path: Path) -> None:
    kept(tmp_path, "2026-01-02T0000-b.json", start=1.0)
    assert not script().regressions([Figure("start", 9.0, "s"), Figure("new", 9.0, "ratio")], tmp_path)
    assert not script().regressions([Figure("new", 9.0, "ratio")], tmp_path / "none")


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure("a", 1.0, "ratio"), None),
        (Figure("a", 1.0, "ratio", 1.0), True),
        (Figure("a", 1.1, "ratio", 1.0), False),
        (Figure("a", 5.1, "ratio", 5.0, at_least=True), True),
        (Figure("a", 4.9, "ratio", 5.0, at_least=True), False),
    ],
)
def test_a_bar_is_met_or_not(figure: Figure, met: bool | None) -> None:
    assert figure.met is met


def test_figures_are_told_as_json_and_as_text() -> None:
    figures = [Figure("speed", 1.5, "ratio", 1.25, 1.4, 1.6, {"a_ns_per_row": 3.0})]
    told: dict[str, Any] = json.loads(bench.as_json(figures))
    assert told["figures"][0]["value"] == 1.5
    assert told["machine"]["eptreplay"]
    assert any("bar 1.25: NOT MET" in line for line in bench.as_text(figures))


def test_the_decoding_that_replays_are_compared_with_takes_the_columns_that_they_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = open_trace(small_trace(tmp_path / "guest.parquet", vcpu=np.arange(3000, dtype=np.uint8) % 2))
    options = Options(intervals=256)
    decoded: list[list[str]] = []

    class Spy(pq.ParquetFile):  # type: ignore[misc]
        def read_row_group(self, index: int, *, columns: list[str], use_threads: bool) -> object:
            decoded.append(columns)
            return super().read_row_group(index, columns=columns, use_threads=use_threads)

    monkeypatch.setattr("eptreplay.bench.measure.pq.ParquetFile", Spy)
    bench.decode(trace, options)
    monkeypatch.undo()
    taken: list[list[str]] = []

    def spy(file: Any, group: Any, names: list[str], batch_rows: int) -> object:  # noqa: ANN401 - as they come
        taken.append(list(names))
        return decode(file, group, names, batch_rows)

    monkeypatch.setattr("eptreplay.ingest.native.reader.decode", spy)
    replay_trace(trace, [resolve("ept-ad")], options)
    assert [sorted(names) for names in decoded] == [sorted(names) for names in taken]
    assert sorted(decoded[0]) == ["gpa", "op", "time", "vcpu"]


def test_pairs_run_in_turn_and_the_first_is_not_counted() -> None:
    calls: list[str] = []

    def work(name: str) -> int:
        calls.append(name)
        return sum(range(10**5))

    bench.ratio("pair", 1, lambda: work("a"), lambda: work("b"), bar=None, runs=2)
    assert calls == ["a", "b"] * 3


def test_a_page_takes_as_much_state_as_the_docs_say() -> None:
    replay = Replay([resolve("ept-ad")], [GuestMemory(np.array([[0, PAGES]], np.int64), 1)])
    arrays = arrays_of(replay.states) | {"clean": replay.log.clean}
    mapped_twice = {"pv", "pt"}  # by the guest and by the hypervisor process
    table = docs_on_state()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", table, re.MULTILINE))
    assert set(rows) > {"page", "pv", "pt", "object", "pageq"}
    for name, stated in rows.items():
        assert int(stated) == arrays[name].nbytes // PAGES // (1 + (name in mapped_twice))
    in_use = sum(int(rows[name]) for name in ("page", "pv", "pt", "object"))
    assert f"takes {in_use} bytes a profile" in table
    assert f"{in_use + int(rows['pageq'])} on a host with a page daemon" in table
    shared = replay.states.fast_path.nbytes + sum(
        array.nbytes for array in arrays_of(replay.statistics).values()
    )
    assert f"share another {shared // PAGES}:" in " ".join(table.split())


def test_every_array_with_an_element_a_page_is_in_the_docs() -> None:
    replay = Replay([resolve("ept-ad")], [GuestMemory(np.array([[0, PAGES]], np.int64), 1)])
    for name, array in (arrays_of(replay.states) | arrays_of(replay.statistics)).items():
        if array.nbytes >= PAGES and name != "pm_root":  # of which only slots of PDEs are ever used
            assert f"`{name}`" in docs_on_state(), name


def docs_on_state() -> str:
    """Return what docs/speed.md says of the state of a page."""
    page = (Path(__file__).parents[1] / "docs" / "speed.md").read_text(encoding="utf-8")
    return page[page.index("## What a guest page takes") : page.index("## What was tried")]


def test_the_database_answers_what_it_is_asked(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    path = tmp_path / "small.parquet"
    write_synthetic(path, Synthetic(rows=5000, memory_bytes=1 << 20, distribution="uniform"))
    trace = open_trace(path)
    bench.decode(trace, Options())
    figure = bench_wide.database_figures("small", trace, 1)[0]
    assert figure.value > 0
    assert figure.at_least


def test_a_process_that_replays_prints_its_peak_memory(tmp_path: Path) -> None:
    peak = bench.peak_memory(small_trace(tmp_path / "trace.parquet"))
    assert 1 << 26 < peak < 1 << 34


def test_the_program_that_compiles_everything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    measured.main()
    assert int(capsys.readouterr().out) == pytest.approx(measured.own_peak_memory(), rel=0.1)
