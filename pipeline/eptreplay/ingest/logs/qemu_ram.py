"""Addresses of an older QEMU's plugins: offsets in the memory of a PC, which has a hole for PCI below 4 GiB."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from eptreplay.errors import UsageError
from eptreplay.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

PHYSICAL_SINCE = (8, 2)
"""The first version whose plugins see guest-physical addresses."""
SURE_BELOW = 2 << 30
"""No PC that QEMU makes has its hole below this."""
FOUR_GIB = 4 << 30
UNSURE = "an offset in memory from 2 GiB on: it may lie above the hole for PCI; say with --pci-hole where that begins"


class QemuRam:
    """Where offsets in a PC's memory lie.

    Args:
        hole: first byte of the hole; None: nobody says.
        physical: whether addresses are guest-physical as they are.
    """

    def __init__(self, hole: int | None, *, physical: bool) -> None:
        self._hole = hole
        self._physical = physical

    def unsure(self, offset: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which offsets may lie above the hole or below it."""
        return (offset >= np.uint64(SURE_BELOW)) & np.bool_(self._hole is None and not self._physical)

    def physical(self, offset: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return guest-physical addresses."""
        if self._hole is None or self._physical:
            return offset
        moved: NDArray[np.uint64] = np.where(
            offset >= np.uint64(self._hole), offset + np.uint64(FOUR_GIB - self._hole), offset
        )
        return moved


def qemu_ram(options: Mapping[str, str]) -> QemuRam:
    """Return what the options `qemu-version` and `pci-hole` say.

    Raises:
        UsageError: the version is missing or none, or the hole is no place below 4 GiB or has no effect.
    """
    text = options.get("qemu-version")
    if text is None:
        raise UsageError(
            "give --qemu-version X.Y, that of the QEMU that wrote the log: from 8.2 on its addresses are guest-physical, before "
            "they are offsets in its memory ('qemu-system-x86_64 --version' shows it)"
        )
    match = re.fullmatch(r"([0-9]{1,3})\.([0-9]{1,3})(\.[0-9.]+)?", text)
    if match is None:
        raise UsageError(f"--qemu-version is '{text}'; give it as in 7.2")
    physical = (int(match[1]), int(match[2])) >= PHYSICAL_SINCE
    if "pci-hole" not in options:
        return QemuRam(None, physical=physical)
    if physical:
        raise UsageError(
            f"--pci-hole has no effect on a log of QEMU {text}: its addresses are guest-physical"
        )
    hole = parse_size(options["pci-hole"])
    if not SURE_BELOW <= hole <= FOUR_GIB:
        raise UsageError(
            f"--pci-hole is '{options['pci-hole']}'; the memory of a PC below 4 GiB ends at 2 GiB or above"
        )
    return QemuRam(hole, physical=False)
