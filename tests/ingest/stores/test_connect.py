"""What is taken from the environment, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from eptreplay.errors import UsageError
from eptreplay.ingest.stores.aws_profile import profile_settings
from eptreplay.ingest.stores.connect import connect
from eptreplay.ingest.stores.faults import explain
from eptreplay.ingest.stores.url import parse

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """A home with AWS profiles."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = ONE\naws_secret_access_key = pa55%word\n"
        "[work]\naws_access_key_id = TWO\naws_secret_access_key = x\naws_session_token = t\n[sso]\nsso_start_url = u\n"
    )
    (tmp_path / ".aws/config").write_text(
        "[default]\nregion = eu-west-1\n[profile work]\nregion = us-west-2\nendpoint_url = http://h\n"
    )
    return {"HOME": str(tmp_path)}


def test_the_profile_in_use_gives_key_region_and_endpoint(home: dict[str, str]) -> None:
    assert profile_settings(home) == {
        "aws_access_key_id": "ONE",
        "aws_secret_access_key": "pa55%word",
        "region": "eu-west-1",
    }
    work = profile_settings({**home, "AWS_PROFILE": "work"})
    assert (work["aws_access_key_id"], work["aws_session_token"]) == ("TWO", "t")
    assert (work["region"], work["endpoint_url"]) == ("us-west-2", "http://h")


def test_the_environment_goes_before_a_profile(home: dict[str, str]) -> None:
    assert profile_settings({**home, "AWS_ACCESS_KEY_ID": "x"}) == {}
    assert profile_settings({"HOME": "/nowhere"}) == {}


@pytest.mark.parametrize("name", ["nobody", "sso"])
def test_a_profile_without_a_key_is_refused(home: dict[str, str], name: str) -> None:
    with pytest.raises(UsageError, match=f"profile '{name}' has no key in"):
        profile_settings({**home, "AWS_PROFILE": name})


def test_a_damaged_file_of_profiles_is_named_and_not_quoted(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".aws/credentials").write_text("aws_secret_access_key = pa55word\n")
    with pytest.raises(UsageError, match="it cannot be read as a file of AWS profiles") as caught:
        profile_settings(home)
    assert "pa55word" not in str(caught.value)


def test_settings_that_make_no_sense_are_refused_without_being_quoted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "pa55word-no-base64!")
    url = parse("abfss://box@account.dfs.core.windows.net/x")
    with pytest.raises(
        UsageError, match="the settings of this store in the environment make no sense"
    ) as caught:
        connect(url, {})
    assert "pa55word" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found", "again"),
    [
        ("Server returned non-2xx status code: 503: <Code>SlowDown</Code>", "an error (503 SlowDown)", True),
        ("Server returned non-2xx status code: 429 Too Many", "an error (429)", True),
        ("Server returned non-2xx status code: 400: <Code>Odd</Code>", "an error (400 Odd)", False),
        ("status code: 301: <Code>PermanentRedirect</Code>", "in another region", False),
        ("status code: 404: <Code>NoSuchBucket</Code>", "no such bucket", False),
        ("GET http://169.254.169.254/latest/api/token - status code: 403", "no credential was found", False),
        ("error sending request: dns error: failed to lookup", "name of the server is not known", True),
        ("kind: Connect, ConnectionRefused", "refuses the connection", True),
        ("kind: Timeout, TimedOut", "did not answer in time", True),
        ("invalid peer certificate: UnknownIssuer", "certificate is not trusted", False),
        ("something https://host/x?X-Amz-Signature=pa55word else", "the connection broke", True),
    ],
)
def test_a_cause_is_said_in_words_of_our_own(text: str, found: str, again: bool) -> None:
    fault = explain(OSError(text), "s3")
    assert found in fault.found
    assert fault.again == again
    assert fault.advice
    assert "pa55word" not in fault.found + fault.advice
