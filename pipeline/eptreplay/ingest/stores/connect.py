"""A connection to a store, with the credential and the server that the environment names.

obstore (the Rust crate object_store) reads AWS_*, GOOGLE_* and AZURE_* itself; docs/stores.md says why it was chosen. It does
not try again here: `store.py` counts the attempts.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from eptreplay.errors import UsageError
from eptreplay.ingest.stores.aws_profile import ELSEWHERE, profile_settings
from eptreplay.ingest.stores.faults import CREDENTIALS
from eptreplay.ingest.stores.url import azure_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

    from eptreplay.ingest.stores.url import Url

    Connection = AzureStore | GCSStore | HTTPStore | S3Store

CONNECT = timedelta(seconds=10)
STALLED = timedelta(seconds=30)
"""How long a server may take to send the next bytes."""
REQUEST = timedelta(seconds=120)
"""How long one request may take: at most 8 MB."""

_NO_RETRIES: Any = {"max_retries": 0}


def connect(url: Url, environment: Mapping[str, str]) -> Connection:
    """Return a connection to the bucket or server of a URL; nothing is sent yet.

    Raises:
        UsageError: the environment says what makes no sense.
    """
    make = {"s3": _s3, "gs": _gs, "abfss": _azure}.get(url.scheme, _web)
    try:
        return make(url, environment)
    except UsageError:
        raise
    except Exception:  # noqa: BLE001 - obstore raises ValueError and classes of its own
        raise UsageError(
            f"{url.root}: the settings of this store in the environment make no sense; {CREDENTIALS[url.scheme]}"
        ) from None  # the library's text may quote a credential


def _client(server: str) -> Any:  # noqa: ANN401 - obstore's dictionaries of options have no types at run time
    return {
        "connect_timeout": CONNECT,
        "read_timeout": STALLED,
        "timeout": REQUEST,
        "allow_http": server.startswith("http://"),
    }


def _s3(url: Url, environment: Mapping[str, str]) -> Connection:
    from obstore.store import S3Store  # noqa: PLC0415 - loaded only where a URL is named

    profile = profile_settings(environment)
    endpoint = (
        environment.get("AWS_ENDPOINT_URL_S3")
        or environment.get("AWS_ENDPOINT_URL")
        or profile.get("endpoint_url", "")
    )
    given: dict[str, Any] = {
        name.removeprefix("aws_"): profile[name]
        for name in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        if name in profile
    }
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or profile.get("region")
    if region:
        given["region"] = region
    if endpoint:
        given["endpoint"] = endpoint
    named = any(environment.get(name) for name in ELSEWHERE)
    alone = environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    if alone and not (named or "access_key_id" in given):
        raise UsageError(f"{url.root}: no credential was found; {CREDENTIALS['s3']}")
    return S3Store(url.place, client_options=_client(endpoint), retry_config=_NO_RETRIES, **given)


def _gs(url: Url, environment: Mapping[str, str]) -> Connection:
    from obstore.store import GCSStore  # noqa: PLC0415 - as for S3

    emulator = environment.get("STORAGE_EMULATOR_HOST", "")
    given: dict[str, Any] = {}
    if emulator:
        emulator = emulator if "://" in emulator else f"http://{emulator}"
        given = {"base_url": emulator, "skip_signature": True}
    return GCSStore(url.place, client_options=_client(emulator), retry_config=_NO_RETRIES, **given)


def _azure(url: Url, environment: Mapping[str, str]) -> Connection:
    from obstore.store import AzureStore  # noqa: PLC0415 - as for S3

    container, account, suffix = azure_parts(url.place)
    endpoint = environment.get("AZURE_STORAGE_ENDPOINT", "")
    if not endpoint and suffix != "core.windows.net":
        endpoint = f"https://{account}.blob.{suffix}"
    given: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
    return AzureStore(
        container, account_name=account, client_options=_client(endpoint), retry_config=_NO_RETRIES, **given
    )


def _web(url: Url, environment: Mapping[str, str]) -> Connection:  # noqa: ARG001 - as for the others
    from obstore.store import HTTPStore  # noqa: PLC0415 - as for S3

    client = _client(url.root)
    if url.login:
        client["default_headers"] = {"Authorization": f"Basic {url.login}"}
    base = f"{url.root}?{url.query}" if url.query else url.root
    return HTTPStore.from_url(base, client_options=client, retry_config=_NO_RETRIES)
