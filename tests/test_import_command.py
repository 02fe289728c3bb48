"""The commands import and export: what they refuse, what they say, and that pages repeat what is approximated."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.command_line import eptreplay

from eptreplay.report.read.approximated import approximated_of

if TYPE_CHECKING:
    from pathlib import Path

CSV = "time,op,gpa\n1,R,0x1000\n2,W,0x2000\n"
LACKEY = "I  0040ebf0,2\n L 1fff000640,8\n"
SEGMENTS = [{"gpa": 0, "bytes": 1 << 40, "kind": "ram"}]


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text(CSV)
    return path


def metadata(path: Path) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in pq.read_metadata(path).metadata.items()}


def test_a_trace_says_what_its_rows_are_and_what_is_approximated(tmp_path: Path, csv: Path) -> None:
    out = tmp_path / "out.parquet"
    answer = eptreplay("import", "text", csv, "-o", out)
    assert answer.code == 0, answer.err
    assert f"{out}: 2 records of text, 2 rows; 1 vCPU, memory 2 MiB" in answer.out
    assert "left out, no access: 1 the line that names the columns" in answer.out
    found = metadata(out)
    assert found["rows_are"] == "one line of a text with the columns time, op, gpa"
    assert "no sizes" in found["approximated"]
    assert "virtual" not in found["approximated"]
    assert found["imported_records"] == "2"
    assert json.loads(found["memory_segments"]) == [{"gpa": 0, "bytes": 2 << 20, "kind": "ram"}]
    assert "out.parquet" in (tmp_path / "SHA256SUMS").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("import",), "give a format"),
        (("import", "nothing", "{csv}", "-o", "{out}"), "there is no format 'nothing'"),
        (("import", "text", "{csv}"), "give a format"),
        (("import", "text", "{csv}", "-o", "{csv}", "--overwrite"), "cannot be the output"),
        (("import", "text", "", "-o", "{out}"), "a path is empty"),
        (("import", "text", "-", "-", "-o", "{out}"), "once only"),
        (("import", "lackey", "{csv}", "-o", "{out}", "--hex"), "--hex has no effect on lackey"),
        (("import", "text", "{csv}", "-o", "{out}", "--page-bytes", "2M"), "--page-bytes has no effect"),
        (("import", "text", "{csv}", "-o", "{out}", "--page-map", "{csv}"), "--page-map has no effect"),
        (("import", "lackey", "{csv}", "-o", "{out}", "--dense"), "--dense has no effect"),
        (("import", "lackey", "{csv}", "-o", "{out}", "--page-bytes", "3K"), "no size of a page"),
        (("import", "text", "{csv}", "-o", "{out}", "--time-unit", "weeks"), "give one of ns, us"),
        (("import", "text", "{csv}", "-o", "{out}", "--columns", "time,op"), "has to be an address"),
        (("import", "text", "{csv}", "-o", "{out}", "--columns", "time,gpa,time"), "stands twice"),
        (("import", "text", "{csv}", "-o", "{out}", "--columns", "gpa,rubbish"), "means nothing"),
        (
            ("import", "text", "{csv}", "-o", "{out}", "--columns", "-,-,gpa", "--time-unit", "us"),
            "no column is the time",
        ),
        (("import", "qemu-execlog", "{csv}", "-o", "{out}"), "give --qemu-version"),
        (("import", "qemu-execlog", "{csv}", "-o", "{out}", "--qemu-version", "new"), "as in 7.2"),
        (
            ("import", "qemu-mem", "{csv}", "-o", "{out}", "--qemu-version", "9.0", "--pci-hole", "3G"),
            "--pci-hole has no effect",
        ),
        (("import", "kvm", "{csv}", "-o", "{out}", "--event", "kvm_exit"), "--event is 'kvm_exit'"),
        (("import", "text", "{csv}.none", "-o", "{out}"), "No such file"),
        (("import", "text", "{csv}", "-o", "{out}/deeper/x.parquet"), "x.parquet"),
        (("export", "csv", "{csv}", "-o", "{out}"), "in.csv"),
        (("export", "nothing", "{csv}", "-o", "{out}"), "cannot be exported as 'nothing'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    tmp_path: Path, csv: Path, arguments: tuple[str, ...], said: str
) -> None:
    filled = [each.format(csv=csv, out=tmp_path / "out.parquet") for each in arguments]
    answer = eptreplay(*filled)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert said in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_an_output_that_exists_stays_unless_it_is_to_be_replaced(tmp_path: Path, csv: Path) -> None:
    out = tmp_path / "out.parquet"
    out.write_text("mine")
    assert eptreplay("import", "text", csv, "-o", out).code == 2
    assert out.read_text() == "mine"
    assert eptreplay("import", "text", csv, "-o", out, "--overwrite").code == 0
    assert pl.read_parquet(out).height == 2


def test_several_inputs_are_read_in_order_and_named_in_messages(tmp_path: Path, csv: Path) -> None:
    second = tmp_path / "second.csv.gz"
    second.write_bytes(gzip.compress(CSV.replace("1,R", "5,R").replace("2,W", "6,W").encode()))
    out = tmp_path / "out.parquet"
    assert eptreplay("import", "text", csv, second, "-o", out).code == 0
    assert pl.read_parquet(out)["time"].to_list() == [1, 2, 5, 6]
    answer = eptreplay("import", "text", second, csv, "-o", out, "--overwrite")
    assert answer.code == 2
    assert f"{csv}, line 2: its time is before" in answer.err


def test_standard_input_is_read_and_its_format_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "==7== Lackey, an example Valgrind tool\n" + LACKEY

    class Piped(io.TextIOWrapper):
        pass

    monkeypatch.setattr("sys.stdin", Piped(io.BytesIO(gzip.compress(text.encode()))))
    out = tmp_path / "out.parquet"
    answer = eptreplay("import", "auto", "-", "-o", out)
    assert answer.code == 0, answer.err
    assert "standard input is read as lackey" in answer.err
    assert pl.read_parquet(out)["op"].to_list() == [2, 0]


def test_a_pipe_can_be_imported(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    command = [sys.executable, "-m", "eptreplay", "import", "lackey", "-", "-o", str(out)]
    done = subprocess.run(command, input=LACKEY.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(out).height == 2


def test_page_sizes_and_page_maps_decide_where_virtual_pages_lie(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out.parquet"
    source.write_text(LACKEY)
    assert eptreplay("import", "lackey", source, "-o", out, "--page-bytes", "2M").code == 0
    assert pl.read_parquet(out)["gpa"].to_list() == [0xEBF0, (2 << 20) + 0x640]
    (tmp_path / "map").write_text("0x40e000,0x5000\n0x1fff000000,0x9000\n")
    assert (
        eptreplay("import", "lackey", source, "-o", out, "--page-map", tmp_path / "map", "--overwrite").code
        == 0
    )
    assert pl.read_parquet(out)["gpa"].to_list() == [0x5BF0, 0x9640]
    (tmp_path / "map").write_text("0x40e000,0x5000\n")
    answer = eptreplay("import", "lackey", source, "-o", out, "--page-map", tmp_path / "map", "--overwrite")
    assert answer.code == 2
    assert "line 2: its page is not in the page map" in answer.err


def test_dense_memory_has_no_gaps(tmp_path: Path, csv: Path) -> None:
    csv.write_text("gpa,op\n0x7000000000,R\n0x10,W\n0x7000000010,R\n0xffffffffffff0000,R\n")
    out = tmp_path / "out.parquet"
    answer = eptreplay("import", "text", csv, "-o", out)
    assert answer.code == 2
    assert "line 5: its address has more than 48 bits" in answer.err
    assert eptreplay("import", "text", csv, "-o", out, "--dense").code == 0
    assert pl.read_parquet(out)["gpa"].to_list() == [0, 0x1010, 0x10, 0x2000]


def test_offsets_in_an_older_qemu_s_memory_are_moved_above_the_hole(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out.parquet"
    source.write_text(
        '0, 0x1, 0x2, "movq", load, 0x1000, RAM\n0, 0x1, 0x2, "movq", load, 0xc0001000, RAM, store, 0x70, rtc\n'
    )
    answer = eptreplay("import", "qemu-execlog", source, "-o", out, "--qemu-version", "7.2")
    assert answer.code == 2
    assert "--pci-hole" in answer.err
    old = ("--qemu-version", "8.1.5", "--pci-hole", "3G")
    answer = eptreplay("import", "qemu-execlog", source, "-o", out, *old)
    assert answer.code == 0, answer.err
    assert "1 accesses to devices" in answer.out
    assert pl.read_parquet(out)["gpa"].to_list() == [0x1000, (4 << 30) + 0x1000]
    assert (
        eptreplay("import", "qemu-execlog", source, "-o", out, "--qemu-version", "10.0", "--overwrite").code
        == 0
    )
    assert pl.read_parquet(out)["gpa"].to_list() == [0x1000, 0xC0001000]


def native(path: Path, rows: int, **more: Any) -> pa.Table:  # noqa: ANN401 - columns of any type
    draw = np.random.default_rng(3)
    columns = {
        "time": np.cumsum(draw.integers(0, 50, rows)).astype(np.uint64),
        "vcpu": draw.integers(0, 2, rows).astype(np.uint16),
        "gpa": draw.integers(0, 1 << 40, rows).astype(np.uint64),
        "op": draw.integers(0, 3, rows).astype(np.uint8),
        **more,
    }
    keys = {"memory_segments": json.dumps(SEGMENTS), "vcpus": "2", "time_unit": "ns"}
    table = pa.table(columns).replace_schema_metadata(keys)
    pq.write_table(table, path, row_group_size=70_000)
    return table


@pytest.mark.parametrize("wide", [False, True])
def test_csv_and_back_keeps_every_row(tmp_path: Path, wide: bool) -> None:
    rows = 150_000
    draw = np.random.default_rng(4)
    more = {
        "size": draw.integers(1, 4097, rows).astype(np.uint16),
        "count": draw.integers(1, 1 << 32, rows).astype(np.uint32),
        "arg": draw.integers(0, 1 << 63, rows).astype(np.uint64),
    }
    table = native(tmp_path / "a.parquet", rows, **(more if wide else {}))
    answer = eptreplay("export", "csv", tmp_path / "a.parquet", "-o", tmp_path / "a.csv")
    assert answer.code == 0, answer.err
    assert "150,000 records" in answer.out
    answer = eptreplay("import", "text", tmp_path / "a.csv", "-o", tmp_path / "b.parquet")
    assert answer.code == 0, answer.err
    back = pq.read_table(tmp_path / "b.parquet")
    assert set(back.column_names) == set(table.column_names)
    for name in table.column_names:
        assert back[name].to_numpy().tolist() == table[name].to_numpy().tolist(), name


def test_pages_and_summary_repeat_what_is_approximated(tmp_path: Path, csv: Path) -> None:
    out = tmp_path / "out.parquet"
    assert eptreplay("import", "text", csv, "-o", out).code == 0
    answer = eptreplay("replay", out, "-p", "haswell", "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "no vCPUs" in run["guests"][0]["about"]["approximated"]
    page = next((tmp_path / "run" / "guests").glob("*.html")).read_text()
    told = "Approximated: no vCPUs: all accesses are vCPU 0"
    for text in (page, (tmp_path / "run" / "index.html").read_text()):
        assert told in text
        assert text.index(told) < text.index('<main id="main"')
    assert told in " ".join(eptreplay("summary", tmp_path / "run").out.split())


def test_of_several_guests_the_approximated_ones_are_named() -> None:
    exact = {"name": "a", "about": {}}
    not_exact = [{"name": name, "about": {"approximated": "no times: x"}} for name in "bcdef"]
    assert approximated_of([exact]) == ""
    assert approximated_of([not_exact[0]]) == "Approximated: no times: x."
    assert "1 guest (b)" in approximated_of([exact, not_exact[0]])
    assert "5 guests (b, c, d and 2 more)" in approximated_of([exact, *not_exact])
