from __future__ import annotations

import glob
from typing import TYPE_CHECKING

import pytest

from eptreplay.errors import UsageError
from eptreplay.ingest.sources.remote import Stores, expand_url
from eptreplay.ingest.stores.url import parse, shown

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("s3://bucket/guest=web/*.parquet", "s3://bucket/guest=web/*.parquet"),
        ("s3://bucket/run?/guest=web/0.parquet", "s3://bucket/run?/guest=web/0.parquet"),
        ("s3://key:secret@bucket/x", "s3://bucket/x"),
        ("s3://bucket/x?X-Amz-Signature=secret", "s3://bucket/x"),
        ("abfss://box@account.dfs.core.windows.net/x", "abfss://box@account.dfs.core.windows.net/x"),
        (
            "abfss://box:secret@account.dfs.core.windows.net/x?sig=secret",
            "abfss://box@account.dfs.core.windows.net/x",
        ),
        ("https://user:secret@host:8443/a/b?sig=secret#secret", "https://host:8443/a/b"),
        ("https://secret@host/a", "https://host/a"),
        ("https://user:se/cret@host/a", "https://"),
        ("https://host?sig=secret", "https://host"),
        ("HTTPS://u:secret@host/a?b=secret", "HTTPS://host/a"),
        ("ftp://u:secret@host/a?b=secret", "ftp://u@host/a"),
        ("folder/x?y=1.parquet", "folder/x?y=1.parquet"),
    ],
)
def test_a_url_is_shown_without_secrets(given: str, seen: str) -> None:
    assert shown(given) == seen
    if "://" in given:
        assert "secret" not in seen
        assert "cret" not in seen


@pytest.mark.parametrize(
    ("text", "root", "key"),
    [
        ("s3://bucket/a%20b/c d#1.parquet", "s3://bucket", "a%20b/c d#1.parquet"),
        ("gs://bucket", "gs://bucket", ""),
        ("https://me:x@host/a%20b/c%2B.parquet?q=1", "https://host", "a b/c+.parquet"),
        ("http://[::1]:80/x", "http://[::1]:80", "x"),
        ("abfss://box@account.dfs.core.windows.net/a/b", "abfss://box@account.dfs.core.windows.net", "a/b"),
    ],
)
def test_a_url_is_taken_apart(text: str, root: str, key: str) -> None:
    url = parse(text)
    assert (url.root, url.key) == (root, key)


@pytest.mark.parametrize(
    "text",
    [
        "abfss://box/x",
        "abfss://box@account/x",
        "gs:///x",
        "http:///x",
        "https://host:port/x",
        "file:///x",
        "s3://",
    ],
)
def test_what_is_no_address_of_a_trace_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


class Listed:
    """A store that only has a list."""

    def __init__(self, keys: list[str]) -> None:
        self._keys = keys

    def keys(self, folder: str) -> list[str]:
        return [key for key in self._keys if not folder or key.startswith(f"{folder}/")]

    def exists(self, key: str) -> bool:
        return key in self._keys


@pytest.mark.parametrize(
    "pattern",
    [
        "*.parquet",
        "*/*.parquet",
        "**/*.parquet",
        "a/**",
        "a/**/x.parquet",
        "a/b?/*.parquet",
        "a/b[0-1]/x.parquet",
        "a/b[!0]/*",
        "[a^]/b1/x.parquet",
        "a/.h/*.parquet",
        "*/b1/*",
        "a/b(1)/x.parquet",
        "a/b+/x.parquet",
    ],
)
def test_globs_mean_what_they_mean_on_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    names = ["x", "a/x", "a/b0/x", "a/b1/x", "a/b1/c/x", "a/b12/x", "a/.h/x", "a/b(1)/x", "a/b+/x", "^/b1/x"]
    keys = sorted(f"{name}.parquet" for name in names)
    for key in keys:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).touch()
    monkeypatch.chdir(tmp_path)
    matched = glob.glob(pattern, recursive=True)  # noqa: PTH207 - what it is compared with
    wanted = {path for path in matched if path.endswith(".parquet")}

    def listed(self: Stores, url: object) -> Listed:
        del self, url
        return Listed(keys)

    monkeypatch.setattr(Stores, "of", listed)
    paths = expand_url(f"s3://bucket/{pattern}", Stores(), lambda name: name.endswith(".parquet"), ())
    found = {path.key for path in paths}
    assert wanted <= found
    assert all(any(key.startswith(f"{path}/") for path in matched) for key in found - wanted)
