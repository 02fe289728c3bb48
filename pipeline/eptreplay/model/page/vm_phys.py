"""The free frames of a host, counted: whoever takes a frame or gives one back does so through here.

Frames are taken for two purposes: to hold a guest page, and as page-table pages.  Which frame a guest page gets is decided in
vm_reserv.py.  Page-table pages stand in a part of physical memory of their own (PTP_BASE), so for them no frame is chosen:
one is only counted as taken and wired, on hosts where page tables take frames at all (VM.page_tables_count).

Source: vm_phys.h vm_phys_freecnt_adj; vm_page.c vm_page_alloc and vm_page_free_toq as far as they count frames, FreeBSD 10.0.
"""

from __future__ import annotations

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.state.state import State


@kernel
def vm_phys_freecnt_adj(st: State, adj: Int) -> None:
    """Add to the number of free frames: -1 for a frame that is taken, 1 for one that is given back."""
    st.vm[0].v_free_count += adj


@kernel
def vm_phys_alloc_wired(st: State) -> None:
    """Take a frame for a page-table page (vm_page_alloc with VM_ALLOC_NOOBJ and VM_ALLOC_WIRED)."""
    if st.vm[0].page_tables_count != 0:
        vm_phys_freecnt_adj(st, -1)
        st.vm[0].v_wire_count += 1


@kernel
def vm_phys_free_wired(st: State) -> None:
    """Give back the frame of a page-table page."""
    if st.vm[0].page_tables_count != 0:
        vm_phys_freecnt_adj(st, 1)
        st.vm[0].v_wire_count -= 1
