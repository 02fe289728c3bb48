"""One bucket or web server: bytes of its objects, and lists of them. What fails by chance is tried again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import obstore

from eptreplay.errors import TraceError
from eptreplay.ingest.stores.faults import explain
from eptreplay.ingest.stores.remote_file import HEAD_BYTES, TAIL_BYTES, Ends, OpenObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from obstore import ObjectMeta

    from eptreplay.ingest.stores.connect import Connection
    from eptreplay.ingest.stores.faults import Fault
    from eptreplay.ingest.trace.remote_path import RemotePath

T = TypeVar("T")

WAITS = (0.2, 1.0, 3.0)
"""Seconds before each further attempt: four in all."""

TEXT_BYTES = 16 << 20
"""The most bytes of a `guest.toml` or `SHA256SUMS`."""


class Version(NamedTuple):
    """What tells an object from what may be under its name later.

    Args:
        size: in bytes.
        tag: its ETag; empty: it has none, or a weak one.
        modified: when it was written; empty: only the size is known, from a list, whose tags may look different.
    """

    size: int
    tag: str = ""
    modified: str = ""

    def is_other(self, other: Version) -> bool:
        """Return whether another answer came from another object: their tags differ or, where one has none, their times do."""
        if self.size != other.size or not self.modified:
            return self.size != other.size
        return (
            self.tag != other.tag
            if self.tag and other.tag
            else not self.tag and self.modified != other.modified
        )


class RequestError(Exception):
    """A request failed for good.

    Args:
        fault: why.
        attempts: how often it was made.
    """

    def __init__(self, fault: Fault, attempts: int) -> None:
        self.fault = fault
        self.found = fault.found if attempts == 1 else f"{fault.found}, {attempts} times in a row"
        super().__init__(self.found)


class ObjectStore:
    """Reads the objects of one bucket or web server.

    What is read of the beginning and the end of an object is kept, since a trace is opened several times.
    """

    def __init__(self, connection: Connection, scheme: str) -> None:
        self._connection = connection
        self._scheme = scheme
        self._versions: dict[str, Version] = {}
        self._ends: dict[str, Ends] = {}
        self._texts: dict[str, str | None] = {}
        self._listed: set[str] = set()

    def open(self, path: RemotePath) -> OpenObject:
        """Open an object; see `remote_path.Store`."""
        if path.key not in self._ends:
            self._ends[path.key] = self._read_ends(path)
        return OpenObject(lambda begin, end: self.read(path, begin, end), self._ends[path.key])

    def read(self, path: RemotePath, begin: int, end: int) -> bytes:
        """Return bytes of an object; fewer if it ends before.

        Raises:
            TraceError: the store refuses or does not answer, or the object is not what it was.
        """
        try:
            version, data = self._ask(lambda: self._get(path.key, begin, end))
        except RequestError as error:
            raise _bad(path, error) from None  # the library's text holds signatures
        known = self._versions.get(path.key, Version(version.size))
        if not known.modified:
            self._versions[path.key] = version
        if known.is_other(version):
            raise TraceError(
                str(path),
                "the object has changed since it was opened",
                advice="let nothing write to a trace while it is replayed",
            )
        return data

    def text(self, path: RemotePath) -> str:
        """Return a small object as text; see `remote_path.Store`.

        An object that the store refuses counts as missing: a store that does not let its objects be listed refuses those that
        are not there, too.
        """
        if path.key not in self._texts:
            self._texts[path.key] = self._read_text(path)
        text = self._texts[path.key]
        if text is None:
            raise FileNotFoundError(str(path))
        return text

    def exists(self, key: str) -> bool:
        """Return whether there is an object of this key; one that the store refuses counts as missing.

        Raises:
            RequestError: the store does not answer.
        """
        try:
            self._ask(lambda: obstore.head(self._connection, key))
        except RequestError as error:
            if error.fault.missing or error.fault.denied:
                return False
            raise
        return True

    def keys(self, folder: str) -> list[str]:
        """Return the keys of all objects in a folder and below, in order.

        Args:
            folder: without a slash at its end; empty: the whole bucket.

        Raises:
            RequestError: the store refuses, or does not answer.
        """
        found = self._ask(lambda: self._list(folder))
        for meta in found:
            self._versions.setdefault(meta["path"], Version(meta["size"]))
        self._listed.add(folder)
        return sorted(meta["path"] for meta in found)

    def _read_ends(self, path: RemotePath) -> Ends:
        if path.key not in self._versions:
            # The first request tells the size, too.
            try:
                head = self.read(path, 0, HEAD_BYTES)
            except _EmptyObjectError:
                return Ends(0, b"", b"")
        elif self._versions[path.key].size:
            head = self.read(path, 0, min(HEAD_BYTES, self._versions[path.key].size))
        else:
            return Ends(0, b"", b"")
        size = self._versions[path.key].size
        tail = head if size <= len(head) else self.read(path, max(0, size - TAIL_BYTES), size)
        return Ends(size, head, tail)

    def _read_text(self, path: RemotePath) -> str | None:
        if path.key not in self._versions and any(_is_below(path.key, folder) for folder in self._listed):
            return None
        try:
            _, data = self._ask(lambda: self._get(path.key, 0, TEXT_BYTES))
        except RequestError as error:
            if error.fault.missing or error.fault.denied:
                return None
            if error.fault.empty:
                return ""
            raise _bad(path, error) from None  # as in read
        return data.decode("utf-8")

    def _get(self, key: str, begin: int, end: int) -> tuple[Version, bytes]:
        answer = obstore.get(self._connection, key, options={"range": (begin, end)})
        version = _version(answer.meta)
        data = answer.bytes().to_bytes()
        if len(data) != min(end, version.size) - begin:
            raise ConnectionError("the answer is too short")
        return version, data

    def _list(self, folder: str) -> list[ObjectMeta]:
        chunks = obstore.list(self._connection, folder or None)
        return [meta for chunk in chunks for meta in chunk]

    def _ask(self, request: Callable[[], T]) -> T:
        """Make a request, and again if that may help.

        Raises:
            RequestError: it failed, or failed as often as there are attempts.
        """
        for attempt, wait in enumerate((*WAITS, None), start=1):
            try:
                return request()
            except Exception as error:  # noqa: BLE001 - obstore raises OSError and classes of its own, with one root in neither
                fault = explain(error, self._scheme)
            if wait is None or not fault.again:
                raise RequestError(fault, attempt)
            time.sleep(wait)
        raise AssertionError  # the last attempt has no wait


class _EmptyObjectError(TraceError):
    """An object has no bytes, which a request for its first ones cannot say otherwise."""


def _bad(path: RemotePath, error: RequestError) -> TraceError:
    kind = _EmptyObjectError if error.fault.empty else TraceError
    return kind(str(path), error.found, advice=error.fault.advice)


def _version(meta: ObjectMeta) -> Version:
    tag = meta["e_tag"] or ""
    return Version(meta["size"], "" if tag.startswith("W/") else tag.strip('"'), str(meta["last_modified"]))


def _is_below(key: str, folder: str) -> bool:
    return not folder or key.startswith(f"{folder}/")
