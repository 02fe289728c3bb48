"""A small valid input of every format: made here, from a test's own writer of the layout, or a real excerpt in samples/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.ingest.test_cache_traces import header as lcs_header
from tests.ingest.test_cache_traces import oracle
from tests.ingest.test_import_champsim import program
from tests.ingest.test_import_drmemtrace import END, READ, WRITE, begin, entry
from tests.ingest.test_import_gem5 import header as gem5_header
from tests.ingest.test_import_gem5 import packet
from tests.ingest.test_qemu_plugin import GOOD as CAPTURED
from tests.ingest.test_qemu_plugin import HEADER as CAPTURE_HEADER
from tests.ingest.test_qemu_plugin import end as capture_end
from tests.ingest.test_qemu_plugin import record as captured

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLES = Path(__file__).parent / "samples"


@dataclass(frozen=True)
class Example:
    """An input of a format.

    Args:
        data: its bytes.
        options: that its import needs.
        records: accesses in it, counted otherwise.
        cut: bytes from the end at which it is damaged for sure.
        guessed: whether its format can be told from it.
        text: whether it consists of lines.
        any_bytes: whether bytes of any value are a record of the format, so that garbage within goes unnoticed.
    """

    data: bytes
    records: int
    options: tuple[str, ...] = ()
    cut: int = 3
    guessed: bool = True
    text: bool = True
    any_bytes: bool = False


def lines(*each: str) -> bytes:
    return "".join(f"{line}\n" for line in each).encode()


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def count(name: str, *marks: str) -> int:
    """Return how often any of some texts stands in a sample."""
    return sum(sample(name).count(mark.encode()) for mark in marks)


KVM = lines(
    "# tracer: nop",
    " CPU 0/KVM-77 [003] d..1. 100.000001: kvm_page_fault: vcpu 0 rip 0xffffffff81000000 address 0x0000000012345678 error_code 0x182",
    " CPU 1/KVM-78 [001] d..1. 100.000002: kvm_page_fault: vcpu 1 rip 0xffffffff81000000 address 0x0000000012345678 error_code 0x184",
    "  qemu 12/79 [000] 101.5: kvm:fast_page_fault: vcpu 1 gva 5000 error_code P|W|U sptep 0xff old 0 new 1 spurious 0 fixed 1",
    "  qemu 12/79 [000] 101.6: kvm:kvm_exit: vcpu 1 reason EPT_VIOLATION rip 0x1",
    " CPU 0/KVM-77 [003] d..1. 102.000001: kvm_page_fault: vcpu 0 rip 0xffffffff81000000 address 0x0000000000001000 error_code 0x181",
)
VIEW = lines(
    "Output format:",
    "<--record#-> <--instr#->: <---tid---> <record details>",
    "------------------------------------------------------------",
    "           1           0:     2765542 <marker: version 6>",
    "       47742       37769:     2765543 ifetch       6 byte(s) @ 0x0000000000404a78 0f 84 5b 01 00 00    jz     $0x0000000000404bd9",
    "       47743       37769:     2765543 read         8 byte(s) @ 0x00007f8881e37c70 by PC 0x0000000000404a78",
    "       47744       37769:     2765542 write        8 byte(s) @ 0x00007f8881e37ffc by PC 0x0000000000404a78",
)
PERF_MEM = lines(
    " ls 14753 [001]  3678.072400:     1 cpu/mem-loads,ldlat=30/P:  7ffdf1391b0c    88000182 |OP LOAD|LVL L1 miss|SNP N/A|TLB Walker hit",
    " ls 14753 [000]  3678.072401:     1 cpu/mem-stores/P:  7ffdf1391b10    88000184 |OP STORE|LVL L1 miss|SNP N/A|TLB Walker hit",
)
QEMU_MEM = lines(
    "insn_vaddr,insn_symbol,mem_vaddr,mem_hwaddr,access_size,access_type,mem_value",
    "0xffffffff81000000,start_kernel,0xffff888000001000,0x1000,64,store,0x0000000000000001",
    "0xffffffff81000004,,0xffff888000001ffc,0x1ffc,64,load,0x0000000000000001",
    "0xffffffff81000008,,0xffff888000001000,0x1000,8,load,0x01",
)
MEMTRACE = begin() + entry(READ, 8, 0x7FFF0000) + entry(WRITE, 2, 0x7FFF0008) + END
ORACLE = oracle(*((second, 7 + second % 3, 4096, second + 3 if second < 5 else -1) for second in range(8)))

EXAMPLES: Mapping[str, Example] = {
    "text": Example(
        lines("time,vcpu,op,gpa,size", "10,0,R,0x1000,8", "20,1,w,4096,4", "30,1,fetch,0x2ffe,4"),
        3,
        cut=5,
        guessed=False,
    ),
    "pinatrace": Example(lines("0x7f1a: R 0x7ffe10", "0x7f1c: W 0x7ffe18", "0x7f1e: R 0x7ffe10", "#eof"), 3),
    "perf-mem": Example(PERF_MEM, 2),
    "drmemtrace": Example(MEMTRACE, 2, text=False),
    "drmemtrace-view": Example(VIEW, 3),
    "champsim": Example(
        program(64, 50), -1, ("--record-bytes", "64"), guessed=False, text=False, any_bytes=True
    ),
    "gem5": Example(
        gem5_header() + packet(1_000, 1, 0x1000, 64) + packet(2_000, 4, 0x2000, 8), 2, text=False
    ),
    "lackey": Example(
        sample("lackey.txt"),
        sum(1 if line[:2] != b" M" else 2 for line in sample("lackey.txt").splitlines() if line[:1] in b"I "),
    ),
    "qemu-plugin": Example(
        CAPTURE_HEADER + b"".join(captured(*row) for row in CAPTURED) + capture_end(len(CAPTURED)),
        len(CAPTURED),
        text=False,
    ),
    "qemu-mem": Example(QEMU_MEM, 3, ("--qemu-version", "9.2")),
    "qemu-execlog": Example(
        sample("qemu-execlog.txt"),
        count("qemu-execlog.txt", ", load, ", ", store, "),
        ("--qemu-version", "7.2"),
    ),
    "qemu-memory-region-ops": Example(
        sample("qemu-memory-region-ops.txt"), count("qemu-memory-region-ops.txt", "_read cpu", "_write cpu")
    ),
    "kvm": Example(KVM, 3),
    "page-faults": Example(
        sample("page-faults-ftrace.txt"), count("page-faults-ftrace.txt", "page_fault_user: ")
    ),
    "bhyve-faults": Example(
        lines("100 0 0x1000 0x181", "200 1 0x2000 0x182", "300 0 0x3000 0x184"), 3, guessed=False
    ),
    "damon": Example(
        sample("damon.txt"),
        sum(line.split()[-2] != b"0" for line in sample("damon.txt").splitlines()),
    ),
    "oracleGeneral": Example(ORACLE, 8, cut=5, text=False, any_bytes=True),
    "lcs": Example(
        lcs_header(1) + b"".join(oracle((second, 7, 4096, -1)) for second in range(4)),
        4,
        cut=5,
        text=False,
        any_bytes=True,
    ),
}
"""By name of the format."""
