"""Imports run one way: a room of the package imports only rooms of lower layers (docs/architecture.md, Rooms)."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKAGE = Path(__file__).parents[1] / "pipeline" / "eptreplay"

LAYERS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "": (
        ("errors",),
        ("kernel_files", "safe_text", "units"),
        ("compiled", "profiles", "request", "tables"),
        ("analysis",),
        ("ingest", "model", "report"),
        ("replay",),
        ("results",),
        ("bench", "conform", "run"),
        ("cli",),
        ("__main__",),
    ),
    "cli": (
        ("command_table", "console", "json_output", "options", "streams"),
        ("errors", "import_options", "pages", "run_folder", "traces"),
        (
            "bench",
            "check",
            "clean",
            "compare",
            "conform",
            "export_trace",
            "import_traces",
            "inspect",
            "pack",
            "profiles",
            "replay_traces",
            "report",
            "summary",
            "synth",
        ),
        ("replay",),
        ("batch",),
        ("batch_parts",),
        ("commands",),
        ("app",),
    ),
    "ingest": (
        ("trace",),
        ("stores", "taking"),
        ("parquet",),
        ("native", "scans"),
        ("importing", "inspecting", "packing"),
        ("logs",),
        ("binary",),
        ("exporters", "importers", "sources", "synth"),
    ),
    "model": (
        ("_numba",),
        ("state",),
        ("page", "statistics"),
        ("pmap",),
        ("cpu",),
        ("vm",),
        ("access_loop", "instances", "recorded"),
    ),
    "replay": (
        ("rows", "shared_host", "state"),
        ("found",),
        ("events",),
        ("driver",),
        ("one_guest", "one_host"),
        ("shares",),
    ),
    "report": (
        ("read",),
        ("charts", "compare", "costs"),
        ("answers",),
        ("sections",),
        ("pages",),
        ("terminal",),
    ),
    "run": (
        ("beside", "effects", "failures", "give_back", "memory_fit", "signals", "written"),
        ("description", "lock", "unfinished"),
        ("leftovers", "output", "pages", "units"),
        ("processes", "resumable"),
        ("parts",),
        ("batch",),
    ),
    "results": (
        ("columns",),
        (
            "faults",
            "findings",
            "host_memory",
            "invalidations",
            "pages",
            "summary",
            "swap_candidates",
            "translations",
            "wiring",
        ),
        ("tables",),
    ),
}
"""The rooms of every folder that has folders in it, the lowest layer first.

A room is a folder, or a file that stands beside folders.  It may import rooms of lower layers, and no other of its own.
"""

MODEL_NEEDS = {"llvmlite", "numba", "numpy"}  # llvmlite is what numba makes code with
HEAVY = ("numba", "numpy", "polars", "pyarrow")
OF_PROFILES = {
    "CostParameter",
    "Status",
    "cost_parameters",
    "daemon_note",
    "is_later",
    "sources",
    "superpages_note",
}
"""What `report` takes of the profiles: what an event costs, who says so, and whose superpages a replay shows."""


def module_of(path: Path) -> str:
    """Return the name of a file's module within the package; "" is the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODEL = {name: path for name, path in MODULES.items() if name.split(".")[0] == "model"}


@cache
def imported_names(path: Path) -> tuple[str, ...]:
    """Return the full name of every module, and of every name taken from one, that a file imports, for types alone or not."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += (f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(found)


def own_imports(module: str) -> set[str]:
    """Return the modules of the package that one of them imports."""
    found = set()
    for name in imported_names(MODULES[module]):
        parts = name.split(".")
        if parts[0] == "eptreplay":
            while ".".join(parts[1:]) not in MODULES:
                parts.pop()
            found.add(".".join(parts[1:]))
    return found - {module}


def room_in(folder: str, module: str) -> str:
    """Return the room of a folder that a module of it stands in; "" is the folder's own `__init__.py`."""
    return module.removeprefix(folder).removeprefix(".").split(".")[0]


def common_folder(one: str, other: str) -> str:
    """Return the deepest folder that two modules stand in."""
    shared: list[str] = []
    for left, right in zip(one.split("."), other.split("."), strict=False):
        if left != right:
            break
        shared.append(left)
    name = ".".join(shared)
    return name if name == "" or MODULES[name].name == "__init__.py" else ".".join(shared[:-1])


def misplaced() -> Iterator[str]:
    """Yield every import that goes up, or to a room of the same layer."""
    for module in MODULES:
        for target in own_imports(module):
            folder = common_folder(module, target)
            if folder not in LAYERS:
                continue
            level = {room: number for number, layer in enumerate(LAYERS[folder]) for room in layer}
            here, there = room_in(folder, module), room_in(folder, target)
            if here == "" or (there != "" and level[there] >= level[here]):
                yield f"{module} imports {target}: {folder or 'eptreplay'} has {there} no lower than {here or '__init__'}"


def rooms_of(folder: str) -> set[str]:
    """Return the folders and files of a folder that hold code."""
    place = PACKAGE.joinpath(*folder.split(".")) if folder else PACKAGE
    return {path.parent.name for path in place.glob("*/__init__.py")} | {
        path.stem for path in place.glob("*.py") if path.name != "__init__.py"
    }


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the nodes of a graph that stand in a circle or lead into one."""
    left = {node: targets - {node} for node, targets in graph.items()}
    while free := {node for node, targets in left.items() if not targets & left.keys()}:
        left = {node: targets for node, targets in left.items() if node not in free}
    return sorted(left)


def folder_of(module: str) -> str:
    """Return the folder that a module's file stands in; a file beside folders is a room for itself."""
    folder = module.rpartition(".")[0]
    return module if MODULES[module].name == "__init__.py" or folder in LAYERS else folder


def test_a_room_imports_only_rooms_of_lower_layers() -> None:
    assert list(misplaced()) == []


def test_every_room_stands_in_one_layer_and_every_layer_has_rooms_that_exist() -> None:
    with_folders = {module_of(path.parents[1] / "__init__.py") for path in PACKAGE.glob("*/**/__init__.py")}
    assert with_folders == LAYERS.keys()
    for folder, layers in LAYERS.items():
        listed = [room for layer in layers for room in layer]
        assert sorted(listed) == sorted(rooms_of(folder)), folder


def test_no_file_is_in_a_circle_of_imports() -> None:
    assert circle({module: own_imports(module) for module in MODULES}) == []


def test_no_folder_is_in_a_circle_of_imports() -> None:
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        graph.setdefault(folder_of(module), set()).update(map(folder_of, own_imports(module)))
    assert circle(graph) == []


def test_circles_are_found() -> None:
    assert circle({"a": {"b"}, "b": {"a"}, "c": {"a"}, "d": set()}) == ["a", "b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("module", MODEL)
def test_the_model_needs_numba_and_numpy_and_does_no_input_or_output(module: str) -> None:
    path = MODEL[module]
    assert {target.split(".")[0] for target in own_imports(module)} <= {"compiled", "model"}
    packages = {name.split(".")[0] for name in imported_names(path)} - {"eptreplay"}
    assert packages - sys.stdlib_module_names <= MODEL_NEEDS
    assert not packages & {"io", "os", "pathlib", "shutil", "sys", "tempfile"}
    calls = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]
    called = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    assert not called & {"eval", "exec", "input", "open", "print"}


def test_reports_know_tables_only_and_of_profiles_what_events_cost() -> None:
    known = {"errors", "report", "safe_text", "tables", "units"}
    for module, path in MODULES.items():
        if module.split(".")[0] == "report":
            rooms = {target.split(".")[0] for target in own_imports(module)}
            assert rooms <= known | {"profiles"}, module
            names = [name for name in imported_names(path) if name.startswith("eptreplay.profiles.")]
            assert {name.rpartition(".")[2] for name in names} <= OF_PROFILES, module


def test_requests_and_tables_know_nothing_of_what_carries_them_out() -> None:
    for module, path in MODULES.items():
        rooms = {target.split(".")[0] for target in own_imports(module)}
        if module.split(".")[0] == "tables":
            assert rooms <= {"errors", "safe_text", "tables", "units"}, module
        if module.split(".")[0] == "request":
            assert rooms <= {"errors", "request", "units"}, module
            assert not {name.split(".")[0] for name in imported_names(path)} & {"typer", *HEAVY}


@pytest.mark.parametrize("module", ["eptreplay.cli.app", "eptreplay.request.replay", "eptreplay.__main__"])
def test_importing_the_command_line_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_source_root_is_no_package(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import pipeline"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "No module named 'pipeline'" in found.stderr
