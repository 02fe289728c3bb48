"""Traces in a bucket of an S3-compatible server (moto's), straight, through a connection that breaks, and without leave."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.command_line import eptreplay, small_trace
from tests.ingest.stores.servers import SECRET, Proxy, send

from eptreplay.errors import TraceError, UsageError
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.ingest.sources.locate import locate
from eptreplay.ingest.trace.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


SIGNED = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
"""A signature that the server does not look at; without any it lets nobody write an object again."""


def put(proxy: Proxy, key: str, data: bytes) -> None:
    send(f"http://127.0.0.1:{proxy.upstream}/traces/{key}", data, headers={"Authorization": SIGNED})


@pytest.fixture
def local(tmp_path: Path, proxy: Proxy) -> Path:
    """Two guests, one of two files, in a folder and in the bucket below `run/`."""
    for name, rows in (("guest=web/0", 3000), ("guest=web/1", 2000), ("guest=db/0", 4000)):
        path = tmp_path / "run" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        begin = 30_000 if name.endswith("1") else 0
        small_trace(path, rows=rows, time=np.arange(begin, begin + rows * 10, 10, dtype=np.uint64))
        put(proxy, f"run/{name}.parquet", path.read_bytes())
    proxy.requests.clear()
    return tmp_path / "run"


def rows_of(*specs: str) -> dict[str, int]:
    found = {}
    for trace in find_traces(specs):
        found[trace.name] = int(
            sum(int(batch.gpa.sum()) + batch.rows for batch in read_batches(trace, vcpu=True))
        )
    return found


@pytest.mark.parametrize(
    "spec", ["run", "run/", "run/guest=*/*.parquet", "run/guest=*", "**/*.parquet", "r?n/**", ""]
)
def test_folders_and_globs_stand_for_the_same_guests_as_on_a_disk(local: Path, spec: str) -> None:
    assert rows_of(f"s3://traces/{spec}") == rows_of(str(local))


def test_a_replay_writes_the_same_tables(local: Path, tmp_path: Path) -> None:
    for where, spec in (("here", str(local)), ("there", "s3://traces/run/guest=*/*.parquet")):
        answer = eptreplay("replay", spec, "-p", "haswell", "--out", tmp_path / where)
        assert answer.code == 0, answer.err
    tables = sorted(path.name for path in (tmp_path / "here/tables").glob("*.parquet"))
    assert tables
    for name in tables:
        assert pq.read_table(tmp_path / "here/tables" / name).equals(
            pq.read_table(tmp_path / "there/tables" / name)
        ), name


def test_check_names_guests_and_rows(local: Path) -> None:
    answer = eptreplay("check", "s3://traces/run/guest=db/0.parquet")
    assert (answer.code, answer.out) == (0, eptreplay("check", local / "guest=db/0.parquet").out)
    assert "4,000 rows" in answer.out


def test_only_what_is_needed_is_read_and_nothing_twice(proxy: Proxy, tmp_path: Path) -> None:
    rows, group = 600_000, 150_000
    random = np.random.default_rng(1)
    gpa = random.integers(0, 1 << 22, rows, dtype=np.uint64)
    big = small_trace(
        tmp_path / "big.parquet", rows=rows, row_group_size=group, gpa=gpa, other=random.random(rows)
    )
    data = big.read_bytes()
    put(proxy, "big.parquet", data)
    proxy.requests.clear()
    (trace,) = find_traces(["s3://traces/big.parquet"])
    assert sum(batch.rows for batch in read_batches(trace, time_row_groups=(), size=False)) == rows
    metadata = pq.ParquetFile(big).metadata
    chunks = [metadata.row_group(g).column(c) for g in range(4) for c in range(metadata.num_columns)]
    needed = sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema in {"gpa", "op"})
    ranges = [request.range for request in proxy.paths("/traces/big.parquet")]
    assert all(ranges)
    asked = sum(last - first + 1 for first, last in filter(None, ranges))
    assert asked <= needed + (64 << 10) + 4096 + 4 * (32 << 10)
    assert asked < 0.6 * len(data)
    assert len(ranges) <= 2 + 4 * 2  # both ends, then at most a request for each column of a row group
    assert len(set(ranges)) == len(ranges)


def test_a_guest_toml_and_a_manifest_beside_a_trace_are_found(local: Path, proxy: Proxy) -> None:
    data = (local / "guest=db/0.parquet").read_bytes()
    put(proxy, "run/guest=db/guest.toml", b"vcpus = 7\n")
    put(proxy, "run/guest=db/SHA256SUMS", f"{hashlib.sha256(data).hexdigest()}  0.parquet\n".encode())
    for spec in ("s3://traces/run/guest=db/0.parquet", "s3://traces/run/guest=db"):
        (trace,) = find_traces([spec])
        assert (trace.vcpus, trace.verified_by) == (7, Guard.MANIFEST)
    put(proxy, "run/guest=db/SHA256SUMS", f"{'0' * 64}  0.parquet\n".encode())
    with pytest.raises(
        TraceError,
        match=r"s3://traces/run/guest=db/0.parquet: its SHA-256 is .* as SHA256SUMS beside it says",
    ):
        find_traces(["s3://traces/run/guest=db"])
    put(proxy, "run/guest=db/SHA256SUMS", b"")
    put(proxy, "run/guest=db/guest.toml", b"vcpus = [\n")
    with pytest.raises(TraceError, match=r"s3://traces/run/guest=db/guest.toml: it cannot be read as TOML"):
        find_traces(["s3://traces/run/guest=db/0.parquet", "s3://traces/run/guest=web"])


def test_results_of_runs_and_hidden_names_are_no_traces(proxy: Proxy, local: Path) -> None:
    data = (local / "guest=db/0.parquet").read_bytes()
    for key in (
        "run/old/run.json",
        "run/old/index.html",
        "run/old/tables/pages.parquet",
        "run/_tmp/x.parquet",
        "run/.y.parquet",
    ):
        put(proxy, key, data)
    assert [guest.name for guest in locate(["s3://traces/run"])] == ["db", "web"]
    with pytest.raises(UsageError, match="only results of an earlier run match"):
        locate(["s3://traces/run/old/tables/*.parquet"])


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (
            ["s3://nowhere/run/"],
            r"s3://nowhere/run: there is no such bucket while it was listed; check its name",
        ),
        (["s3://nowhere/x.parquet"], r"s3://nowhere/x.parquet: there is no such bucket; check its name"),
        (
            ["s3://traces/run/x.parquet"],
            r"s3://traces/run/x.parquet: there is no such object; check the path",
        ),
        (["s3://traces/nothing/*.parquet"], "there is no object; quote the pattern"),
        (["s3://traces/nothing"], "s3://traces/nothing: there is no such object"),
        (["s3://traces/run/guest=db/*.csv"], "none of 1 objects there is a trace"),
        (
            ["s3://traces/run", "s3://traces/run/guest=db/0.parquet"],
            "is named twice, by 's3://traces/run' and by",
        ),
        (
            ["s3://key:tz1Vm+very@traces/x.parquet"],
            r"s3://traces/x.parquet: not of the form s3://BUCKET/PATH",
        ),
        (
            ["s3://traces/x.parquet?X-Amz-Signature=tz1Vm+very"],
            "s3://traces/x.parquet: a s3:// URL takes no query",
        ),
        (["s3:///x.parquet"], "not of the form"),
    ],
)
@pytest.mark.usefixtures("local")
def test_what_cannot_be_read_is_named_with_its_cause(specs: list[str], message: str) -> None:
    with pytest.raises((UsageError, TraceError), match=message) as caught:
        find_traces(specs)
    assert "tz1Vm+very" not in str(caught.value)


def test_an_empty_object_is_called_so(proxy: Proxy) -> None:
    put(proxy, "empty.parquet", b"")
    for spec in ("s3://traces/empty.parquet", "s3://traces/*.parquet"):
        with pytest.raises(TraceError, match="this is an empty file"):
            find_traces([spec])


@pytest.fixture
def strict(local: Path, moto: int) -> Iterator[None]:
    """The server has the traces, and looks at credentials."""
    del local
    url = f"http://127.0.0.1:{moto}/moto-api/reset-auth"
    send(url, b"0", "POST", {"Content-Type": "text/plain"})
    yield
    send(url, b"1000000000", "POST", {"Content-Type": "text/plain"})


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("spec", ["s3://traces/run/guest=db/0.parquet", "s3://traces/run/"])
def test_a_wrong_credential_is_named_and_not_shown(spec: str, proxy: Proxy) -> None:
    answer = eptreplay("check", spec)
    assert answer.code == 2
    assert spec.rstrip("/") in answer.err
    assert "the store refuses the credential or the access (403 InvalidAccessKeyId)" in answer.err
    assert "set AWS_ACCESS_KEY_ID" in answer.err
    assert len(proxy.requests) == 1  # a refusal is final
    assert SECRET not in answer.err + answer.out
    assert len(answer.err.splitlines()) == 1


@pytest.mark.usefixtures("local")
def test_without_any_credential_nothing_is_sent(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    answer = eptreplay("check", "s3://traces/run/")
    assert (answer.code, proxy.requests) == (2, [])
    assert "no credential was found; set AWS_ACCESS_KEY_ID" in answer.err


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, proxy: Proxy) -> None:
    del proxy
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    answer = eptreplay("check", "s3://traces/x.parquet")
    assert answer.code == 2
    assert (
        "s3://traces/x.parquet: the server refuses the connection, 4 times in a row; check the network, and AWS_ENDPOINT_URL"
        in answer.err
    )


def test_a_connection_that_breaks_once_costs_nothing(local: Path, proxy: Proxy) -> None:
    proxy.cut = lambda path, number: ".parquet" in path and number in {1, 3}
    assert rows_of("s3://traces/run") == rows_of(str(local))


def test_a_guest_whose_connection_keeps_breaking_fails_and_the_others_go_on(
    local: Path, proxy: Proxy, tmp_path: Path
) -> None:
    del local
    big = tmp_path / "big.parquet"
    random = np.random.default_rng(1)
    small_trace(
        big, rows=200_000, row_group_size=50_000, gpa=random.integers(0, 1 << 22, 200_000, dtype=np.uint64)
    )
    put(proxy, "run/guest=cut/0.parquet", big.read_bytes())
    proxy.cut = lambda path, number: (
        "guest%3Dcut" in path and number >= 3
    )  # both ends and the first chunks come
    answer = eptreplay("replay", "s3://traces/run/", "-p", "haswell", "--out", tmp_path / "out")
    assert answer.code == 3, answer.err
    assert (
        "guest 'cut' failed: s3://traces/run/guest=cut/0.parquet: the connection broke, 4 times in a row"
        in answer.err
    )
    assert "2 guests replayed" in answer.out
    assert "Traceback" not in answer.err
    assert SECRET not in answer.err + "".join(path.read_text() for path in (tmp_path / "out").rglob("*.json"))


def test_an_object_that_is_written_again_meanwhile_is_noticed(proxy: Proxy, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    gpa = random.integers(0, 1 << 22, 50_000, dtype=np.uint64)
    data = small_trace(tmp_path / "t.parquet", rows=50_000, gpa=gpa).read_bytes()
    put(proxy, "t.parquet", data)
    (trace,) = find_traces(["s3://traces/t.parquet"])
    put(proxy, "t.parquet", data[:5000] + bytes(10) + data[5010:])
    with pytest.raises(TraceError, match="the object has changed since it was opened"):
        for _ in read_batches(trace, vcpu=True):
            pass
