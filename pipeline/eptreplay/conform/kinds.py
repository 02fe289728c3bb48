"""The kinds of recordings."""

from __future__ import annotations

VECTORS = "vectors"
GOLDEN = "golden replays"
PAGEOUT = "page daemon replays"
TINY = "tiny scenarios"
RESERVATIONS = "recordings of reservations"
FRAME_TRACES = "traces of reservations"
WIRING = "recordings of wiring"
