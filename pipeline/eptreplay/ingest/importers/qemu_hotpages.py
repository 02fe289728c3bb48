"""QEMU's plugin hotpages: a histogram of pages, of which no trace can be made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.errors import UsageError
from eptreplay.ingest.importing.format import Format, Opened

if TYPE_CHECKING:
    from collections.abc import Mapping

_WHY = (
    "it counts how often each page was read and written in a whole run, and says nothing of when: which access came after "
    "which is lost, and with it every fault, sweep and interval; record the guest with the plugin mem or execlog instead"
)


def _open(_options: Mapping[str, str]) -> Opened:
    raise UsageError(f"QEMU's plugin hotpages: {_WHY}")


def _guess(head: bytes) -> bool:
    return head.startswith(b"Addr, RCPUs, Reads, WCPUs, Writes")


FORMAT = Format("qemu-hotpages", "QEMU's plugin hotpages", frozenset(), _open, _guess, refused=_WHY)
