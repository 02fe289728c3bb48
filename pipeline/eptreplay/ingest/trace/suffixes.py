"""How the names of traces end."""

from __future__ import annotations

SUFFIXES = (".parquet", ".pq")


def without_suffix(name: str) -> str:
    """Return the name of a file without the suffix of a Parquet file."""
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)
