"""Traces on a web server: ranges, signatures and passwords, and what a server cannot do."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from tests.command_line import eptreplay, small_trace
from tests.ingest.stores.servers import QUERY, Web, running

from eptreplay.errors import TraceError, UsageError
from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.ingest.stores import store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server with the trace of a guest in a folder of its own, and another one."""
    monkeypatch.setattr(store, "WAITS", (0.0, 0.0, 0.0))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    data = small_trace(tmp_path / "t.parquet").read_bytes()
    server = Web({"/d/guest=web/0.parquet": data, "/d/my%20trace.parquet": data})
    with running(server):
        yield server


def test_a_file_is_read_by_its_address(web: Web, tmp_path: Path) -> None:
    answer = eptreplay("check", f"{web.url}/d/guest=web/0.parquet", f"{web.url}/d/my%20trace.parquet")
    assert (answer.code, answer.err) == (0, "")
    here = eptreplay("check", tmp_path / "t.parquet").out
    assert answer.out == here.replace("t:", "web:", 1) + here.replace("t:", "my trace:", 1)


def test_what_lies_beside_a_file_is_found(web: Web) -> None:
    web.files["/d/guest=web/guest.toml"] = b"vcpus = 5\n"
    (trace,) = find_traces([f"{web.url}/d/guest=web/0.parquet"])
    assert trace.vcpus == 5


def test_a_replay_of_a_signed_address_never_shows_the_signature(web: Web, tmp_path: Path) -> None:
    web.query = QUERY
    out = tmp_path / "out"
    answer = eptreplay("replay", f"{web.url}/d/guest=web/0.parquet?{QUERY}", "-p", "haswell", "--out", out)
    assert answer.code == 0, answer.err
    written = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"0badc0ffee" not in written
    web.query = "another=one"
    answer = eptreplay("check", f"{web.url}/d/guest=web/0.parquet?{QUERY}")
    assert answer.code == 2
    assert "0badc0ffee" not in answer.err
    assert (
        f"{web.url}/d/guest=web/0.parquet: the store refuses the credential or the access (403); give a URL that is still signed"
        in answer.err
    )


def test_a_password_is_sent_and_never_shown(web: Web) -> None:
    web.login = "Basic " + base64.b64encode(b"me:tz1Vm+very").decode()
    host = web.url.removeprefix("http://")
    assert eptreplay("check", f"http://me:tz1Vm+very@{host}/d/guest=web/0.parquet").code == 0
    answer = eptreplay("check", f"http://me:tz1Vm+wrong@{host}/d/guest=web/0.parquet")
    assert answer.code == 2
    assert f"{web.url}/d/guest=web/0.parquet: the store refuses the credential" in answer.err
    assert "tz1Vm" not in answer.err


def test_a_server_without_ranges_is_told_from_a_broken_one(web: Web) -> None:
    web.ranges = False
    with pytest.raises(
        TraceError, match=r"does not give parts of a file \(HTTP range requests\); download it"
    ):
        find_traces([f"{web.url}/d/guest=web/0.parquet"])


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("d/nothing.parquet", TraceError, "d/nothing.parquet: there is no such file; check the path"),
        ("d/", UsageError, "a web server lists no folders; name the files"),
        ("d/*.parquet", UsageError, "a web server has no globs"),
        ("", UsageError, "a web address names one file"),
        ("?token=tz1Vm", UsageError, "a web address names one file"),
    ],
)
def test_what_a_web_server_cannot_give_is_named(
    web: Web, path: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        find_traces([f"{web.url}/{path}"])
    assert "tz1Vm" not in str(caught.value)


def test_an_address_that_is_named_twice_is_refused(web: Web) -> None:
    url = f"{web.url}/d/guest=web/0.parquet"
    with pytest.raises(UsageError, match="is named twice"):
        find_traces([url, url])
