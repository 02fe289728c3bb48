"""From the URLs that a user names (objects, folders, globs) to the objects they stand for."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from eptreplay.errors import UsageError
from eptreplay.ingest.stores.url import WEB, Url, parse, shown
from eptreplay.ingest.trace.remote_path import RemotePath

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eptreplay.ingest.stores.store import ObjectStore

_GLOB = re.compile(r"[*?[]")


class Stores:
    """The stores that the URLs of a command line lead to, each connected once."""

    def __init__(self) -> None:
        self._stores: dict[tuple[str, str, str, str], ObjectStore] = {}

    def of(self, url: Url) -> ObjectStore:
        """Return the store of a URL.

        Raises:
            UsageError: the environment says what makes no sense.
        """
        from eptreplay.ingest.stores.connect import connect  # noqa: PLC0415 - obstore is loaded only where a URL is named
        from eptreplay.ingest.stores.store import ObjectStore  # noqa: PLC0415 - likewise

        place = (url.scheme, url.place, url.query, url.login)
        if place not in self._stores:
            self._stores[place] = ObjectStore(connect(url, os.environ), url.scheme)
        return self._stores[place]


def expand_url(
    spec: str, stores: Stores, is_trace: Callable[[str], bool], runs: Sequence[set[str]]
) -> list[RemotePath]:
    """Return the objects that a URL stands for, in the order of their names.

    A web address is one file. In a bucket, a name as a trace has it is an object, and everything else a folder or a glob, for
    both of which the bucket is listed.

    Args:
        spec: what the user named.
        stores: the stores of this command line.
        is_trace: whether a name is that of a trace.
        runs: names of files that, together, only a folder of results has.

    Raises:
        UsageError: it is no URL that traces are read from, leads to nothing, or the store does not list what is there.
    """
    url = parse(spec)
    store = stores.of(url)
    if url.scheme in WEB:
        if url.key.endswith("/"):
            raise UsageError(f"{shown(spec)}: a web server lists no folders; name the files")
        if "*" in url.key:
            raise UsageError(
                f"{shown(spec)}: a web server has no globs; name the files, each with its address"
            )
        return [RemotePath(url.root, url.key, store)]
    if not _GLOB.search(url.key) and is_trace(url.key):
        return [RemotePath(url.root, url.key, store)]
    return [RemotePath(url.root, key, store) for key in _listed(spec, url, store, is_trace, runs)]


def _listed(
    spec: str, url: Url, store: ObjectStore, is_trace: Callable[[str], bool], runs: Sequence[set[str]]
) -> list[str]:
    """Return the keys of a folder or glob."""
    glob = _GLOB.search(url.key)
    folder = url.key[: glob.start()].rpartition("/")[0] if glob else url.key.rstrip("/")
    keys = _keys(url, store, folder)
    if glob:
        pattern = _compiled(url.key.rstrip("/"))
        found = [key for key in keys if _matches(key, pattern, folder, is_trace)]
        found = [key for key in found if is_trace(key)] or found
    elif not keys and url.key and not url.key.endswith("/"):
        return [url.key]  # an object whose name has no suffix, or nothing: opening it tells
    else:
        found = [key for key in keys if is_trace(key) and not _is_hidden(key, folder)]
    known = frozenset(keys)
    traces = [key for key in found if not _is_in_run(key, known, runs)]
    if traces and _is_below_run(store, folder, runs):
        traces = []
    if not traces:
        if found:
            raise UsageError(f"{shown(spec)}: only results of an earlier run match; name the traces")
        what = f"none of {len(keys):,} objects there is a trace" if keys else "there is no object"
        raise UsageError(f"{shown(spec)}: {what}; quote the pattern and check the folder")
    return traces


def _keys(url: Url, store: ObjectStore, folder: str) -> list[str]:
    from eptreplay.ingest.stores.store import RequestError  # noqa: PLC0415 - as in Stores.of

    try:
        return store.keys(folder)
    except RequestError as error:
        place = f"{url.root}/{folder}" if folder else url.root
        raise UsageError(f"{place}: {error.found} while it was listed; {error.fault.advice}") from None


def _is_hidden(key: str, folder: str) -> bool:
    """Return whether a name below a folder begins with `.` or `_`."""
    below = key[len(folder) :].strip("/").split("/")
    return any(part.startswith((".", "_")) for part in below)


def _is_in_run(key: str, known: frozenset[str], runs: Sequence[set[str]]) -> bool:
    """Return whether a key is in a folder of results, or below one, as far as the list shows."""
    at = key
    while at:
        at = at.rpartition("/")[0]
        if any(all((f"{at}/{name}" if at else name) in known for name in names) for names in runs):
            return True
    return False


def _is_below_run(store: ObjectStore, folder: str, runs: Sequence[set[str]]) -> bool:
    """Return whether a folder that was listed lies below one of results."""
    at = folder
    while at:
        at = at.rpartition("/")[0]
        if any(all(store.exists(f"{at}/{name}" if at else name) for name in sorted(names)) for names in runs):
            return True
    return False


def _matches(key: str, pattern: re.Pattern[str], folder: str, is_trace: Callable[[str], bool]) -> bool:
    """Return whether a glob matches a key, or a folder that a trace is in."""
    if pattern.fullmatch(key):
        return not key.rpartition("/")[2].startswith("_")
    at = key.rpartition("/")[0]
    while len(at) > len(folder):
        if pattern.fullmatch(at):
            return is_trace(key) and not _is_hidden(key, at)
        at = at.rpartition("/")[0]
    return False


def _compiled(pattern: str) -> re.Pattern[str]:
    """Return a glob as a regular expression: `*` and `?` within a name, `**` for any folders; a leading dot must be named."""
    parts = pattern.split("/")
    text = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            text += r"(?:[^./][^/]*/)*" + (r"[^./][^/]*" if last else "")
            continue
        hidden = "" if part.startswith(".") else r"(?!\.)"
        text += hidden + _part(part) + ("" if last else "/")
    return re.compile(text, re.DOTALL)


def _part(part: str) -> str:
    """Return one name of a glob as a regular expression."""
    text = ""
    at = 0
    while at < len(part):
        character = part[at]
        end = part.find("]", at + 2) if character == "[" else -1
        if end > 0:
            inner = part[at + 1 : end]
            negated = inner.startswith("!")
            inner = inner[1:] if negated else inner
            text += f"[{'^' if negated else ''}{_literal(inner)}]"
            at = end
        else:
            text += {"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character))
        at += 1
    return text


def _literal(inner: str) -> str:
    """Return what stands in the brackets of a glob as it stands in those of a regular expression."""
    return re.sub(r"([\\^\[&~|])", r"\\\1", inner)
