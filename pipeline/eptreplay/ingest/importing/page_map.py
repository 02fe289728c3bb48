"""A page map that comes along with a trace: DynamoRIO's `v2p.textproto`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from eptreplay.errors import UsageError
from eptreplay.units import PAGE_BYTES

TYPE = np.uint64
_FIELD = re.compile(
    r"^\s*(page_size|virtual_address|physical_address)\s*:\s*(0[xX][0-9a-fA-F]+|\d+)\s*(?:#.*)?$"
)
_NUMBERS_END = 1 << 64


class PageMap:
    """Where virtual pages lie in physical memory.

    Args:
        page_bytes: size of a page.
        virtual: uint64, shape (n,), numbers of virtual pages, each once.
        physical: uint64, shape (n,), addresses of the physical ones.
    """

    def __init__(self, page_bytes: int, mappings: dict[int, int]) -> None:
        self.page_bytes = page_bytes
        self.virtual = np.fromiter(mappings, TYPE, len(mappings))
        self.physical = np.fromiter(mappings.values(), TYPE, len(mappings))


def read_page_map(path: str) -> PageMap:
    """Read a `v2p.textproto`: `page_size`, and pairs of `virtual_address` (0 if it is missing) and `physical_address`.

    Raises:
        UsageError: it cannot be read, or says something twice or out of place.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: it cannot be read ({error}); name the trace's v2p.textproto") from error
    page_bytes, virtual, pairs = 0, 0, list[tuple[int, int, int]]()
    for number, line in enumerate(text.splitlines(), 1):
        if "address_mapping {" in line:
            virtual = 0
        if not (field := _FIELD.match(line)):
            continue
        value = int(field[2], 0)
        where = f"{path}: line {number}"
        if value >= _NUMBERS_END:
            raise UsageError(f"{where}: {field[2]} is more than 64 bits")
        if field[1] == "page_size":
            if page_bytes not in {0, value} or value < PAGE_BYTES or value & (value - 1):
                raise UsageError(
                    f"{where}: a page of {value} bytes; expected one power of two from {PAGE_BYTES} on"
                )
            page_bytes = value
        elif field[1] == "virtual_address":
            virtual = value
        else:
            pairs.append((number, virtual, value))
    return _page_map(path, page_bytes, pairs)


def _page_map(path: str, page_bytes: int, pairs: list[tuple[int, int, int]]) -> PageMap:
    if not pairs or not page_bytes:
        raise UsageError(
            f"{path}: neither a page_size nor a mapping is missing in a v2p.textproto; one is here"
        )
    mappings: dict[int, int] = {}
    for line, virtual, physical in pairs:
        if (
            mappings.setdefault(virtual // page_bytes, physical // page_bytes * page_bytes)
            != physical // page_bytes * page_bytes
        ):
            raise UsageError(
                f"{path}: line {line}: the page of {virtual:#x} is mapped a second time, elsewhere"
            )
    return PageMap(page_bytes, mappings)
