"""A part of a run: the rows of all tables of one host with its guests, most often one, as a file of its own.

It is a zip file: `about.json` and one Arrow stream for each table that has rows. So a guest costs one file, not one for each table,
and damage shows by checksums. When all parts are there, the tables are put together from them in the order of the guests.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from eptreplay.errors import OutputError
from eptreplay.run.unfinished.durable import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PARTS_FOLDER = "parts"
_ABOUT = "about.json"
_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)


class Part(NamedTuple):
    """What one host with its guests adds to a run.

    Args:
        guests: how run.json describes each of them.
        rows: of every table that has rows, for each guest.
    """

    guests: Sequence[dict[str, Any]]
    rows: Sequence[Mapping[str, pa.Table]]


def part_file(folder: Path, unit: int) -> Path:
    """Return where the part of a host is, by its number in the run."""
    return folder / PARTS_FOLDER / f"{unit:06}.zip"


def write_part(path: Path, part: Part) -> None:
    """Write a part, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with whole_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_ABOUT), json.dumps(part.guests))
        for number, tables in enumerate(part.rows):
            for name, rows in tables.items():
                if len(rows):
                    archive.writestr(zipfile.ZipInfo(f"{number}/{name}"), _stream(rows))


def _stream(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema, options=_OPTIONS) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def read_part(path: Path) -> Part:
    """Return a part.

    Raises:
        OutputError: it is damaged, or not there.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            guests = json.loads(archive.read(_ABOUT))
            rows: list[dict[str, pa.Table]] = [{} for _ in guests]
            for name in archive.namelist():
                number, _, table = name.partition("/")
                if table:
                    rows[int(number)][table] = pa.ipc.open_stream(archive.read(name)).read_all()
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        zipfile.BadZipFile,
        zlib.error,
        pa.ArrowException,
    ) as error:
        text = " ".join(str(error).split())
        raise OutputError(
            f"{path}: cannot be read ({text}); remove it and go on with --resume, which replays that guest again"
        ) from error
    return Part(guests, rows)


def is_whole(path: Path) -> bool:
    """Return whether a part is there and its directory, which is written last, can be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _ABOUT in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False
