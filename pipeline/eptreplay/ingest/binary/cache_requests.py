"""Requests of cache traces: an object, a time in seconds, and what libCacheSim knows of it besides.

Layouts: libCacheSim, oracleGeneralBin.h (oracleGeneral) and lcs.h (lcs): little-endian and packed. The records of lcs version 1 are
those of oracleGeneral.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.ingest.binary.blocks import at_byte
from eptreplay.ingest.importing.format import ANY_LENGTH, Approximated, Origin
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.trace.schema import GPA_BITS, PAGE_SHIFT, VCPUS_MAX, Op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eptreplay.ingest.importing.dropped import Dropped

REQUEST = np.dtype([("time", "<u4"), ("object", "<u8"), ("size", "<u4"), ("next", "<i8")])
"""A request of oracleGeneral."""

NEVER = (-1, 2**63 - 1)
"""Numbers of a next request that stand for none."""


class Operation(IntEnum):
    """libCacheSim's operations (`req_op_e`) as far as they are written here."""

    GET = 1
    DELETE = 9
    READ = 12
    WRITE = 13


OPERATIONS = 15
_WRITES = (3, 4, 5, 6, 7, 8, 10, 11, 13, 14)
"""set, add, cas, replace, append, prepend, incr, decr, write, update."""


class Objects(StrEnum):
    """What the number of an object is."""

    PAGES = "pages"
    NAMES = "names"


def objects_option(options: Mapping[str, str]) -> Objects:
    """Return what the numbers of objects are: of pages, if nothing else is said."""
    return Objects(options.get("objects", Objects.PAGES))


def origin_of(objects: Objects, record: str, *missing: Approximated) -> Origin:
    """Return what requests are as records of a trace."""
    virtual = objects is Objects.NAMES
    named = (Approximated.VIRTUAL,) if virtual else ()
    return Origin(
        record=record,
        approximated=(*missing, *named),
        virtual=virtual,
        time_unit="s",
        longest=ANY_LENGTH,
        metadata={
            "objects_are": "memory of their size, numbered as they are first asked for"
            if virtual
            else "4 KB pages"
        },
    )


class Requests:
    """Makes records of requests.

    Args:
        objects: what the number of an object is.
        request: the type of a request: `time`, `object`, `size`, `next` and perhaps `op_tenant`.
        begin: byte at which the first request stands.
        dropped: takes what is no access.
    """

    def __init__(self, objects: Objects, request: np.dtype[Any], begin: int, dropped: Dropped) -> None:
        self._objects = objects
        self._request = request
        self._begin = begin
        self._dropped = dropped

    def records(self, offset: int, block: NDArray[np.uint8]) -> Records:
        """Return the accesses of whole requests.

        Args:
            offset: byte at which they begin, from the first request on.
            block: uint8, their bytes.

        Raises:
            BadRecordError: a request is wrong, and bad ones are not to be left out.
        """
        requests = block.view(self._request)
        number = np.arange(offset // self._request.itemsize, offset // self._request.itemsize + len(requests))
        kept = np.ones(len(requests), np.bool_)
        following = requests["next"]
        backward = (following <= number) & ~np.isin(following, NEVER)
        self._bad("its next request is not after it", backward, kept, offset)
        if self._objects is Objects.PAGES:
            beyond = requests["object"] >= np.uint64(1 << (GPA_BITS - PAGE_SHIFT))
            reason = "the number of its object is none of a page, as it has more than 36 bits; names of objects are read with --objects names"
            self._bad(reason, beyond, kept, offset)
        size = requests["size"].astype(np.int64)
        self._bad(
            "an object of 4 GB and more, or of less than none", (size < 0) | (size >> 32 != 0), kept, offset
        )
        self._leave_out("request for an object of no bytes", size == 0, kept, offset)
        op, vcpu = self._op_and_vcpu(requests, kept, offset)
        return self._of_kept(requests, kept, op, vcpu, offset)

    def _op_and_vcpu(
        self, requests: NDArray[Any], kept: NDArray[np.bool_], offset: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint16] | None]:
        """Return kinds of access and vCPUs: reads of vCPU 0 where requests say nothing of it."""
        op = np.full(len(requests), Op.READ, np.uint8)
        if "op_tenant" not in (self._request.names or ()):
            return op, None
        operation, tenant = requests["op_tenant"] & np.uint32(255), requests["op_tenant"] >> np.uint32(8)
        op[np.isin(operation, _WRITES)] = Op.WRITE
        self._bad("an operation that libCacheSim does not have", operation >= OPERATIONS, kept, offset)
        self._bad(
            f"a tenant above {VCPUS_MAX - 1:,}, which can be no vCPU", tenant >= VCPUS_MAX, kept, offset
        )
        self._leave_out("request to delete an object", operation == Operation.DELETE, kept, offset)
        return op, tenant.astype(np.uint16)

    def _of_kept(
        self,
        requests: NDArray[Any],
        kept: NDArray[np.bool_],
        op: NDArray[np.uint8],
        vcpu: NDArray[np.uint16] | None,
        offset: int,
    ) -> Records:
        place = np.flatnonzero(kept)
        objects = requests["object"][place]
        pages = self._objects is Objects.PAGES
        return Records(
            address=objects << np.uint64(PAGE_SHIFT) if pages else np.zeros(len(place), np.uint64),
            op=op[place],
            time=requests["time"][place].astype(np.uint64),
            vcpu=None if vcpu is None else vcpu[place],
            size=requests["size"][place].astype(np.uint32),
            space=None if pages else objects,
            place=lambda index: self._where(offset, int(place[index])),
        )

    def _where(self, offset: int, index: int) -> str:
        return at_byte(self._begin + offset + index * self._request.itemsize)

    def _bad(self, reason: str, broken: NDArray[np.bool_], kept: NDArray[np.bool_], offset: int) -> None:
        broken = broken & kept
        kept &= ~broken
        self._dropped.bad_records(
            reason, int(np.count_nonzero(broken)), self._where(offset, int(np.argmax(broken)))
        )

    def _leave_out(self, reason: str, none: NDArray[np.bool_], kept: NDArray[np.bool_], offset: int) -> None:
        none = none & kept
        kept &= ~none
        self._dropped.leave_out(
            reason, int(np.count_nonzero(none)), self._where(offset, int(np.argmax(none)))
        )
