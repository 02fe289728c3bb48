"""Where in an array with one element per guest page the element of a page is.

Guest pages have flat numbers (instances.py), and each of these arrays has an element for every number: the index is the number
itself.  Memory of which only pages in use have elements (sparse state) would look the index up here, and nowhere else.  In the
row scan of the access loop, known_page (rows.py) has this part, since there an address may lie beyond memory, too.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from eptreplay.compiled import kernel

Number = TypeVar("Number", int, np.int64, np.uint64, int | np.int64)


@kernel
def page_at(flat: Number) -> Number:
    """Return the index of a flat guest page; compiled, this is no code at all."""
    return flat
