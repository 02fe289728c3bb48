"""What a guest gave back of its memory, as it was found: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eptreplay.analysis.history import Gone


@dataclass(frozen=True, slots=True)
class GivenBackPages:
    """What a guest gave back, at the end of its trace.

    Args:
        gone: shape [guest pages]: whether the page was given back and not accessed since.
        freed: shape [guest pages]: whether it is gone, after it had been accessed, by advice and not by unmapping.
        changed: shape [guest pages]: whether it ever was given back.
        written: shape [guest pages]: whether it was written since.
        first_row: shape [guest pages]: 1 + the row of the first access of all; 0: never, or it was never given back.
        absent: shape [guest pages]: whether it is unmapped.
        initial: how many pages were given back before the first access.
        pages: when pages were gone, for what counts pages.
        regions: the same for what counts regions that were written.
    """

    gone: NDArray[np.bool_]
    freed: NDArray[np.bool_]
    changed: NDArray[np.bool_]
    written: NDArray[np.bool_]
    first_row: NDArray[np.int64]
    absent: NDArray[np.bool_]
    initial: int
    pages: Gone
    regions: Gone
