"""Are the files of a folder those that its SHA256SUMS lists?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from eptreplay.errors import TraceError
from eptreplay.ingest.native.cut import sha256
from eptreplay.ingest.trace.guard import MANIFEST
from eptreplay.ingest.trace.suffixes import SUFFIXES

if TYPE_CHECKING:
    from pathlib import Path

    from eptreplay.ingest.trace.remote_path import AnyPath

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def verify(folder: Path) -> list[str]:
    """Compare the Parquet files of a folder with its manifest.

    Args:
        folder: holds the files and a `SHA256SUMS` as `sha256sum -c` reads it.

    Returns:
        Problems in words, in the order of file names; empty if there are none.
    """
    try:
        lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return [f"{MANIFEST}: it cannot be read ({error})"]
    listed: dict[str, str] = {}
    problems = []
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            problems.append(f"{MANIFEST}, line {number}: not of the form 'SHA256  NAME'")
        elif match[2] in listed:
            problems.append(f"{match[2]}: listed twice")
        else:
            listed[match[2]] = match[1]
    present = {path.name for path in _traces(folder)}
    problems.extend(f"{name}: not listed" for name in sorted(present - listed.keys()))
    return problems + [
        problem for name in sorted(listed) if (problem := _differs(folder / name, listed[name]))
    ]


def listed_digest(path: AnyPath) -> str | None:
    """Return the SHA-256 that the manifest beside a file lists for it, in hexadecimal; None if there is none.

    Raises:
        TraceError: the manifest lists the file with several.
    """
    manifest = path.parent / MANIFEST
    try:
        text = manifest.read_text(encoding="utf-8") if manifest.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return None
    found = set(re.findall(rf"^([0-9a-f]{{64}}) [ *]{re.escape(path.name)}$", text, re.MULTILINE))
    if len(found) > 1:
        raise TraceError(str(path), f"{MANIFEST} beside it lists it with {len(found)} digests")
    return found.pop() if found else None


def write_manifest(folder: Path) -> None:
    """List the Parquet files of a folder, by name, in its manifest."""
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(_traces(folder))]
    (folder / MANIFEST).write_text("".join(lines), encoding="utf-8")


def _traces(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(SUFFIXES)]


def _differs(path: Path, expected: str) -> str:
    try:
        found = sha256(path)
    except OSError as error:
        return f"{path.name}: it cannot be read ({error.strerror})"
    return "" if found == expected else f"{path.name}: its SHA-256 is {found}, the manifest says {expected}"
