"""Imports run one way, as docs/architecture.md draws them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[1] / "pipeline" / "eptreplay"

# What each part of the package may import of it, beside itself.
ALLOWED: dict[str, set[str]] = {
    "": set(),
    "__main__": {"cli"},
    "cli": {
        "",
        "cli_errors",
        "cli_options",
        "cli_values",
        "commands",
        "effects",
        "request",
        "safe_text",
        "signals",
        "streams",
        "errors",
    },
    "cli_options": {"cli_values"},
    "cli_values": {"errors"},
    "cli_errors": {"errors"},
    "effects": {"ingest", "request", "errors"},
    "request": {"analysis", "host", "options", "units"},
    "commands": {
        "console",
        "effects",
        "failures",
        "request",
        "batch",
        "bench",
        "bench_wide",
        "conform",
        "guest",
        "host",
        "ingest",
        "memory_fit",
        "output",
        "pages",
        "leftovers",
        "lock",
        "signals",
        "options",
        "partition",
        "report",
        "profiles",
        "units",
        "errors",
    },
    "failures": {"errors"},
    "batch": {
        "",
        "failures",
        "output",
        "pages",
        "written",
        "results",
        "guest",
        "guest_result",
        "partition",
        "host_replay",
        "ingest",
        "options",
        "report",
        "profiles",
        "errors",
    },
    "bench_wide": {"bench", "guest", "ingest", "model", "options", "profiles"},
    "tlb_shapes": {"model", "pmap_choice", "profiles"},
    "bench": {"", "guest", "host", "host_replay", "cuts", "ingest", "options", "profiles", "units"},
    "conform": {
        "effects",
        "profiles",
        "snapshots",
        "guest",
        "merge",
        "options",
        "cuts",
        "ingest",
        "model",
        "units",
        "errors",
    },
    "output": {"beside", "lock", "written", "report", "signals", "errors"},
    "pages": {"beside", "written", "report", "signals", "errors"},
    "leftovers": {"beside", "lock", "written", "report", "errors"},
    "written": {"report", "errors"},
    "lock": {"beside", "errors"},
    "beside": set(),
    "signals": set(),
    "results": {
        "analysis",
        "findings",
        "guest",
        "guest_result",
        "host_results",
        "model",
        "report",
        "snapshots",
    },
    "findings": {"analysis", "guest", "guest_result", "model", "options", "report", "snapshots", "units"},
    "analysis": set(),
    "pmap_choice": {"profiles"},
    "guest_result": {"given_back", "guest", "host_replay", "ingest", "model", "options", "snapshots"},
    "feed": {"activity", "cuts", "ingest", "options"},
    "partition": {
        "cuts",
        "feed",
        "guest",
        "guest_result",
        "ingest",
        "model",
        "options",
        "pmap_choice",
        "shared_steps",
        "shares",
        "snapshots",
    },
    "shared_steps": set(),
    "shares": {"guest_result", "snapshots"},
    "guest": {
        "compiled",
        "given_back",
        "guest_result",
        "pmap_choice",
        "other_writers",
        "profiles",
        "tlb_shapes",
        "cuts",
        "feed",
        "events",
        "host_replay",
        "ingest",
        "model",
        "options",
        "snapshots",
        "units",
        "errors",
    },
    "options": {"analysis", "cuts", "host", "host_replay", "ingest", "units", "errors"},
    "host": {"model", "units", "errors"},
    "memory_fit": {"host", "ingest", "model", "units", "errors"},
    "shared_host": {"errors", "ingest"},
    "host_replay": {
        "shared_host",
        "guest_result",
        "pmap_choice",
        "activity",
        "cuts",
        "events",
        "guest",
        "host",
        "ingest",
        "merge",
        "model",
        "options",
        "snapshots",
        "units",
        "errors",
    },
    "host_results": {"guest", "guest_result", "host_replay", "model", "report"},
    "snapshots": {"model"},
    "other_writers": {"events", "ingest", "model", "snapshots"},
    "given_back": {"analysis", "events", "ingest", "model"},
    "merge": {"events", "guest", "ingest", "model"},
    "events": {"guest", "ingest", "model", "options", "errors"},
    "activity": {"ingest"},
    "cuts": {"ingest"},
    "ingest": {"compiled", "errors"},
    "model": {"compiled"},
    "compiled": {"kernel_files"},
    "kernel_files": set(),
    "report": {"profiles", "safe_text", "units", "errors"},
    "profiles": {"errors"},
    "units": {"errors"},
    "console": {"safe_text"},
    "streams": {"safe_text", "errors"},
    "safe_text": set(),
    "errors": set(),
}
MODEL_NEEDS = {"llvmlite", "numba", "numpy"}  # llvmlite is what numba makes code with


def part_of(path: Path) -> str:
    """Return the part of the package that a file belongs to: a module at its root, or a folder."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of every module, and of every name taken from one, that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called_names(path: Path) -> Iterator[str]:
    """Yield the bare name of every function that a file calls by one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[path.relative_to(PACKAGE).as_posix() for path in FILES])
def test_a_file_imports_only_what_stands_below_it(path: Path) -> None:
    part = part_of(path)
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "eptreplay":
            head = rest.split(".")[0]
            target = head if head in ALLOWED else ""
            assert target == part or target in ALLOWED[part], f"{part} imports {name}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "model").glob("*.py")), ids=lambda path: path.name)
def test_the_model_needs_numba_and_numpy_and_does_no_input_or_output(path: Path) -> None:
    packages = {name.split(".")[0] for name in imports(path)} - {"eptreplay"}
    third_party = packages - sys.stdlib_module_names
    assert third_party <= MODEL_NEEDS
    assert not packages & {"os", "io", "pathlib", "shutil", "sys", "tempfile"}
    assert not set(called_names(path)) & {"open", "print", "input", "exec", "eval"}


def test_every_part_of_the_package_is_in_the_table() -> None:
    assert {part_of(path) for path in FILES} == ALLOWED.keys()


def test_the_source_root_is_no_package(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import pipeline"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "No module named 'pipeline'" in found.stderr
