"""Memory that allocators keep for later, given back to the system."""

from __future__ import annotations

import ctypes
import gc

import pyarrow as pa


def give_back_memory() -> None:
    """Give back what is kept but not used, before other processes need memory; where the system cannot, nothing is done."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
