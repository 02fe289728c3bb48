"""Page maps that come along with a trace of virtual addresses: which physical page each virtual page is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from eptreplay.errors import TraceError
from eptreplay.ingest.importing.dropped import BadRecordError, Dropped
from eptreplay.ingest.importing.inputs import open_input, shown_name
from eptreplay.ingest.importing.memory import PageMap
from eptreplay.ingest.logs.lines import Log
from eptreplay.ingest.logs.patterns import Line, grammar
from eptreplay.ingest.trace.schema import GPA_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBER = "(?:0[xX][0-9a-fA-F]+|[0-9]+)"
_ENTRY = re.compile(
    rf"address_mapping\s*:?\s*\{{\s*virtual_address\s*:\s*({_NUMBER})\s*,?\s*physical_address\s*:\s*({_NUMBER})"
)
_PAGE = re.compile(rf"\bpage_size\s*:\s*({_NUMBER})")
_LINES = Log(
    grammar(
        [
            Line("{_}{virtual:number}{_}{maybe ,}{_}{physical:number}"),
            Line("{_}#{rest}", "comments"),
            Line("{_}", "empty lines"),
            Line("virtual{rest}", "the line that names the columns"),
        ]
    ),
    "not two addresses, virtual and physical",
    ends=False,
)


def read_page_map(name: str, page_bytes: int) -> PageMap:
    """Read a page map: lines of two addresses, virtual and physical, or DynamoRIO's `v2p.textproto`.

    Args:
        name: of the file; it may be packed.
        page_bytes: bytes of a page; a `v2p.textproto` says so itself.

    Raises:
        TraceError: it cannot be read, or is no page map.
    """
    with open_input(name) as stream:
        if b"address_mapping" in stream.head():
            text = stream.read().decode("utf-8", "replace")
            virtual, physical, page_bytes = _textproto(text, page_bytes)
        else:
            try:
                found = list(_LINES.read(cast("BinaryIO", stream), Dropped()))
            except BadRecordError as error:
                raise TraceError(
                    f"{shown_name(name)}, {error.where}", error.reason, expected="as in 0x7f0000001000,0x5000"
                ) from error
            virtual, physical = (
                np.concatenate([np.zeros(0, np.uint64), *(each.values[key] for each in found)])
                for key in ("virtual", "physical")
            )
    return _checked(name, virtual, physical, page_bytes)


def _textproto(text: str, page_bytes: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64], int]:
    """Return virtual and physical addresses and bytes of a page."""
    pairs = [(int(virtual, 0), int(physical, 0)) for virtual, physical in _ENTRY.findall(text)]
    page = _PAGE.search(text)
    table = np.array([pair for pair in pairs if max(pair) >> 64 == 0], np.uint64).reshape(-1, 2)
    return table[:, 0], table[:, 1], int(page[1], 0) if page else page_bytes


def _checked(
    name: str, virtual: NDArray[np.uint64], physical: NDArray[np.uint64], page_bytes: int
) -> PageMap:
    """Return a page map that makes sense."""
    shown = shown_name(name)
    if len(virtual) == 0:
        raise TraceError(
            shown, "there is no page in this page map", expected="lines as in 0x7f0000001000,0x5000"
        )
    if page_bytes < 1 << 12 or page_bytes & (page_bytes - 1) or page_bytes >> 31:
        raise TraceError(shown, f"pages of {page_bytes} bytes", expected="a power of 2 from 4096 to 1 GiB")
    inside = np.uint64(page_bytes - 1)
    for what, addresses in (("virtual", virtual), ("physical", physical)):
        odd = np.flatnonzero(addresses & inside)
        if len(odd):
            raise TraceError(
                shown,
                f"the {what} address {int(addresses[odd[0]]):#x} is not the first of a page of {page_bytes:,} bytes",
                advice="give the size of its pages with --page-bytes",
            )
    if int(physical.max()) + page_bytes > 1 << GPA_BITS:
        raise TraceError(
            shown, f"the physical address {int(physical.max()):#x} has more than {GPA_BITS} bits"
        )
    order = np.argsort(virtual, kind="stable")
    virtual, physical = virtual[order], physical[order]
    twice = np.flatnonzero(virtual[1:] == virtual[:-1])
    if len(twice):
        raise TraceError(shown, f"the virtual page {int(virtual[twice[0]]):#x} stands twice")
    return PageMap(virtual, physical, page_bytes)
