"""What events answer, and on whose behalf they are carried out.

An event is something that a host does to a guest between two accesses.  Functions that carry one out take the stacked states of
all profiles, a guest, and a page by its flat number; they do the same in every instance.  They return OK, or the reason why the
event makes no sense; in that case nothing was done.
"""

from __future__ import annotations

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.state.state import State, instance

# What an event answers.
OK = 0
NO_HOLD = 1  # a release without a hold
NOT_WIRED = 2  # an unwire of a page that is not wired
NOT_MEMORY = 3  # a page that is not memory, or not mapped any more
IS_THERE = 5  # a map of a page that is mapped
NO_DEVICE = 6  # DMA of a guest without a passthrough device
NOT_ALLOWED = 7  # rights that the map entry does not give


@kernel
def begin_event(states: State, number: int, guest: Int, cause: Int) -> State:
    """Return one of the instances; what follows is counted for this guest and cause."""
    st = instance(states, number)
    st.host[0].guest = guest
    st.host[0].cause = cause
    return st
