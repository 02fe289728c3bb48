"""From what a user names (files, folders, globs) to guests and their files."""

from __future__ import annotations

import glob
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from eptreplay.errors import UsageError
from eptreplay.ingest.sources.natural import natural
from eptreplay.ingest.sources.remote import Stores, expand_url
from eptreplay.ingest.stores.url import is_url, shown
from eptreplay.ingest.trace.suffixes import SUFFIXES, without_suffix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from eptreplay.ingest.trace.remote_path import AnyPath

_HIVE = "guest="
# A folder with all of one of these holds results, whose tables are no traces.
_RUNS = ({"run.json", "index.html"}, {"run.json", "files.json"})
_GLOB_CHARACTERS = frozenset("*?[")


class GuestFiles(NamedTuple):
    """A guest before its files are opened.

    Args:
        name: unique among the guests found together.
        files: its trace, in the order of the accesses.
        folder: where its `guest.toml` may be.
    """

    name: str
    files: tuple[AnyPath, ...]
    folder: AnyPath


def locate(specs: Sequence[str]) -> tuple[GuestFiles, ...]:
    """Find the guests that files, folders and globs stand for.

    A folder stands for every `*.parquet` and `*.pq` in it and below, except names that begin
    with `.` or `_` and the results of earlier runs; a glob for the `*.parquet` and `*.pq` files it matches or, if it matches
    none, for all files it matches, except those of earlier runs. Files below a hive folder `guest=NAME` are one guest, in the
    order of their names, numbers in them by value; every other file is a guest of its own, named after the
    file. A file that a folder or glob reaches twice, by a link, counts once.

    Args:
        specs: what the user named, in order.

    Returns:
        Guests in order of their first appearance, names unique.

    Raises:
        UsageError: a name leads to nothing, there is none, or two lead to the same file.
    """
    if not specs:
        raise UsageError("no trace was named; give a Parquet file, a folder or a glob")
    guests: dict[tuple[AnyPath, str], list[AnyPath]] = {}
    seen: dict[AnyPath, int] = {}
    stores = Stores()
    for number, spec in enumerate(specs):
        for path in _expand(spec, stores):
            real = path.resolve()
            if seen.get(real, number) != number:
                raise UsageError(
                    f"{path}: is named twice, by '{shown(specs[seen[real]])}' and by '{shown(spec)}'; leave one out"
                )
            if real not in seen:
                guests.setdefault(_guest_of(path), []).append(path)
            seen[real] = number
    names = unique_names([(name, folder) for folder, name in guests])
    return tuple(
        GuestFiles(unique, tuple(sorted(files, key=natural)), folder.parent if folder in files else folder)
        for unique, ((folder, _), files) in zip(names, guests.items(), strict=True)
    )


def unique_names(guests: Sequence[tuple[str, AnyPath]]) -> list[str]:
    """Tell guests of one name apart by their folder, then by a number.

    Args:
        guests: name of each and the folder or file it comes from.

    Returns:
        One name a guest, all different: `web`, or `a/web` and `b/web`, or `web`, `web (2)`.
    """
    counts = Counter(name for name, _ in guests)
    taken: set[str] = set()
    result = []
    for name, place in guests:
        wish = f"{place.absolute().parent.name}/{name}" if counts[name] > 1 else name
        unique, number = wish, 1
        while unique in taken:
            number += 1
            unique = f"{wish} ({number})"
        taken.add(unique)
        result.append(unique)
    return result


def _expand(spec: str, stores: Stores) -> Iterable[AnyPath]:
    """The trace files a user's word stands for, in the order of their names."""
    if not spec:
        raise UsageError("a path is empty; an unset shell variable?")
    if is_url(spec):
        return expand_url(spec, stores, _is_trace, _RUNS)
    path = Path(spec)
    try:
        if path.is_dir():
            return _in_folder(path)
        if path.exists():
            return (path,)
    except (OSError, ValueError) as error:
        raise UsageError(f"{spec!r:.200}: this path cannot be looked at ({error})") from error
    if not _GLOB_CHARACTERS.intersection(spec):
        raise UsageError(f"{spec}: there is no such file or folder; check the path")
    found = glob.glob(spec, recursive=True)  # noqa: PTH207  Path.glob takes no absolute patterns
    matches = [path for path in sorted(map(Path, found), key=natural) if not path.name.startswith("_")]
    if not matches:
        raise UsageError(f"{spec}: no file matches; quote the pattern and check the folder")
    files: list[Path] = []
    for match in matches:
        files.extend(_in_folder(match, required=False) if match.is_dir() else [match])
    # `folder/*` also matches the guest.toml and the notes that lie beside traces.
    files = [path for path in files if path.name.endswith(SUFFIXES)] or files
    results = {folder for folder in {path.parent for path in files} if _is_in_run(folder.absolute())}
    traces = [path for path in files if path.parent not in results]
    if not traces:
        what = f"folders without *{SUFFIXES[0]} files" if not files else "results of an earlier run"
        raise UsageError(f"{spec}: only {what} match; name the traces")
    return traces


def _is_in_run(folder: Path) -> bool:
    """Whether a folder is that of a run's results, or below one."""
    return any(
        all((above / name).exists() for name in names)
        for above in (folder, *folder.parents)
        for names in _RUNS
    )


def _in_folder(folder: Path, *, required: bool = True) -> list[Path]:
    if required and _is_in_run(folder.absolute()):
        raise UsageError(f"{folder}: holds the results of an earlier run; name the folder of the traces")
    files = sorted(_walk(folder), key=natural)
    if required and not files:
        raise UsageError(
            f"{folder}: there is no *{SUFFIXES[0]} file in this folder or below; name the folder of the traces"
        )
    return files


def _walk(folder: Path) -> Iterator[Path]:
    """The trace files in a folder and below; links to folders are followed once."""

    def refuse(error: OSError) -> None:
        # A folder that is passed over would leave a guest out without a word.
        raise UsageError(f"{error.filename}: this folder cannot be read ({error.strerror})") from error

    visited: set[str] = set()
    for here, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(here)
        if real in visited or any(names.issubset(files) for names in _RUNS):
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in files:
            if name.endswith(SUFFIXES) and not name.startswith((".", "_")):
                yield Path(here, name)


def _is_trace(name: str) -> bool:
    """Return whether a name is that of a trace."""
    return name.endswith(SUFFIXES)


def _guest_of(path: AnyPath) -> tuple[AnyPath, str]:
    """The hive folder of a file and its value, or the file itself and its stem."""
    for folder in path.parents:
        if folder.name.startswith(_HIVE) and len(folder.name) > len(_HIVE):
            return folder, unquote(folder.name[len(_HIVE) :])
    return path, without_suffix(path.name)
