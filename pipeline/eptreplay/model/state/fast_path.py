"""The fast-path byte: what is known of a guest page, so that an access which changes nothing only has to be counted.

There is one byte per page, which all instances share (`State.fast_path`), and one more that stands for all addresses beyond
memory.  Bits 0 to 2 and bits 3 to 5 are one per kind of access: read, write, fetch, from the lowest.

* TOUCHED: the open interval has seen such an access.  Cleared when the interval closes (statistics/close_interval.py).
* NO_OP: such an access changes nothing in any instance.  Set when all instances have made one; after a write, reads are
  no-ops, too.  Cleared when any instance takes something away from the leaf entry of the page (pmap/entry.py).
* NO_MEMORY: the page is not memory: it is on no list, and no access to it is ever a no-op.
* UNSAMPLED: the page is not in the sample of which reuse distances are taken (statistics/sample.py).
"""

from __future__ import annotations

import numpy as np

TOUCHED = np.uint8(0b0000_0111)
NO_OP = np.uint8(0b0011_1000)
NO_OP_SHIFT = 3
NO_MEMORY = np.uint8(0b0100_0000)
UNSAMPLED = np.uint8(0b1000_0000)
