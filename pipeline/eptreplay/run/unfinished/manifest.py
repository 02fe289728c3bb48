"""The manifest of a run: what it reads, how it was asked for, and the state of every guest; lines are appended, never changed."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eptreplay import __version__
from eptreplay.errors import OutputError, TraceError
from eptreplay.run.unfinished.durable import append_lines, append_soon
from eptreplay.tables.files import inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.ingest.trace.remote_path import AnyPath

MANIFEST_FILE = "manifest.jsonl"
FORMAT = 1
LIBRARIES = ("numpy", "numba", "llvmlite", "pyarrow", "polars")


def append(folder: Path, kind: str, *lines: Mapping[str, Any]) -> None:
    """Append lines of a kind to the manifest of a run, and make them last.

    Raises:
        OSError: they cannot be written.
    """
    append_lines(folder / MANIFEST_FILE, [_line(kind, each) for each in lines])


def note(folder: Path, kind: str, what: Mapping[str, Any]) -> None:
    """Append a line about something that can be told from other files, too: it may be lost with the power.

    Raises:
        OSError: it cannot be written.
    """
    append_soon(folder / MANIFEST_FILE, _line(kind, what))


def _line(kind: str, what: Mapping[str, Any]) -> bytes:
    return json.dumps({"kind": kind, **what}, separators=(",", ":")).encode()


def head(configuration: Mapping[str, Any], units: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the first line of a manifest.

    Args:
        configuration: whatever decides what the tables hold.
        units: names of the guests of every host.
    """
    return {
        "format": FORMAT,
        "eptreplay": __version__,
        "python": platform.python_version(),
        "libraries": {name: version_of(name) for name in LIBRARIES},
        "configuration": configuration,
        "units": [list(unit) for unit in units],
    }


def input_of(trace: GuestTrace) -> dict[str, Any]:
    """Return the line about the input of a guest."""
    files = [
        {"path": str(path), **_version(path), "footer_sha256": trace.digests.get(path)}
        for path in trace.files
    ]
    return {"guest": trace.name, "rows": trace.rows, "verified_by": str(trace.verified_by), "files": files}


def _version(path: AnyPath) -> dict[str, Any]:
    """Return what tells a file from what it was before; nothing of an object of a store, whose reader sees that itself."""
    if not isinstance(path, Path):
        return {}
    try:
        about = path.stat()
    except OSError as error:  # the replay fails, and says so
        return {"error": error.strerror}
    return {"bytes": about.st_size, "modified_ns": about.st_mtime_ns}


def refuse_changed(trace: GuestTrace, before: Sequence[Mapping[str, Any]]) -> None:
    """Refuse the result of a trace whose files are no longer as they were before they were read.

    Raises:
        TraceError: one has changed, or is no longer there.
    """
    (then,) = (each for each in before if each["guest"] == trace.name)
    for was, now in zip(then["files"], input_of(trace)["files"], strict=True):
        if was != now:
            what = (
                now.get("error")
                or f"it had {was.get('bytes'):,} bytes and now has {now['bytes']:,}, or was written again"
            )
            raise TraceError(
                was["path"],
                f"was changed while it was read ({what})",
                advice="replay it again when nothing writes it",
            )


def lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a manifest; one that was torn when its process was killed is none.

    Raises:
        OutputError: there is no manifest, or it cannot be read.
    """
    path = inside(folder, MANIFEST_FILE)
    try:
        with path.open("rb") as file:
            for line in file:
                found = _parsed(line)
                if found is not None:
                    yield found
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from error


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("kind"), str) else None
