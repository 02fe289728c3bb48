"""What goes wrong between here and a store, in words: the cause, what to do, and whether trying again may help.

The texts of the library hold whole URLs, with signatures, and are never shown: what is said comes from here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "InvalidBucketName"}
_OTHER_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_METADATA_SERVERS = ("169.254.169.254", "169.254.170.2", "metadata.google.internal", "metadata/identity")

CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, if the key is a temporary one) or AWS_PROFILE, "
    "or AWS_SKIP_SIGNATURE=true for a public bucket",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to a key file, or GOOGLE_SKIP_SIGNATURE=true for a public bucket",
    "abfss": "set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID",
    "http": "give a URL that is still signed, or USER:PASSWORD@ before the host",
    "https": "give a URL that is still signed, or USER:PASSWORD@ before the host",
}
"""What to do about a credential, by scheme."""

_SERVER = {
    "s3": "check the network, and AWS_ENDPOINT_URL if the store is not Amazon's",
    "gs": "check the network",
    "abfss": "check the network and the name of the account",
    "http": "check the address and the network",
    "https": "check the address and the network",
}


class Fault(NamedTuple):
    """Why a request failed.

    Args:
        found: the cause.
        advice: what to do next.
        again: whether the same request may succeed if it is made again.
        missing: whether there is no such object.
        denied: whether the store refuses to give it.
        empty: whether the object has no bytes where some were asked for.
    """

    found: str
    advice: str
    again: bool = False
    missing: bool = False
    denied: bool = False
    empty: bool = False


def explain(error: Exception, scheme: str) -> Fault:
    """Say why a request failed.

    Args:
        error: what obstore raised.
        scheme: of the URL.
    """
    text = str(error)
    status = _STATUS.search(text)
    code = _CODE.search(text)
    named = code[1] if code else ""
    if any(server in text for server in _METADATA_SERVERS):
        return Fault("no credential was found", CREDENTIALS[scheme], denied=True)
    if named in _NO_BUCKET:
        what = "container" if scheme == "abfss" else "bucket"
        other = ", and AWS_ENDPOINT_URL if the store is not Amazon's" if scheme == "s3" else ""
        return Fault(f"there is no such {what}", f"check its name{other}")
    if status:
        return _by_status(int(status[1]), named, scheme)
    return _without_answer(error, text, scheme)


_NO_FILE = Fault("there is no such file", "check the path", missing=True)
_NO_OBJECT = Fault(
    "there is no such object",
    "check the path; that of a folder whose name looks like a file's ends in /",
    missing=True,
)


def _by_status(status: int, code: str, scheme: str) -> Fault:
    """Say what an answer of a store means."""
    said = f"{status} {code}" if code else str(status)
    if status in (301, 307, 308) or code in _OTHER_REGION:
        return Fault(f"the bucket is in another region ({said})", "set AWS_REGION to the bucket's region")
    if status == 404:
        return _NO_FILE if scheme in ("http", "https") else _NO_OBJECT
    if status in (401, 403):
        return Fault(
            f"the store refuses the credential or the access ({said})", CREDENTIALS[scheme], denied=True
        )
    if status == 416:
        return Fault("it has no bytes where some were expected", "upload it again", empty=True)
    again = status >= 500 or status in (408, 429)
    return Fault(
        f"the store answers with an error ({said})",
        "try again later" if again else _SERVER[scheme],
        again=again,
    )


_BY_CLASS = {
    "FileNotFoundError": _NO_OBJECT,
    "NotSupportedError": Fault(
        "the server does not give parts of a file (HTTP range requests)",
        "download it, then name the local file",
    ),
    "InvalidPathError": Fault("this is not the path of an object", "check the path"),
}
"""What classes of the library's errors mean, by their names."""

_NOT_TRUSTED = Fault(
    "the server's certificate is not trusted", "check the address, and the certificates of this machine"
)

_BY_WORD = (
    ("dns error", "the name of the server is not known"),
    ("failed to lookup", "the name of the server is not known"),
    ("ConnectionRefused", "the server refuses the connection"),
    ("TimedOut", "the server did not answer in time"),
    ("Timeout", "the server did not answer in time"),
    ("kind: Connect,", "the server cannot be reached"),
    ("", "the connection broke"),
)
"""What words in the library's texts mean, the first that is found; all of this may pass."""


def _without_answer(error: Exception, text: str, scheme: str) -> Fault:
    """Say what it means that a store did not answer, or not to the end."""
    known = _BY_CLASS.get(type(error).__name__)
    if known is not None:
        return known
    if "certificate" in text:
        return _NOT_TRUSTED
    found = next(meaning for word, meaning in _BY_WORD if word in text)
    return Fault(found, _SERVER[scheme], again=True)
