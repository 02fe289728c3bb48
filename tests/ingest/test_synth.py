"""Made-up guests: what their rows are like, and what is said of mistakes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.ingest.synth.example import EXAMPLE
from eptreplay.ingest.synth.make import BLOCK_ROWS, make_rows, phase_ends, write_guest
from eptreplay.ingest.synth.read_guest import parse_guest, read_guest
from eptreplay.ingest.synth.zipf import alias_tables, rank_columns
from eptreplay.ingest.trace.schema import Event, Op

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIB = 1 << 20
DOCS = Path(__file__).parents[2] / "docs"


def guest(access: str, top: str = "", phase: str = "") -> str:
    return f'rows = 200_000\nmemory = "64MiB"\n{top}\n[[phase]]\n{phase}\n[[phase.access]]\n{access}\n'


def columns(text: str) -> dict[str, NDArray[Any]]:
    made = list(make_rows(parse_guest(text, "guest.toml")))
    return {
        name: np.concatenate([getattr(rows, name) for rows in made])
        for name in ("time", "vcpu", "gpa", "op", "arg")
    }


def valid(tmp_path: Path, text: str) -> Any:  # noqa: ANN401 - a trace
    """Write a trace, read all its rows by the rules of native traces, and return it."""
    path = tmp_path / "made.parquet"
    write_guest(path, parse_guest(text, "guest.toml"), lambda _: None, overwrite=True)
    trace = open_trace(path)
    assert sum(batch.rows for batch in read_batches(trace, vcpu=True)) == trace.rows
    return trace


def digest(text: str) -> str:
    found = columns(text)
    whole = hashlib.sha256()
    for name in ("time", "vcpu", "gpa", "op", "arg"):
        whole.update(found[name].astype("<u8").tobytes())
    return whole.hexdigest()[:16]


def test_a_seed_makes_the_same_rows_on_every_machine() -> None:
    text = EXAMPLE.replace("4_000_000", "400_000")
    assert digest(text) == "5ba647d8f9c1fec5"
    assert digest(text.replace("seed = 1", "seed = 2")) != digest(text)


def test_the_example_is_a_valid_guest_with_what_it_says(tmp_path: Path) -> None:
    trace = valid(tmp_path, EXAMPLE.replace("4_000_000", "300_000"))
    assert trace.rows > 300_000
    assert (trace.vcpus, trace.ram_pages, trace.time_unit) == (4, 512 * MIB >> 12, "ns")
    op = pq.read_table(tmp_path / "made.parquet")["op"].to_numpy()
    assert set(op) == {
        Op.READ,
        Op.WRITE,
        Op.FETCH,
        Event.VCPU_RUN,
        Event.VCPU_STOP,
        Event.HOST_READ,
        Event.HOST_WRITE,
    }
    assert json.loads(trace.metadata["synthetic"])["seed"] == 1


def test_the_documentation_has_the_example() -> None:
    assert EXAMPLE in (DOCS / "synth.md").read_text(encoding="utf-8")


def test_uniform_accesses_go_everywhere_alike() -> None:
    found = columns(guest('pattern = "uniform"\nbegin = "16MiB"\nbytes = "32MiB"'))
    assert found["gpa"].min() >= 16 * MIB
    assert found["gpa"].max() < 48 * MIB
    assert np.bincount((found["gpa"] >> np.uint64(22)).astype(int), minlength=16)[4:12] == pytest.approx(
        25_000, rel=0.05
    )
    assert (found["gpa"] % 8 == 0).all()
    assert len(np.unique(found["gpa"] % 4096)) == 512


@pytest.mark.parametrize("skew", [0.5, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("pages", [16384, 10_000])
def test_zipf_accesses_pages_by_their_rank(skew: float, pages: int) -> None:
    found = columns(guest(f'pattern = "zipf"\nskew = {skew}\nbytes = {pages * 4096}'))
    page = (found["gpa"] >> np.uint64(12)).astype(int)
    assert page.max() < pages
    hits = np.sort(np.bincount(page, minlength=pages))[::-1] / len(page)
    drawn = 1 / np.arange(1, pages + 1) ** skew
    drawn /= drawn.sum()
    for top in (1, 10, 100, 1000):
        assert hits[:top].sum() == pytest.approx(drawn[:top].sum(), rel=0.05, abs=0.012), top


def test_every_rank_has_its_column_and_every_column_its_share() -> None:
    for pages in (1, 7, 1024, 1025, 5000, 1 << 20, 1 << 32):
        ranks = rank_columns(pages)
        assert [first for first, _ in ranks] == np.cumsum([0, *(count for _, count in ranks)])[:-1].tolist()
        assert sum(count for _, count in ranks) == pages
    tables = alias_tables([(5000, parse_guest(guest('pattern = "zipf"'), "").phases[0].accesses[0].skew)])
    keep, alias = tables.choice[0] >> np.uint64(16), (tables.choice[0] & np.uint64(0xFFFF)).astype(int)
    share = keep.astype(object)
    for column in range(len(keep)):
        share[alias[column]] += 2**32 - int(keep[column])
    count = len(rank_columns(5000))
    assert sum(share) == 2048 * 2**32
    assert not any(share[count:])
    harmonic = sum(1 / rank for rank in range(1, 5001))
    assert [int(each) / (2048 * 2**32) for each in share[:4]] == pytest.approx(
        [1 / rank / harmonic for rank in range(1, 5)], rel=1e-4
    )


def test_zipf_scatters_ranks_over_all_pages_of_memory_that_is_no_power_of_two() -> None:
    found = columns(guest('pattern = "zipf"\nskew = 0\nbytes = 409600'))
    hits = np.bincount((found["gpa"] >> np.uint64(12)).astype(int))
    assert hits == pytest.approx(np.full(100, 2000), rel=0.15)


def test_sequential_goes_line_by_line_and_strided_by_its_stride() -> None:
    found = columns(guest('pattern = "sequential"\nbytes = "1MiB"'))
    rounds, step = np.divmod(np.arange(200_000), 16384)
    assert (found["gpa"] == step * 64 + rounds * 8 % 64).all()
    found = columns(guest('pattern = "strided"\nstride = 12288\nbytes = "1MiB"\nbegin = 4096'))
    rounds, step = np.divmod(np.arange(200_000), MIB // 12288)
    assert (found["gpa"] == 4096 + step * 12288 + rounds * 8 % 12288).all()
    assert found["gpa"].max() < 4096 + MIB


def test_shares_of_accesses_writes_and_fetches_are_those_asked_for() -> None:
    text = guest('pattern = "uniform"\nbytes = "32MiB"\nweight = 3\nwrite_share = 0.1\nfetch_share = 0.6')
    text += '[[phase.access]]\npattern = "uniform"\nbegin = "32MiB"\nwrite_share = 1\n'
    found = columns(text)
    low = found["gpa"] < 32 * MIB
    assert low.mean() == pytest.approx(0.75, abs=0.01)
    assert np.bincount(found["op"][low]) / low.sum() == pytest.approx([0.3, 0.1, 0.6], abs=0.01)
    assert set(found["op"][~low]) == {Op.WRITE}


def test_phases_follow_each_other_by_weight_with_idle_time_between() -> None:
    text = 'rows = 100_000\nmemory = "8MiB"\ngap = "20ns"\nrepeat = 2\n'
    text += '[[phase]]\nweight = 3\nidle = "1s"\n[[phase.access]]\npattern = "uniform"\nbytes = "4MiB"\n'
    text += '[[phase]]\nweight = 1\ngap = "1us"\n[[phase.access]]\npattern = "uniform"\nbegin = "4MiB"\n'
    found = columns(text)
    assert phase_ends(parse_guest(text, "")) == [37_500, 50_000, 87_500, 100_000]
    high = found["gpa"] >= 4 * MIB
    assert np.flatnonzero(np.diff(high.astype(int))).tolist() == [37_499, 49_999, 87_499]
    gap = np.diff(found["time"].astype(np.int64))
    assert gap[:37_499].mean() == pytest.approx(20, rel=0.02)
    assert gap[37_500:49_999].mean() == pytest.approx(1000, rel=0.03)
    assert np.flatnonzero(gap > 10**8).tolist() == [37_499, 87_499]
    assert (gap >= 0).all()


def test_a_working_set_drifts_and_goes_on_at_the_beginning_of_memory() -> None:
    text = guest('pattern = "uniform"\nbytes = "1MiB"\nbegin = "63MiB"\ndrift = "10MiB"').replace(
        "200_000", "1_000_000"
    )
    page = (columns(text)["gpa"] >> np.uint64(12)).astype(int)
    for block in range(1_000_000 // BLOCK_ROWS):
        begin = (63 * MIB + 10 * MIB * block * BLOCK_ROWS // 10**6) >> 12
        here = set(page[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS].tolist())
        assert here == {(begin + number) % 16384 for number in range(256)}


def test_vcpus_work_in_bursts_and_only_those_of_the_phase() -> None:
    found = columns(guest('pattern = "uniform"', "vcpus = 5\nburst = 100", "vcpus = [1, 3, 4]"))
    assert set(found["vcpu"]) == {1, 3, 4}
    assert (found["vcpu"].reshape(-1, 100) == found["vcpu"][::100, None]).all()
    assert np.bincount(found["vcpu"])[[1, 3, 4]] == pytest.approx(66_667, rel=0.1)


def test_vcpus_that_take_turns_access_only_while_they_run(tmp_path: Path) -> None:
    text = (
        guest('pattern = "uniform"', "vcpus = 5", 'idle = "5ms"')
        + '[[phase]]\nvcpus = [2]\n[[phase.access]]\npattern = "uniform"\n'
    )
    text += '[turns]\nhost_cpus = 2\nslice = "100us"\n'
    assert valid(tmp_path, text).rows > 200_000
    found = columns(text)
    running: dict[int, int] = {}
    turns = 0
    for vcpu, op, arg in zip(
        found["vcpu"].tolist(), found["op"].tolist(), found["arg"].tolist(), strict=True
    ):
        if op == Event.VCPU_RUN:
            assert vcpu not in running
            assert arg not in running.values()
            running[vcpu] = arg
            turns += 1
        elif op == Event.VCPU_STOP:
            del running[vcpu]
        else:
            assert vcpu in running
            assert len(running) <= 2
    assert not running
    assert turns == pytest.approx(2 * 1_000_000 / 100_000 + 1, abs=2)


def test_the_host_and_devices_access_too(tmp_path: Path) -> None:
    text = (
        guest('pattern = "uniform"\nweight = 0.5\nwrite_share = 0.25\nby = "host"')
        + '[[phase.access]]\npattern = "sequential"\nweight = 0.5\nby = "dma"\nwrite_share = 1\n'
    )
    (tmp_path / "guest.toml").write_text('passthrough = [{ name = "made-up" }]\n')
    assert valid(tmp_path, text).rows == 200_000
    assert set(columns(text)["op"]) == {Event.HOST_READ, Event.HOST_WRITE, Event.DMA_WRITE}


def test_memory_beyond_3_gib_goes_on_at_4_gib(tmp_path: Path) -> None:
    text = guest('pattern = "uniform"').replace("64MiB", "5GiB")
    trace = valid(tmp_path, text)
    assert trace.ram_ranges() == ((0, 3 << 18), (4 << 18, 6 << 18))
    page = columns(text)["gpa"] >> np.uint64(12)
    low, high = page < 3 << 18, (page >= 4 << 18) & (page < 6 << 18)
    assert low.mean() == pytest.approx(0.6, abs=0.01)
    assert (low | high).all()


@pytest.mark.parametrize(
    ("old", "new", "later", "said"),
    [
        ("seed = 1", "seed = -1", 0, "'seed' is -1; expected a whole number"),
        ("rows = 4_000_000", "rows = 1.5", 0, "'rows' is"),
        ("rows = 4_000_000", "", None, "'rows' is missing"),
        ('memory = "512MiB"', 'memory = "512MB?"', 0, "'memory' is '512MB?'"),
        ('memory = "512MiB"', "memory = 5000", 0, "a multiple of 4096"),
        ("access_bytes = 8", "access_bytes = 12", 0, "a power of two"),
        ('gap = "10ns"', 'gap = "10"', 0, "'gap' is '10'"),
        ("host_cpus = 2", "host_cpu = 2", -1, "'host_cpus' is missing"),
        ("vcpus = [0]", "vcpus = [0, 4]", 0, "from 0 to 3"),
        ('pattern = "sequential"', 'pattern = "normal"', 0, "one of zipf, uniform, sequential, strided"),
        ("write_share = 0.9", "write_share = 1.1", 0, "from 0 to 1"),
        ("write_share = 0.9", "write_shore = 0.9", 0, "'write_shore' means nothing here"),
        ('idle = "20ms"', 'idle = "-20ms"', 0, "'idle' is"),
        ("skew = 1.1", "skew = nan", 0, "'skew' is NaN"),
        ('begin = "64MiB"', 'begin = "600MiB"', 0, "'begin' is"),
        ("write_share = 0\nfetch_share = 1 ", "write_share = 0.5\nfetch_share = 1 ", 1, "from 0 to 0.5"),
        ("stride = 8192", "stride = 12", 0, "a multiple of 8"),
        ('by = "host"', 'by = "guest"', 0, "one of vcpu, host, dma"),
        ('pattern = "uniform"', 'pattern = "uniform"\nskew = 2', 1, "'skew' means nothing here"),
        ("seed = 1", "seed = ", None, "it is no TOML"),
        ("seed = 1", "seed = 1\nphase = 5", None, "it is no TOML"),
        ('idle = "20ms"', 'idle = "5000000000s"', 0, "'idle' is"),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, later: int | None, said: str) -> None:
    assert EXAMPLE.count(old) == 1
    with pytest.raises(TraceError) as caught:
        parse_guest(EXAMPLE.replace(old, new), "guest.toml")
    message = str(caught.value)
    assert said in message
    if later is not None:
        line = EXAMPLE[: EXAMPLE.index(old)].count("\n") + 1 + later
        assert message.startswith(f"guest.toml, line {line}:")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\0")
    for name in ("none.toml", "binary.toml", "."):
        with pytest.raises(TraceError, match=r"cannot be read|no TOML"):
            read_guest(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rows = 5",
        'rows = 5\nmemory = "1MiB"\nphase = []',
        'rows = 5\nmemory = "1MiB"\n[[phase]]\naccess = 3',
    ],
)
def test_a_guest_without_phases_or_accesses_is_refused(text: str) -> None:
    with pytest.raises(TraceError, match=r"'(memory|phase|access)' is"):
        parse_guest(text, "guest.toml")
