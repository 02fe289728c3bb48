"""Traces in Azure's store, against azurite (npm): `azurite-blob` on the PATH, or named by AZURITE_BLOB."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import obstore
import pytest
from obstore.store import AzureStore
from tests.command_line import eptreplay, small_trace
from tests.ingest.stores.servers import free_port, send, wait_for

from eptreplay.ingest.stores import store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key of the one account that azurite has; Microsoft documents it."""

AZURITE = os.environ.get("AZURITE_BLOB") or shutil.which("azurite-blob")
pytestmark = pytest.mark.skipif(
    AZURITE is None, reason="abfss:// is not tested: no azurite-blob on the PATH ('npm install -g azurite')"
)
BUCKET = f"abfss://traces@{ACCOUNT}.dfs.core.windows.net"


def make_container(url: str) -> None:
    """Make the container, with a request signed as Microsoft's "Authorize with Shared Key" says."""
    headers = {
        "x-ms-date": email.utils.formatdate(usegmt=True),
        "x-ms-version": "2021-08-06",
        "Content-Type": "text/plain",
    }
    signed = "\n".join(f"{name}:{headers[name]}" for name in ("x-ms-date", "x-ms-version"))
    text = f"PUT\n\n\n\n\ntext/plain\n\n\n\n\n\n\n{signed}\n/{ACCOUNT}/{ACCOUNT}/traces\nrestype:container"
    mac = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}"
    send(f"{url}/traces?restype=container", headers=headers)


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an account with a container `traces`."""
    port = free_port()
    folder = tmp_path_factory.mktemp("azurite")
    command = [
        str(AZURITE),
        "--inMemoryPersistence",
        "--silent",
        "--disableTelemetry",
        "--skipApiVersionCheck",
    ]
    server = subprocess.Popen([*command, "--blobHost", "127.0.0.1", "--blobPort", str(port)], cwd=folder)
    try:
        wait_for(port)
        url = f"http://127.0.0.1:{port}/{ACCOUNT}"
        make_container(url)
        yield url
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def trace(azurite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trace that is also in the container."""
    monkeypatch.setattr(store, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", azurite)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    path = small_trace(tmp_path / "0.parquet", rows=40_000)
    to = AzureStore(
        "traces", account_name=ACCOUNT, account_key=KEY, endpoint=azurite, client_options={"allow_http": True}
    )
    obstore.put(to, "run/guest=web/0.parquet", path.read_bytes())
    obstore.put(to, "run/guest=web/guest.toml", b"vcpus = 3\n")
    return path


@pytest.mark.parametrize("spec", ["run/guest=*/*.parquet", "run", "run/guest=web/0.parquet"])
def test_traces_are_found_and_read(trace: Path, spec: str) -> None:
    answer = eptreplay("check", f"{BUCKET}/{spec}")
    assert (answer.code, answer.err) == (0, "")
    here = eptreplay("check", trace).out
    assert answer.out == here.replace("0:", "web:", 1).replace("2 vCPUs", "3 vCPUs")


@pytest.mark.usefixtures("trace")
def test_what_goes_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = eptreplay("check", f"{BUCKET}/run/nothing.parquet")
    assert (answer.code, "there is no such object; check the path" in answer.err) == (2, True)
    answer = eptreplay("check", f"abfss://nowhere@{ACCOUNT}.dfs.core.windows.net/run/")
    assert (answer.code, "there is no such container while it was listed; check its name" in answer.err) == (
        2,
        True,
    )
    wrong = base64.b64encode(b"tz1Vm+very secret").decode()
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", wrong)
    answer = eptreplay("check", f"{BUCKET}/run/guest=web/0.parquet")
    assert answer.code == 2
    assert "the store refuses the credential or the access (403 AuthorizationFailure)" in answer.err
    assert wrong not in answer.err
