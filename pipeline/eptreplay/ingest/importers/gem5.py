"""gem5's packet traces: what CommMonitor and MemTraceProbe write, protocol buffers after the letters `gem5`.

Layout: src/proto/packet.proto and protoio.cc of gem5; commands: src/mem/packet.hh of gem5 24.0, where those up to WriteReq have
had their numbers since 2014.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from eptreplay.ingest.binary.blocks import BLOCK_BYTES, EMPTY, at_byte, read_full
from eptreplay.ingest.importing.dropped import BadRecordError
from eptreplay.ingest.importing.format import Approximated, Format, Opened, Origin
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.scans import gem5_scan as scan
from eptreplay.ingest.trace.schema import VCPUS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from eptreplay.ingest.importing.dropped import Dropped

MAGIC = b"gem5"

COMMANDS = [
    "InvalidCmd",
    "ReadReq",
    "ReadResp",
    "ReadRespWithInvalidate",
    "WriteReq",
    "WriteResp",
    "WriteCompleteResp",
    "WritebackDirty",
    "WritebackClean",
    "WriteClean",
    "CleanEvict",
    "SoftPFReq",
    "SoftPFExReq",
    "HardPFReq",
    "SoftPFResp",
    "HardPFResp",
    "WriteLineReq",
    "UpgradeReq",
    "SCUpgradeReq",
    "UpgradeResp",
    "SCUpgradeFailReq",
    "UpgradeFailResp",
    "ReadExReq",
    "ReadExResp",
    "ReadCleanReq",
    "ReadSharedReq",
    "LoadLockedReq",
    "StoreCondReq",
    "StoreCondFailReq",
    "StoreCondResp",
    "LockedRMWReadReq",
    "LockedRMWReadResp",
    "LockedRMWWriteReq",
    "LockedRMWWriteResp",
    "SwapReq",
    "SwapResp",
    "MessageReq",
    "MessageResp",
    "MemFenceReq",
    "MemSyncReq",
    "MemSyncResp",
    "MemFenceResp",
    "CleanSharedReq",
    "CleanSharedResp",
    "CleanInvalidReq",
    "CleanInvalidResp",
    "InvalidDestError",
    "BadAddressError",
    "ReadError",
    "WriteError",
    "FunctionalReadError",
    "FunctionalWriteError",
    "PrintReq",
    "FlushReq",
    "InvalidateReq",
    "InvalidateResp",
    "HTMReq",
    "HTMReqResp",
    "HTMAbort",
    "TlbiExtSync",
]
"""Names by number."""

_READS = ["ReadReq", "ReadExReq", "ReadCleanReq", "ReadSharedReq", "LoadLockedReq", "LockedRMWReadReq"]
_WRITES = ["WriteReq", "WritebackDirty", "WriteClean", "WriteLineReq", "StoreCondReq", "LockedRMWWriteReq"]
_BOTH = ["SwapReq"]

_CHUNK = 1 << 16
_NS = 1_000_000_000
_MOST_SECONDS = 2**64 // _NS
_CPU = re.compile(r"cpus?(\d+)")
_BLOCK_MOST = 4 * BLOCK_BYTES


class Header(NamedTuple):
    """The first message.

    Args:
        tick_freq: ticks a second.
        vcpus: vCPU of a requestor by its number: the N of a name such as system.cpuN.data.
        end: the byte after it.
    """

    tick_freq: int
    vcpus: Mapping[int, int]
    end: int


def _open(_: Mapping[str, str]) -> Opened:
    return _opened()


def _open_with(_: Mapping[str, str], head: bytes) -> Opened:
    """Say of a trace that names no CPU as a requestor, as its first bytes show, that it has no vCPUs."""
    try:
        named = read_header(head).vcpus
    except BadRecordError:
        return _opened()
    return _opened() if named else _opened(Approximated.NO_VCPU)


def _opened(*missing: Approximated) -> Opened:
    return Opened(
        Origin(
            record="one memory request of gem5 at the place where it was monitored; a swap is a read and a write",
            approximated=missing,
            time_unit="ns",
            metadata={
                "vcpus_are": "CPUs that the trace names as requestors (system.cpuN); 0 where it names none",
                "time_is": "the tick in nanoseconds, rounded down",
            },
        ),
        _read,
    )


def _read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
    data = read_full(stream, BLOCK_BYTES)
    header = read_header(data)
    reader = _Reader(header, dropped)
    offset, begin = 0, header.end
    while True:
        block = np.frombuffer(data, np.uint8)
        while True:
            records, begin, wrong = reader.packets(block, begin, offset)
            if len(records):
                yield records
            if not reader.is_full:
                break
        if wrong:
            reason = "no length of a message: it has more than 1 MB, or too many bytes"
            dropped.bad_records(f"{reason}; nothing after it can be read", 1, at_byte(offset + begin))
            return
        more = read_full(stream, BLOCK_BYTES)
        if not more:
            break
        offset += begin
        data, begin = data[begin:] + more, 0
    if begin < len(data):
        dropped.bad_records("the input ends within a message: it was cut off", 1, at_byte(offset + begin))


class _Reader:
    """Reads the packets behind a header."""

    def __init__(self, header: Header, dropped: Dropped) -> None:
        self._header = header
        self._dropped = dropped
        self._kinds = kinds()
        self._found = scan.Packets(
            address=np.empty(_CHUNK, np.uint64),
            op=np.empty(_CHUNK, np.uint8),
            tick=np.empty(_CHUNK, np.uint64),
            size=np.empty(_CHUNK, np.uint32),
            requestor=np.empty(_CHUNK, np.uint64),
            begin=np.empty(_CHUNK, np.int32),
        )
        self._vcpu = np.zeros(max(header.vcpus, default=-1) + 2, np.uint16)
        for requestor, vcpu in header.vcpus.items():
            self._vcpu[requestor] = vcpu
        self.is_full = False

    def packets(self, block: NDArray[np.uint8], begin: int, offset: int) -> tuple[Records, int, bool]:
        """Return accesses from a byte on, where the next message begins, and whether its length is wrong."""
        left, first = np.zeros(scan.SLOTS, np.int64), np.zeros(scan.SLOTS, np.int64)
        fields, ends = np.zeros(8, np.uint64), np.zeros(2, np.int64)
        found = self._found
        count = int(scan.scan_packets(block, begin, self._kinds, found, left, first, fields, ends))
        self.is_full = count + 2 > _CHUNK
        self._report(left, first, offset)
        starts = found.begin[:count].copy()
        requestor = np.minimum(found.requestor[:count], np.uint64(len(self._vcpu) - 1))
        records = Records(
            address=found.address[:count].copy(),
            op=found.op[:count].copy(),
            time=nanoseconds(found.tick[:count], self._header.tick_freq),
            vcpu=self._vcpu[requestor.astype(np.intp)],
            size=found.size[:count].copy(),
            place=lambda index: at_byte(offset + int(starts[index])),
        )
        return records, int(ends[0]), bool(ends[1])

    def _report(self, left: NDArray[np.int64], first: NDArray[np.int64], offset: int) -> None:
        """Hand on what was left out.

        Raises:
            BadRecordError: a message is wrong, and bad ones are not to be left out.
        """
        for slot in np.flatnonzero(left):
            where, count = at_byte(offset + int(first[slot])), int(left[slot])
            if slot < len(COMMANDS):
                self._dropped.leave_out(f"packet {COMMANDS[slot]}", count, where)
            elif slot == scan.NO_BYTES:
                self._dropped.leave_out("packet of no bytes", count, where)
            elif slot == scan.BAD_MESSAGE:
                self._dropped.bad_records("a message that is no packet", count, where)
            elif slot == scan.MISSING_FIELD:
                reason = "a packet without tick, cmd, addr or size, or of 4 GB and more"
                self._dropped.bad_records(reason, count, where)
            else:
                reason = f"a command that gem5 does not have, above {len(COMMANDS) - 1}"
                self._dropped.bad_records(reason, count, where)


def kinds() -> NDArray[np.uint8]:
    """Return what each command is, by its number."""
    table = np.full(scan.COMMANDS, scan.SKIPPED)
    for names, kind in ((_READS, scan.READS), (_WRITES, scan.WRITES), (_BOTH, scan.BOTH)):
        table[[COMMANDS.index(name) for name in names]] = kind
    return table


def nanoseconds(tick: NDArray[np.uint64], tick_freq: int) -> NDArray[np.uint64]:
    """Return ticks as nanoseconds, rounded down; the highest number stands for what is higher.

    Args:
        tick: uint64.
        tick_freq: ticks a second; at most 2^34, or a multiple of 10^9.
    """
    if tick_freq % _NS == 0:
        return tick // np.uint64(tick_freq // _NS)
    seconds, rest = np.divmod(tick, np.uint64(tick_freq))
    found: NDArray[np.uint64] = seconds * np.uint64(_NS) + rest * np.uint64(_NS) // np.uint64(tick_freq)
    return np.where(seconds < np.uint64(_MOST_SECONDS), found, np.uint64(2**64 - 1))


def read_header(data: bytes) -> Header:
    """Read the letters and the first message.

    Args:
        data: the first bytes of an input.

    Raises:
        BadRecordError: it is no packet trace.
    """
    if not data:
        raise BadRecordError(EMPTY, at_byte(0))
    if data[:4] != MAGIC:
        wrong = ": their bytes are in the wrong order" if data[:4] == MAGIC[::-1] else ""
        raise BadRecordError(f"it does not begin with the letters gem5{wrong}", at_byte(0))
    try:
        length, begin = _varint(data, 4)
        fields = list(_fields(data[begin : begin + length]))
        if begin + length > len(data):
            raise ValueError  # noqa: TRY301 - as what reads its fields does
        numbers = {number: value for number, value in fields if isinstance(value, int)}
        names = [dict(_fields(value)) for number, value in fields if number == 4 and isinstance(value, bytes)]
    except (IndexError, ValueError) as error:
        raise BadRecordError("its first message is no PacketHeader", at_byte(4)) from error
    tick_freq = numbers.get(3, 0)
    if not tick_freq or (tick_freq % _NS and tick_freq >> 34):
        raise BadRecordError(
            f"its ticks a second are {tick_freq:,}, of which no time can be made", at_byte(4)
        )
    return Header(tick_freq, _vcpus(names), begin + length)


def _vcpus(names: list[dict[int, int | bytes]]) -> dict[int, int]:
    """Return the vCPU of every requestor that is a CPU by its name."""
    found: dict[int, int] = {}
    for entry in names:
        key, name = entry.get(1, 0), entry.get(2, b"")
        if isinstance(key, int) and isinstance(name, bytes) and key < VCPUS_MAX:
            cpu = _CPU.search(name.decode("utf-8", "replace"))
            if cpu and int(cpu[1]) < VCPUS_MAX:
                found[key] = int(cpu[1])
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number and where it ends.

    Raises:
        IndexError: the bytes end before it.
        ValueError: it has more than ten bytes.
    """
    value = 0
    for number in range(10):
        byte = data[at + number]
        value |= (byte & 127) << 7 * number
        if byte < 128:
            return value, at + number + 1
    raise ValueError


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a message: number and value.

    Raises:
        IndexError: the bytes end within a field.
        ValueError: there is no such wire type.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in {1, 5}:
            length = 8 if wire == 1 else 4
        else:
            raise ValueError
        if at + length > len(data):
            raise IndexError
        yield number, data[at : at + length]
        at += length


FORMAT = Format(
    name="gem5",
    title="gem5 packet traces (CommMonitor, MemTraceProbe; .ptrc.gz, .trc.gz)",
    options=frozenset(),
    open=_open,
    open_with=_open_with,
    guess=lambda head: head[:4] == MAGIC,
)
