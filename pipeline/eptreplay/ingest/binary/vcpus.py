"""Which vCPU a thread or a core becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from eptreplay.ingest.importing.dropped import BadRecordError
from eptreplay.ingest.trace.schema import VCPUS_MAX


class VcpuPer(StrEnum):
    """What becomes a vCPU."""

    SCHEDULED = "scheduled"
    """Threads share vCPUs: one that begins takes the lowest that no thread holds at that time, until it ends."""
    THREAD = "thread"
    CORE = "core"


@dataclass(slots=True)
class Vcpus:
    """vCPUs given away so far, for all inputs of an import.

    Args:
        per: what becomes a vCPU.
        held: vCPU of each thread or core that holds one.
        free_from: of vCPUs that are free, the time since when.
    """

    per: VcpuPer
    held: dict[int, int] = field(default_factory=dict)
    free_from: dict[int, int] = field(default_factory=dict)

    def begin(self, holder: int, time: int, where: str) -> int:
        """Return the vCPU of a thread or core, a new one if it has none.

        Args:
            holder: number of the thread or core.
            time: when it begins.
            where: place of the record, for the message.

        Raises:
            BadRecordError: there are no more vCPUs.
        """
        vcpu = self.held.get(holder)
        if vcpu is None:
            free = [number for number, since in self.free_from.items() if since <= time]
            vcpu = min(free, default=len(self.held) + len(self.free_from))
            if vcpu == VCPUS_MAX:
                raise BadRecordError(f"more {self._holders()} than there can be vCPUs, {VCPUS_MAX:,}", where)
            self.free_from.pop(vcpu, None)
            self.held[holder] = vcpu
        return vcpu

    def end(self, holder: int, time: int) -> None:
        """Take back the vCPU of a thread that ends, where threads share them."""
        if self.per is VcpuPer.SCHEDULED and holder in self.held:
            self.free_from[self.held.pop(holder)] = time

    def _holders(self) -> str:
        return "cores" if self.per is VcpuPer.CORE else "threads"
