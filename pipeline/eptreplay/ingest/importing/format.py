"""How a format is described: what the registry knows of each importer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from eptreplay.ingest.importing.dropped import Dropped
    from eptreplay.ingest.importing.records import Records
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.ingest.trace.schema import Segment


class Approximated(StrEnum):
    """What a trace does not have as it was; the file's metadata says so, and the report repeats it on top."""

    SAMPLED = "sampled: most accesses are missing"
    FAULTS_ONLY = "faults only: accesses that did not fault are missing"
    NO_SIZE = "no sizes: an access is taken to stay in its page"
    NO_TIME = "no times: the number of an access stands for its time"
    NO_VCPU = "no vCPUs: all accesses are vCPU 0's"
    THREADS_SCHEDULED = "threads of a process stand for vCPUs"
    VIRTUAL = "virtual addresses: pages of memory are numbered as they are first touched"
    NO_FETCHES = "no instruction fetches: they are missing"
    NO_WRITES = "reads only: nothing says what was written"
    DEVICES_ONLY = (
        "device accesses only: ports and registers stand where memory would, accesses to memory are missing"
    )
    REGIONS = "regions with counts, not accesses"
    MEMORY = "memory: what was touched, as nothing says how much there is"


LONGEST_ACCESS = 1 << 20
"""Bytes. The longest instructions (XSAVE with tiles) access some 11 KB; device packets may be longer."""
ANY_LENGTH = (1 << 32) - 1
"""For records that stand for a whole range: bytes that their column can hold."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the records of a trace are.

    Args:
        record: one record in words: "one memory access of a process".
        approximated: what it does not have as it was.
        virtual: whether addresses are a process's, and become guest-physical by first touch or by a page map.
        time_unit: of `Records.time`, one of `trace.schema.TIME_UNITS`; None: no times.
        metadata: further keys of the file's metadata.
        segments: the guest's memory, where the input states it; empty: it is what was touched.
        longest: bytes that one record may cover: a larger size is a damaged one.
        vcpus: how many the guest has, where the input states it; 0: as many as made accesses.
    """

    record: str
    approximated: tuple[Approximated, ...] = ()
    virtual: bool = False
    time_unit: str | None = None
    metadata: Mapping[str, str] | None = None
    segments: tuple[Segment, ...] = ()
    vcpus: int = 0
    longest: int = LONGEST_ACCESS


class Reader(Protocol):
    """Reads one input of a format, chunk by chunk."""

    def __call__(self, stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        """Yield the accesses of an input in chunks of at most a few MB, in constant memory.

        Args:
            stream: decompressed bytes; may not be seekable.
            dropped: takes what is no access, and what is wrong.

        Raises:
            BadRecordError: a record is wrong, and bad ones are not to be left out.
        """


@dataclass(frozen=True, slots=True)
class Opened:
    """An importer with its options applied.

    Args:
        origin: what the records are.
        read: reads an input.
        beside: whether several inputs ran beside each other, as threads do: their records are put in order by their times.
    """

    origin: Origin
    read: Reader
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """A format that can be imported.

    Args:
        name: on the command line: `lackey`.
        title: in words, with the tool that writes it.
        options: names of the import options (`options.IMPORT_OPTIONS`) that mean something to it.
        open: applies options, by name, to the format; none of them is one that `options` does not have. It raises
            UsageError where a value makes no sense.
        guess: whether the first bytes of an input, at most 64 KB, can be nothing else; None: it cannot be told from content.
        refused: why it cannot become a trace; empty: it can.
        open_with: like `open`, with the first bytes of the first input, at most 64 KB, for a format whose content decides
            what its records are; None: `open` does.
    """

    name: str
    title: str
    options: frozenset[str]
    open: Callable[[Mapping[str, str]], Opened]
    guess: Callable[[bytes], bool] | None
    refused: str = ""
    open_with: Callable[[Mapping[str, str], bytes], Opened] | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """A format that a native trace can be turned into.

    Args:
        name: on the command line: `csv`.
        title: in words, with the tool that reads it.
        lost: what of a native trace it has no place for, in words; empty: nothing.
        write: writes all rows of a trace, in constant memory, to a stream; returns the records written. What it raises
            ends the export, and nothing is left under the name of the output.
    """

    name: str
    title: str
    lost: str
    write: Callable[[GuestTrace, BinaryIO], int]
