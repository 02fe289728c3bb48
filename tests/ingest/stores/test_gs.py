"""Traces in Google's store, as far as its XML interface is that of S3: the server is moto's, and nothing is signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.command_line import eptreplay, small_trace
from tests.ingest.stores.servers import Proxy, send

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("spec", ["run/guest=*/*.parquet", "run", "run/guest=web/0.parquet"])
def test_traces_are_found_and_read(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    trace = small_trace(tmp_path / "0.parquet", rows=40_000)
    direct = f"http://127.0.0.1:{proxy.upstream}/traces"
    public = {"x-amz-acl": "public-read"}
    send(direct + "?acl", headers={"x-amz-acl": "public-read"})
    send(f"{direct}/run/guest=web/0.parquet", trace.read_bytes(), headers=public)
    send(f"{direct}/run/guest=web/guest.toml", b"vcpus = 3\n", headers=public)
    proxy.requests.clear()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url.removeprefix("http://"))
    answer = eptreplay("check", f"gs://traces/{spec}")
    assert (answer.code, answer.err) == (0, "")
    here = eptreplay("check", trace).out
    assert answer.out == here.replace("0:", "web:", 1).replace("2 vCPUs", "3 vCPUs")
    assert proxy.requests
