"""Checkpoints of long guests as files: whole or absent, of the same input and options or not used.

A file is a pickle that only the types of checkpoints can come out of, compressed, and the SHA-256 of that.  Any other file is no checkpoint, and its
guest is replayed from its first row.
"""

from __future__ import annotations

import hashlib
import pickle
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from eptreplay import __version__
from eptreplay.replay.driver.checkpoint import Kept
from eptreplay.run.unfinished.durable import whole_file
from eptreplay.run.unfinished.manifest import input_of
from eptreplay.tables.files import slug

if TYPE_CHECKING:
    from pathlib import Path

    from eptreplay.ingest.trace.guest_trace import GuestTrace

CHECKPOINTS_FOLDER = "checkpoints"
CHECKPOINT = ".state"
CODEC = "lz4"
DIGEST_BYTES = 32

WORTH = 40
"""How many times longer than keeping the last checkpoint the replay goes on before the next: keeping them costs a fortieth."""

TYPES = {
    "builtins": {"slice", "bytearray", "list", "dict", "set", "frozenset", "range", "complex"},
    "collections": {"defaultdict", "OrderedDict", "Counter"},
    "numpy": {"ndarray", "dtype", "recarray", "record"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "eptreplay.replay.driver.checkpoint": {"Kept"},
    "eptreplay.replay.rows.steps": {"Position"},
    "eptreplay.replay.events.given_back": {"GivenBack", "Loss"},
    "eptreplay.replay.events.other_writers": {"OtherWriters"},
    "eptreplay.replay.found.snapshots": {"ClosedInterval", "OtherWrites", "Snapshot"},
}
"""What may come out of a checkpoint, by module."""


class _Reader(pickle.Unpickler):
    """Reads a checkpoint; a file that names anything else is none."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - a type or a function
        """Return one of the types of checkpoints.

        Raises:
            UnpicklingError: it is none.
        """
        if name not in TYPES.get(module, ()):
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a checkpoint")
        return super().find_class(module, name)


class _Hashing:
    """A file that is written and hashed at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.closed = False

    def write(self, data: bytes) -> int:
        """Write what comes next."""
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Write what was held back."""
        self._file.flush()

    def close(self) -> None:
        """End; the file itself stays open."""
        self.closed = True


@dataclass(slots=True)
class Checkpoints:
    """Keeps checkpoints of guests in the folder of an unfinished run.

    Args:
        folder: of the run.
        every: rows between two of them, at least.
        asked: what the replays are asked for: a checkpoint of anything else does not fit.
    """

    folder: Path
    every: int
    asked: str
    _rows: dict[str, int] = field(default_factory=dict)
    _saved: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By guest, when the last checkpoint was kept, and how many seconds that took."""

    def path(self, guest: str) -> Path:
        """Return where the checkpoint of a guest is."""
        return self.folder / CHECKPOINTS_FOLDER / f"{slug(guest)}{CHECKPOINT}"

    def load(self, trace: GuestTrace) -> Kept | None:
        """Return the checkpoint of a guest; None if there is none that fits."""
        path = self.path(trace.name)
        try:
            data = path.read_bytes()
            body, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
            if hashlib.sha256(body).digest() != digest:
                return None
            with pa.CompressedInputStream(pa.BufferReader(body), CODEC) as stream:
                fits, kept = _Reader(stream).load()
        except (
            OSError,
            pa.ArrowException,
            pickle.UnpicklingError,
            EOFError,
            ValueError,
            TypeError,
            AttributeError,
        ):
            return None
        if fits != self._fits(trace) or not isinstance(kept, Kept):
            return None
        self._rows[trace.name] = kept.position.rows
        return kept

    def is_due(self, trace: GuestTrace, rows: int) -> bool:
        """Return whether a checkpoint is to be kept of a guest of which so many rows are replayed."""
        if rows - self._rows.get(trace.name, 0) < self.every:
            return False
        when, took = self._saved.get(trace.name, (0.0, 0.0))
        return time.monotonic() - when >= WORTH * took

    def save(self, trace: GuestTrace, kept: Kept) -> None:
        """Keep a checkpoint in the place of an older one; where that cannot be done, there is none."""
        begun = time.monotonic()
        self._rows[trace.name] = kept.position.rows
        path = self.path(trace.name)
        with suppress(OSError):  # a full disk ends the run where a part cannot be written, not here
            path.parent.mkdir(exist_ok=True)
            with whole_file(path) as file:
                hashing = _Hashing(file)
                with pa.CompressedOutputStream(pa.PythonFile(hashing, "w"), CODEC) as stream:
                    pickle.dump((self._fits(trace), kept), stream, protocol=5)
                file.write(hashing.digest.digest())
        self._saved[trace.name] = (time.monotonic(), time.monotonic() - begun)

    def remove(self, guest: str) -> None:
        """Remove the checkpoint of a guest that is done."""
        with suppress(OSError):
            self.path(guest).unlink(missing_ok=True)

    def _fits(self, trace: GuestTrace) -> tuple[str, ...]:
        """Return what a checkpoint must have been made of to be used."""
        files = [{**file, "path": ""} for file in input_of(trace)["files"]]
        return (__version__, self.asked, trace.name, repr(files))
