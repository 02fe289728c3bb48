"""URLs of traces: what they name, and how they are shown. User names, passwords and signatures are never shown."""

from __future__ import annotations

import base64
import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from eptreplay.errors import UsageError

WEB = ("http", "https")
BUCKETS = ("s3", "gs", "abfss")

_SIGNED = re.compile(r"\?[^/]*=.*", re.DOTALL)
_WITH_PASSWORD = re.compile(r"^([^/@]*?):[^/@]*@")
_AZURE = re.compile(r"([^/@:]+)@([^/@:.]+)\.dfs\.([^/@:]+)")


class Url(NamedTuple):
    """A URL in parts.

    Args:
        scheme: one of WEB or BUCKETS.
        root: scheme and server or bucket, as they may be shown.
        place: the server with its port, or the bucket; for Azure `container@account.dfs.suffix`.
        key: the rest, without a slash at its beginning, decoded where the scheme encodes it.
        query: what follows the path of a web address: it may be a signature.
        login: user and password, as a Basic authorization has them (RFC 7617); empty: none.
    """

    scheme: str
    root: str
    place: str
    key: str
    query: str = ""
    login: str = ""


def is_url(text: str) -> bool:
    """Return whether a user's word is a URL."""
    return "://" in text


def shown(text: str) -> str:
    """Return a user's URL without user, password, query and fragment; other text as it is."""
    if not is_url(text):
        return text
    scheme, _, rest = text.partition("://")
    if scheme.lower() in WEB:
        place, slash, path = rest.partition("/")
        if re.search(r"[?#]", place):  # no path, or a password with a slash in it
            place, slash, path = re.split(r"[?#]", place, maxsplit=1)[0], "", ""
        if "@" in path and ":" in place and not re.search(r":\d*$", place):
            place, slash, path = "", "", ""  # a password that holds a slash: nothing of it may be shown
        return f"{scheme}://{place.rpartition('@')[2]}{slash}{re.split(r'[?#]', path, maxsplit=1)[0]}"
    rest = _SIGNED.sub("", rest)
    if scheme.lower() == "s3":
        rest = re.sub(r"^[^/]*@", "", rest)
    rest = _WITH_PASSWORD.sub(r"\1@", rest)
    return f"{scheme}://{rest}"


def parse(text: str) -> Url:
    """Take a URL apart.

    Raises:
        UsageError: it is none that traces can be read from.
    """
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    if scheme in WEB:
        return _web(text, scheme)
    if scheme not in BUCKETS:
        known = ", ".join(f"{name}://" for name in (*BUCKETS, *WEB))
        raise UsageError(
            f"{shown(text)}: traces are not read from {scheme}://, but from {known} and local paths"
        )
    if _SIGNED.search(rest):
        raise UsageError(
            f"{shown(text)}: a {scheme}:// URL takes no query; a signed URL begins with https://, "
            "and credentials come from the environment (docs/stores.md)"
        )
    place, _, key = rest.partition("/")
    if scheme == "abfss":
        if not _AZURE.fullmatch(place):
            raise UsageError(
                f"{shown(text)}: not of the form abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"
            )
    elif not place or "@" in place or ":" in place:
        raise UsageError(
            f"{shown(text)}: not of the form {scheme}://BUCKET/PATH; credentials come from the environment (docs/stores.md)"
        )
    return Url(scheme, f"{scheme}://{place}", place, key.lstrip("/"))


def azure_parts(place: str) -> tuple[str, str, str]:
    """Return container, account and the end of the host's name of an Azure place."""
    match = _AZURE.fullmatch(place)
    if match is None:
        raise ValueError(place)
    return match[1], match[2], match[3]


def _web(text: str, scheme: str) -> Url:
    """Take a web address apart.

    Raises:
        UsageError: it has no host, or a port that is none.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{shown(text)}: this is no web address") from error
    if not host or not parts.path.strip("/"):
        raise UsageError(
            f"{shown(text)}: a web address names one file, as in https://HOST/PATH/trace.parquet"
        )
    place = f"[{host}]" if ":" in host else host
    place = f"{place}:{port}" if port is not None else place
    login = ""
    if parts.username is not None:
        both = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = base64.b64encode(both.encode()).decode("ascii")
    return Url(scheme, f"{scheme}://{place}", place, unquote(parts.path.lstrip("/")), parts.query, login)
