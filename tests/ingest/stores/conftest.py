from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.ingest.stores.servers import SECRET, Proxy, free_port, running, send, wait_for

from eptreplay.ingest.stores import store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an S3-compatible server."""
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def proxy(moto: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """An empty bucket `traces` behind a proxy, in an environment that leads there."""
    direct = f"http://127.0.0.1:{moto}"
    send(f"{direct}/moto-api/reset", method="POST")
    send(f"{direct}/traces")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(store, "WAITS", (0.0, 0.0, 0.0))
    server = Proxy(moto)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    with running(server):
        yield server
