"""Names for the types that compiled code is written with; numba infers its own."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Records: TypeAlias = "np.recarray[Any, Any]"
Record: TypeAlias = Any  # one element of Records
Int: TypeAlias = int | np.int64  # a signed 64-bit integer, compiled or not

# Constants are unsigned where they meet unsigned numbers: numba makes a signed number of an unsigned one and a Python integer.
ZERO = np.uint64(0)
ONE = np.uint64(1)
