"""What guards a trace against damage that decodes: a manifest, checksums of its pages, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.errors import TraceError
from eptreplay.ingest.native.cut import sha256
from eptreplay.ingest.parquet.pages import has_checksum
from eptreplay.ingest.sources.manifest import listed_digest
from eptreplay.ingest.trace.guard import MANIFEST, Guard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eptreplay.ingest.parquet.footer import Footer
    from eptreplay.ingest.trace.extents import ReadAt
    from eptreplay.ingest.trace.remote_path import AnyPath


def weakest(guards: Iterable[Guard]) -> Guard:
    """Return the weakest of several; what guards nothing if there are none."""
    order = list(Guard)
    return min(guards, key=order.index, default=Guard.NOTHING)


def verified_by(path: AnyPath, footer: Footer, read_at: ReadAt) -> Guard:
    """Verify a file by the manifest beside it, if that lists it, and return what guards it.

    Args:
        path: the file.
        footer: its footer.
        read_at: reads the open file.

    Raises:
        TraceError: it is not the file that the manifest lists.
    """
    expected = listed_digest(path)
    if expected is not None:
        found = sha256(path)
        if found != expected:
            raise TraceError(
                str(path),
                f"its SHA-256 is {found}",
                expected=f"{expected}, as {MANIFEST} beside it says",
                advice="copy the trace again, or list it anew if it was changed on purpose",
            )
        return Guard.MANIFEST
    first = next((group for group in footer.groups if group.rows), None)
    if first is not None and all(has_checksum(read_at, chunk.extent) for chunk in first.chunks.values()):
        return Guard.CHECKSUMS
    return Guard.NOTHING
