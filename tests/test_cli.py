"""The command line from end to end: what it writes, says, and ends with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from tests.command_line import eptreplay, small_trace

TRACES = Path(__file__).parents[1] / "traces"


def tables(run: Path, name: str) -> pl.DataFrame:
    frame = pl.from_arrow(pq.read_table(run / "tables" / f"{name}.parquet"))
    assert isinstance(frame, pl.DataFrame)
    return frame


def test_help_names_every_command() -> None:
    answer = eptreplay("--help")
    assert answer.code == 0
    for command in ("replay", "conform", "check", "report", "profiles", "bench"):
        assert command in answer.out


def test_help_of_replay_shows_an_example() -> None:
    assert "Example:" in eptreplay("replay", "--help").out


def test_version_is_shown() -> None:
    assert eptreplay("--version").out.startswith("eptreplay 0.")


def test_a_replay_leaves_tables_and_pages(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    answer = eptreplay("replay", trace, "-p", "haswell", "-p", "nehalem", "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    names = {
        path.relative_to(tmp_path / "run").as_posix()
        for path in (tmp_path / "run").rglob("*")
        if path.is_file()
    }
    for table in ("summary", "intervals", "faults", "pages"):
        assert {f"tables/{table}.parquet", f"tables/{table}.csv"} <= names
    assert {"index.html", "run.json"} <= names
    assert sum(name.startswith("guests/") and name.endswith(".html") for name in names) == 1


def test_summary_has_a_row_a_guest_and_profile(tmp_path: Path) -> None:
    small_trace(tmp_path / "a.parquet")
    small_trace(tmp_path / "b.parquet", rows=10)
    eptreplay("replay", tmp_path / "*.parquet", "-p", "ept-ad", "-p", "x86", "--out", tmp_path / "run")
    found = tables(tmp_path / "run", "summary").select("guest", "profile", "rows").rows()
    assert found == [("a", "ept-ad", 3000), ("a", "x86", 3000), ("b", "ept-ad", 10), ("b", "x86", 10)]


def test_every_access_is_a_hit_or_left_the_guest(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    eptreplay(
        "replay", trace, "-p", "ept-emul", "--policy", "age", "--every", "500", "--out", tmp_path / "run"
    )
    row = tables(tmp_path / "run", "summary").row(0, named=True)
    assert row["reads"] == row["hit_r"] + row["ad_emulated_r"] + row["vm_faults_r"] == 1000
    assert row["writes"] == row["hit_w"] + row["ad_emulated_w"] + row["vm_faults_w"] == 1000
    assert row["fetches"] == row["hit_x"] + row["vm_faults_x"] == 1000
    assert row["sweeps"] == 6


def test_intervals_add_up_to_the_summary(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    eptreplay(
        "replay",
        trace,
        "--intervals",
        "7",
        "--policy",
        "harvest",
        "--every",
        "1us",
        "--out",
        tmp_path / "run",
    )
    summary, intervals = tables(tmp_path / "run", "summary"), tables(tmp_path / "run", "intervals")
    assert intervals["interval"].n_unique() == 7
    for name in ("rows", "reads", "hit_w", "traps", "eptgen", "dirty_all_harvests", "sweeps"):
        added = intervals.group_by("profile", maintain_order=True).agg(pl.col(name).sum())
        assert added[name].to_list() == summary[name].to_list(), name
    assert summary["sweeps"][0] == 29


def test_tables_say_the_same_as_plain_queries_on_the_trace(tmp_path: Path) -> None:
    trace = TRACES / "web-1vcpu.parquet"
    eptreplay(
        "replay", trace, "-p", "ept-ad", "--intervals", "16", "--page-accesses", "--out", tmp_path / "run"
    )
    rows = pl.from_arrow(pq.read_table(trace, columns=["gpa", "op", "time"]))
    assert isinstance(rows, pl.DataFrame)
    rows = rows.with_row_index("row").with_columns(gpa=pl.col("gpa") // 4096 * 4096)
    expected = (
        rows.group_by("gpa")
        .agg(
            first_row=pl.col("row").min().cast(pl.Int64),
            reads=(pl.col("op") == 0).sum().cast(pl.Int64),
            writes=(pl.col("op") == 1).sum().cast(pl.Int64),
            fetches=(pl.col("op") == 2).sum().cast(pl.Int64),
        )
        .sort("gpa")
    )
    pages = tables(tmp_path / "run", "pages")
    assert pages.select(expected.columns).equals(expected)
    assert pages["dirty"].to_list() == (expected["writes"] > 0).to_list()
    begin, end = int(rows["time"][0]), int(rows["time"][-1])
    cuts = [begin + -(-(end - begin) * k // 16) for k in range(1, 16)]
    numbered = rows.with_columns(
        interval=pl.Series(np.searchsorted(cuts, rows["time"].to_numpy(), side="right"))
    )
    truth = (
        numbered.group_by("interval")
        .agg(touched=pl.col("gpa").n_unique(), written=pl.col("gpa").filter(pl.col("op") == 1).n_unique())
        .sort("interval")
    )
    intervals = tables(tmp_path / "run", "intervals")
    assert intervals["pages_touched"].to_list() == truth["touched"].to_list()
    assert intervals["pages_written"].to_list() == truth["written"].to_list()


def test_a_guest_with_the_name_of_a_formula_is_harmless(tmp_path: Path) -> None:
    small_trace(tmp_path / "=1+1.parquet")
    answer = eptreplay("replay", tmp_path / "=1+1.parquet", "-p", "ept-ad", "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "\n'=1+1," in (tmp_path / "run/tables/summary.csv").read_text()
    assert tables(tmp_path / "run", "summary")["guest"][0] == "=1+1"


def test_jobs_do_not_change_results(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        small_trace(tmp_path / f"{name}.parquet")
    for jobs in (1, 3):
        eptreplay("replay", tmp_path / "*.parquet", "-j", jobs, "--out", tmp_path / f"run{jobs}")
    one, three = (
        {p.relative_to(r): p.read_bytes() for p in sorted(r.rglob("*")) if p.is_file()}
        for r in (tmp_path / "run1", tmp_path / "run3")
    )
    assert one == three


def test_a_report_renders_again_from_the_tables_to_the_same_bytes(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    eptreplay("replay", trace, "--out", tmp_path / "run")
    trace.unlink()
    pages = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.html")}
    for path in pages:
        path.unlink()
    assert eptreplay("report", tmp_path / "run").code == 0
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.html")} == pages


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_trace_of_hardly_any_rows_is_a_run_like_any_other(tmp_path: Path, rows: int) -> None:
    trace = small_trace(tmp_path / "guest.parquet", rows=rows)
    options = ("--policy", "age", "--every", "10ns", "-p", "ept-ad")
    answer = eptreplay("replay", trace, *options, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert tables(tmp_path / "run", "summary")["rows"].to_list() == [rows]
    assert tables(tmp_path / "run", "intervals")["rows"].sum() == rows
    assert len(tables(tmp_path / "run", "pages")) == rows


def test_rows_may_be_left_out_and_are_counted(tmp_path: Path) -> None:
    op = np.zeros(3000, np.uint8)
    op[[5, 7]] = 9
    trace = small_trace(tmp_path / "guest.parquet", op=op)
    answer = eptreplay("replay", trace, "-p", "ept-ad", "--on-bad-rows", "skip", "--out", tmp_path / "run")
    assert answer.code == 0
    assert "rows left out: 2" in answer.err
    assert tables(tmp_path / "run", "summary")["rows"][0] == 2998


def test_an_access_across_a_page_end_touches_both_pages(tmp_path: Path) -> None:
    trace = small_trace(
        tmp_path / "guest.parquet",
        rows=2,
        gpa=np.array([4092, 8188], np.uint64),
        op=np.zeros(2, np.uint8),
        size=np.array([8, 4], np.uint8),
    )
    eptreplay("replay", trace, "-p", "ept-ad", "--page-accesses", "--out", tmp_path / "run")
    pages = tables(tmp_path / "run", "pages")
    assert pages["gpa"].to_list() == [0, 4096]
    assert pages["reads"].to_list() == [1, 2]
    assert tables(tmp_path / "run", "summary")["reads"][0] == 3


def test_accesses_outside_memory_count_as_unbacked_only(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet", gpa=np.full(3000, 1 << 40, np.uint64))
    assert eptreplay("replay", trace, "-p", "ept-ad", "--out", tmp_path / "run").code == 0
    row = tables(tmp_path / "run", "summary").row(0, named=True)
    assert (row["unbacked"], row["reads"], row["writes"], row["fetches"], row["traps"]) == (3000, 0, 0, 0, 0)


def test_a_good_guest_is_replayed_beside_a_bad_one(tmp_path: Path) -> None:
    small_trace(tmp_path / "good.parquet")
    small_trace(tmp_path / "bad.parquet", op=np.full(3000, 9, np.uint8))
    answer = eptreplay("replay", tmp_path / "*.parquet", "-p", "ept-ad", "--out", tmp_path / "run")
    assert answer.code == 3
    assert "bad.parquet, row group 0, row 0, column 'op'" in answer.err
    assert tables(tmp_path / "run", "summary")["guest"].to_list() == ["good"]


BAD: dict[str, tuple[bytes | None, dict[str, Any], str]] = {
    "missing": (None, {}, "no such file"),
    "text": (b"a,b\n1,2\n", {}, "expected a Parquet file"),
    "cut": (b"PAR1" + bytes(100), {}, "cut short"),
    "column": (None, {"gpa": None}, "column 'gpa'"),
    "type": (
        None,
        {"vcpu": np.zeros(3000, np.bool_)},
        "column 'vcpu': the type is bool; expected uint8 or uint16",
    ),
    "op": (None, {"op": np.full(3000, 9, np.uint8)}, "op 9 is unknown"),
    "back": (None, {"time": np.arange(3000, dtype=np.uint64)[::-1].copy()}, "time goes back"),
    "vcpu": (None, {"vcpu": np.full(3000, 2, np.uint8)}, "vCPU 2 is none of the guest's"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    content, columns, message = BAD[name]
    trace = tmp_path / "guest.parquet"
    if content is not None:
        trace.write_bytes(content)
    elif name != "missing":
        small_trace(trace, **columns)
    before = sorted(tmp_path.iterdir())
    answer = eptreplay("replay", trace, "-p", "ept-ad", "--out", tmp_path / "run")
    assert answer.code == 2
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert "guest.parquet" in line
    assert message in line
    assert sorted(tmp_path.iterdir()) == before


WRONG = {
    "profile": (["-p", "hasvell"], "did you mean haswell"),
    "override": (["-p", "haswell:bits=on"], "is not an override"),
    "twice": (["-p", "x86", "-p", "x86"], "is given twice"),
    "every": (["--policy", "age", "--every", "soon"], "is no distance along a trace"),
    "too short": (["--policy", "age", "--every", "0.1ns"], "is no distance along a trace"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_options_say_what_would_be_right(tmp_path: Path, name: str) -> None:
    options, message = WRONG[name]
    trace = small_trace(tmp_path / "guest.parquet")
    answer = eptreplay("replay", trace, *options, "--out", tmp_path / "run")
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "run").exists()


def test_sweeps_beyond_measure_are_told_of_beforehand(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet", rows=2, time=np.array([0, 2_000_000], np.uint64))
    options = ("--policy", "harvest", "--every", "1ns", "-p", "ept-ad")
    answer = eptreplay("replay", trace, *options, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "--every 1 ns is 2,000,000 sweeps over guest 'guest', 1,000,000 for each of its rows" in answer.err
    assert tables(tmp_path / "run", "summary")["sweeps"].to_list() == [2_000_000]


def test_more_idle_scans_than_tables_can_tell_are_refused(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet", rows=2, time=np.array([0, 10**12], np.uint64))
    answer = eptreplay("replay", trace, "--scan-interval", "1ns", "--out", tmp_path / "run")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert "--scan-interval 1 ns is 1,000,000,000,000 scans" in line


def test_an_older_run_is_replaced_only_when_asked(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    assert eptreplay("replay", trace, "--out", tmp_path / "run").code == 0
    answer = eptreplay("replay", trace, "--out", tmp_path / "run")
    assert answer.code == 2
    assert "--overwrite" in answer.err
    assert eptreplay("replay", trace, "--out", tmp_path / "run", "--overwrite").code == 0


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.txt").write_text("all of it")
    answer = eptreplay("replay", trace, "--out", tmp_path / "home", "--overwrite")
    assert answer.code == 2
    assert (tmp_path / "home/thesis.txt").read_text() == "all of it"


def test_an_output_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    answer = eptreplay("replay", trace, "--out", tmp_path / "guest.parquet" / "run")
    assert answer.code == 2
    assert "--out" in answer.err


def test_check_says_what_is_in_a_trace(tmp_path: Path) -> None:
    answer = eptreplay("check", small_trace(tmp_path / "guest.parquet"))
    assert answer.code == 0
    assert "guest: 3,000 rows in 3 row groups, 2 vCPUs" in answer.out
    assert "memory 4 MiB" in answer.out
    assert "outside" not in answer.out
    assert ("unverified input" in answer.out) != ("verified by" in answer.out)


def test_check_counts_what_lies_outside_memory(tmp_path: Path) -> None:
    gpa = np.zeros(3000, np.uint64)
    gpa[:700] = 1 << 40
    answer = eptreplay("check", small_trace(tmp_path / "guest.parquet", gpa=gpa))
    assert answer.code == 0
    assert "700 of 3,000 rows (700 of 3,000 accesses) lie outside" in answer.out.replace("\n", " ")
    assert "between 0x10000000000 and 0x10000000000" in answer.out.replace("\n", " ")


def test_check_finds_what_a_replay_need_not_look_at(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet", vcpu=np.full(3000, 2, np.uint8))
    answer = eptreplay("check", trace)
    assert answer.code == 2
    assert "column 'vcpu'" in answer.err


def test_profiles_list_names_all() -> None:
    answer = eptreplay("profiles", "list")
    assert answer.code == 0
    for name in ("ept-ad", "nehalem", "granite-rapids", "barcelona", "zen5"):
        assert name in answer.out


def test_profiles_show_tells_why() -> None:
    answer = eptreplay("profiles", "show", "nehalem")
    assert answer.code == 0
    assert "PMAP_EMULATE_AD_BITS" in answer.out


def test_from_msr_decodes_and_refuses() -> None:
    good = eptreplay("profiles", "from-msr", "0xf0106334141")
    assert good.code == 0
    assert "ept_ad" in good.out
    refused = eptreplay("profiles", "from-msr", "0x40")
    assert refused.code == 2
    assert "bhyve would refuse this CPU: the CPU lacks" in refused.err


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("0", "is 0, so this CPU has no EPT, or the value was not read on the host itself"),
        ("0x0000000000000000", "is 0, so this CPU has no EPT"),
        ("zebra", "must be a hexadecimal number, not 'zebra'"),
        ("", "must be a hexadecimal number, not ''"),
        ("0x", "must be a hexadecimal number"),
        ("1.5", "must be a hexadecimal number"),
        ("\u0663", "must be a hexadecimal number"),
        ("-1", "has no sign, as '-1' has"),
        ("-0xf0106334141", "has no sign"),
        ("+1", "has no sign"),
        ("0x10000000000000000", "has at most 64 bits, but 0x10000000000000000 has 65"),
        ("f" * 5000, "has at most 64 bits"),
    ],
)
def test_a_register_that_no_cpu_has_is_one_line_that_says_why(value: str, told: str) -> None:
    for arguments in (("profiles", "from-msr", value), ("profiles", "show", f"msr:{value}")):
        answer = eptreplay(*arguments)
        assert answer.code == 2
        assert answer.out == ""
        (line,) = answer.err.splitlines()
        assert told in line


def test_help_loads_neither_numba_nor_polars() -> None:
    program = (
        "import sys; sys.argv = ['eptreplay', '--help']\n"
        "from eptreplay.cli import app as cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('numba', 'numpy', 'polars', 'pyarrow') if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=os.environ.copy()
    )
    assert found.stdout.endswith("[]\n")


def test_an_interrupt_ends_with_130_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    trace = small_trace(tmp_path / "guest.parquet")
    monkeypatch.setattr("eptreplay.run.units.replay_guest", interrupt)
    answer = eptreplay("replay", trace, "--out", tmp_path / "run")
    assert answer.code == 130
    assert not (tmp_path / "run").exists()
