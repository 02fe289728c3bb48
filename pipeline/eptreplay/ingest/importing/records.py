"""Records of a foreign trace on their way to a native one, a chunk at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Records:
    """A chunk of accesses, in the order of the trace; the arrays are equally long.

    The same fields are None in all chunks of a trace.

    Args:
        address: uint64, byte address as the format has it: guest-physical, or virtual (`Origin.virtual`).
        op: uint8, a code of `trace.schema.Op` or `trace.schema.Event`.
        time: uint64 in `Origin.time_unit`; None: the format has no times, and the number of a record stands for its time.
        vcpu: uint16; None: the format names none, and all accesses are vCPU 0's.
        size: uint32, bytes of the access, at least 1; None: the format says none. An access may be longer than a page, or
            cross one: it is divided later.
        count: uint32, accesses a record stands for; None: one each.
        arg: uint64, argument of an event; None: no record is an event.
        space: uint64, address space of a virtual address, such as a process: equal addresses of two spaces are different
            memory; None: all are of one.
        place: where a record of this chunk stands, by its index in it, in words: "line 12", "byte 4,096"; None: it is
            named by its number.
    """

    address: NDArray[np.uint64]
    op: NDArray[np.uint8]
    time: NDArray[np.uint64] | None = None
    vcpu: NDArray[np.uint16] | None = None
    size: NDArray[np.uint32] | None = None
    count: NDArray[np.uint32] | None = None
    arg: NDArray[np.uint64] | None = None
    space: NDArray[np.uint64] | None = None
    place: Callable[[int], str] | None = None

    def __len__(self) -> int:
        """Accesses in the chunk."""
        return len(self.address)
