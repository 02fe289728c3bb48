"""Names for what compiled code is written with; numba types them no further."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Records: TypeAlias = "np.recarray[Any, Any]"
Record: TypeAlias = Any  # one element of Records
Int: TypeAlias = int | np.int64  # a signed 64-bit integer, compiled or not

# Unsigned, since an unsigned integer and one of Python's make a signed one.
ZERO = np.uint64(0)
ONE = np.uint64(1)
