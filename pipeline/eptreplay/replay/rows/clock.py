"""How the times of a guest are placed on the clock of its host."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.ingest.native.reader import Batch


class Clock(NamedTuple):
    """How a guest's rows are placed on the host's clock: (time - `begin`) * `tick`, plus `start`."""

    begin: int = 0
    tick: int = 1
    start: int = 0

    def at(self, batch: Batch) -> NDArray[np.uint64]:
        """Return when the rows of a batch happen."""
        assert batch.time is not None  # noqa: S101 - the caller asked for times
        return (batch.time - np.uint64(self.begin)) * np.uint64(self.tick) + np.uint64(self.start)
