"""A guest recorded under QEMU's software emulation: what the plugin counts is what the trace has, and a replay of it runs.

Needs a C compiler, make, qemu-system-x86_64, a Linux bzImage and a static busybox (Debian: qemu-system-x86, linux-image-amd64,
busybox-static). QEMU, KERNEL and BUSYBOX name them where they are not on the PATH, in /boot and at /bin/busybox.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest
from tests.command_line import eptreplay

ROOT = Path(__file__).parents[1]
LIMIT = 3_000_000

pytestmark = pytest.mark.slow


def needed() -> dict[str, str]:
    """Return QEMU, kernel and busybox, or skip the test and say what is missing."""
    kernels = sorted(glob.glob("/boot/vmlinuz-*"))  # noqa: PTH207 - one line
    found = {
        "QEMU": os.environ.get("QEMU") or shutil.which("qemu-system-x86_64"),
        "KERNEL": os.environ.get("KERNEL") or (kernels[-1] if kernels else None),
        "BUSYBOX": os.environ.get("BUSYBOX") or shutil.which("busybox"),
    }
    missing = [name for name, path in found.items() if path is None or not os.access(path, os.R_OK)]
    missing += [name for name in ("cc", "make") if shutil.which(name) is None]
    if missing:
        pytest.skip(
            f"NO CAPTURE WAS TESTED: {', '.join(missing)} missing (docs/capture.md says where to get them)"
        )
    return {name: str(path) for name, path in found.items()}


def totals(said: str) -> dict[str, int]:
    """Return what the plugin counted."""
    (line,) = re.findall(r"gpa_capture: (records=.*)", said)
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line)}


def test_pages_that_the_plugin_counts_are_those_of_the_trace_and_it_replays(tmp_path: Path) -> None:
    tools = needed()
    plugin = tmp_path / "libgpa_capture.so"
    built = ["make", "-s", "capture", f"CAPTURE_LIB={plugin}", f"QEMU={tools['QEMU']}"]
    subprocess.run(built, cwd=ROOT, check=True, timeout=60)
    capture, trace = tmp_path / "guest.gpa", tmp_path / "guest.parquet"
    settings = {
        "PLUGIN": str(plugin),
        "QEMU": tools["QEMU"],
        "LIMIT": str(LIMIT),
        "SECONDS_MOST": "90",
        "MEMORY": "256",
        "VCPUS": "2",
    }
    done = subprocess.run(
        ["sh", "traces/capture/boot.sh", capture, tools["KERNEL"], tools["BUSYBOX"]],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counted = totals(done.stderr)
    assert counted["records"] == LIMIT
    answer = eptreplay("import", "qemu-plugin", capture, "-o", trace)
    assert answer.code == 0, answer.err
    rows = pl.read_parquet(trace)
    assert rows.height == LIMIT
    assert rows.select((pl.col("gpa") // 4096).n_unique()).item() == counted["pages"] > 100
    by_op = dict(rows.group_by("op").len().iter_rows())
    assert by_op == {0: counted["reads"], 1: counted["writes"], 2: counted["fetches"]}
    assert counted["reads"] + counted["writes"] + counted["fetches"] == LIMIT
    assert rows["time"].is_sorted()
    # Firmware runs from memory that it has copied itself to: what is fetched was written, if both are the same addresses.
    page = pl.col("gpa") // 4096
    fetched, written = (set(rows.filter(pl.col("op") == op).select(page).to_series()) for op in (2, 1))
    assert fetched
    assert fetched <= written
    assert eptreplay("check", trace).code == 0
    answer = eptreplay("replay", trace, "-p", "haswell", "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    summary = pl.read_parquet(tmp_path / "out/tables/summary.parquet")
    kinds = ("reads", "writes", "fetches")
    assert summary.select(*kinds, "unbacked", "pages_allocated").rows() == [
        (*(counted[kind] for kind in kinds), 0, counted["pages"])
    ]
