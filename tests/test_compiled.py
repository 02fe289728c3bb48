"""What the kernels rest on in numba: reference counting off, a cache that no change leaves stale, the plain-Python way."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np
import pytest

from eptreplay import compiled as jit
from eptreplay.model import instances
from eptreplay.model._numba.pointer import table_of_places
from eptreplay.model.state.fast_path import TOUCHED
from eptreplay.model.statistics.close_interval import close_interval
from eptreplay.model.statistics.intervals import new_interval_statistics
from eptreplay.model.vm.vm_limits import HostMemory

if TYPE_CHECKING:
    from eptreplay.model.state.state import State

compiling = pytest.mark.skipif(bool(jit.config.DISABLE_JIT), reason="nothing is compiled")

CACHE_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from eptreplay import compiled as jit
print(jit.CACHE_DIR)
"""


def cache_folder(source: Path, cache: Path, **environment: str) -> Path:
    """Return the folder of compiled code that a process with this source and environment uses."""
    found = subprocess.run(
        [sys.executable, "-c", CACHE_PROGRAM, str(source)],
        env=os.environ | {"EPTREPLAY_CACHE_DIR": str(cache)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(found.stdout.strip())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package's source."""
    package = Path(jit.__file__).parent
    shutil.copytree(package, tmp_path / "source" / "eptreplay", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "source"


def test_the_version_of_numba_is_the_one_that_was_measured() -> None:
    pinned = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"numba=={numba.__version__}"' in pinned


class Arrays(NamedTuple):
    """Arrays that are handed from function to function, as State is."""

    left: Any
    right: Any


def hands_on(arrays: Arrays, count: int) -> Arrays:
    """Take views of arrays and hand them back, which is what reference counting is for."""
    left, right = arrays.left[count:], arrays.right[count:]
    left[0] += 1
    return Arrays(right, left)


def machine_code(**options: bool) -> str:
    """Return what `hands_on` is compiled to."""
    compiled: Any = jit.njit(nogil=True, error_model="numpy", **options)(hands_on)
    compiled.compile(signature())
    return str(compiled.inspect_llvm(compiled.signatures[0]))


def signature() -> Any:  # noqa: ANN401 - a numba type
    """Return the types that `hands_on` is compiled for."""
    array = numba.int64[::1]
    types: Any = numba.types
    return (types.NamedUniTuple(array, 2, Arrays), numba.int64)


@compiling
def test_without_reference_counting_none_is_in_the_code() -> None:
    assert "NRT_incref" in machine_code()
    assert "NRT_incref" not in machine_code(_nrt=False)


@compiling
def test_kernels_are_compiled_without_reference_counting_and_without_the_interpreter_lock() -> None:
    for made in (jit.kernel, jit.entry_point):
        compiled: Any = made(hands_on)
        assert compiled.targetoptions["_nrt"] is False
        assert compiled.targetoptions["nogil"] is True
        assert compiled.targetoptions["error_model"] == "numpy"


def test_kernels_see_changes_made_outside_and_the_other_way_round() -> None:
    states = one_guest()
    statistics = new_interval_statistics(states.guests[0], np.array([[0, 512]]), 1, 1)
    statistics.open[0], states.fast_path[7] = 1, 1
    close_interval(states, statistics)
    assert statistics.tally.touched[0] == 1
    assert states.fast_path[7] & TOUCHED == 0


def one_guest() -> State:
    """Return an instance of a guest of 512 pages."""
    memory = [instances.GuestMemory(np.array([[0, 512]]), 1)]
    return instances.new_instances(np.array([1]), np.array([1]), memory, [HostMemory()], 1 << 32, 0)


@compiling
def test_an_array_that_is_not_what_compiled_code_takes_it_for_is_refused() -> None:
    fields = {"a": (np.dtype(np.int32), 2)}
    assert table_of_places(fields, [[np.zeros((3, 4), np.int32)]])[0, 1:].tolist() == [3, 4, 1]
    for wrong in (np.zeros(3, np.int32), np.zeros((3, 4)), np.zeros((4, 3), np.int32).T):
        with pytest.raises(TypeError, match="a is"):
            table_of_places(fields, [[wrong]])


PACKAGE = Path(jit.__file__).parent


def package_imports(file: Path) -> set[Path]:
    """Return the files of the package that a file imports when it runs, not for its types alone."""
    found = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for_types = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    skipped = {id(inner) for node in for_types for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.startswith("eptreplay."):
                path = PACKAGE.joinpath(*name.split(".")[1:])
                found |= {path.with_suffix(".py"), path / "__init__.py"}
    return {path for path in found if path.exists()}


def test_all_that_kernels_are_made_from_is_in_the_digest() -> None:
    """Every file that uses a decorator, or numba itself, and every file that such a file takes anything from."""
    files = set(PACKAGE.rglob("*.py"))
    own = {PACKAGE / "kernel_files.py"}  # where compiled code is kept does not change it
    needed = {
        file
        for file in files
        if PACKAGE / "compiled.py" in package_imports(file) or "numba" in imported_tops(file)
    }
    assert {
        PACKAGE / "model/cpu/walk.py",
        PACKAGE / "ingest/native/row_scan.py",
        PACKAGE / "compiled.py",
    } <= needed
    while more := set().union(*map(package_imports, needed)) - needed:
        needed |= more
    assert PACKAGE / "ingest/trace/schema.py" in needed
    assert needed - own <= set(jit.SOURCES)


def imported_tops(file: Path) -> set[str]:
    """Return the first part of the name of everything that a file imports."""
    tops = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            tops |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            tops.add(node.module.split(".")[0])
    return tops


def test_compiled_code_lies_where_the_environment_says(source: Path, tmp_path: Path) -> None:
    folder = cache_folder(source, tmp_path / "here")
    assert folder.is_relative_to(tmp_path / "here" / "eptreplay" / "kernels")


@pytest.mark.parametrize("kernels", ["model/state/pte.py", "ingest/native/row_scan.py", "compiled.py"])
def test_any_change_in_kernels_gets_a_folder_of_its_own(source: Path, tmp_path: Path, kernels: str) -> None:
    before = cache_folder(source, tmp_path)
    assert cache_folder(source, tmp_path) == before
    file = source / "eptreplay" / kernels
    file.write_text(file.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert cache_folder(source, tmp_path) != before


def test_a_file_at_any_depth_gets_a_folder_of_its_own_by_its_path(source: Path, tmp_path: Path) -> None:
    deep = source / "eptreplay" / "model" / "cpu" / "deep"
    deep.mkdir(parents=True)
    folders = {cache_folder(source, tmp_path)}
    (deep / "new.py").write_text("A = 1\n", encoding="utf-8")
    folders.add(cache_folder(source, tmp_path))
    (deep / "new.py").rename(deep.parent / "new.py")
    folders.add(cache_folder(source, tmp_path))
    assert len(folders) == 3


def test_settings_of_numba_get_a_folder_of_their_own(source: Path, tmp_path: Path) -> None:
    assert cache_folder(source, tmp_path) != cache_folder(source, tmp_path, NUMBA_OPT="1")


@pytest.mark.parametrize("outside", ["cli/app.py", "replay/one_guest.py", "ingest/native/reader.py"])
def test_a_change_elsewhere_compiles_nothing_again(source: Path, tmp_path: Path, outside: str) -> None:
    before = cache_folder(source, tmp_path)
    file = source / "eptreplay" / outside
    file.write_text(file.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert cache_folder(source, tmp_path) == before


@pytest.mark.parametrize(("home", "xdg"), [("/nowhere", "relative"), ("/nowhere", ""), ("/nowhere", None)])
def test_a_relative_cache_folder_of_the_system_is_ignored(
    monkeypatch: pytest.MonkeyPatch, home: str, xdg: str | None
) -> None:
    monkeypatch.delenv("EPTREPLAY_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", home)
    if xdg is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    assert jit._cache_root() == Path("/nowhere/.cache")


def test_the_model_runs_without_a_compiler(tmp_path: Path) -> None:
    program = (
        "from eptreplay.model.statistics.reuse_buckets import bucket, bucket_starts;"
        "print(bucket_starts()[bucket(1000)])  # a kernel, which Python cannot call once it is compiled"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "EPTREPLAY_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "960"


def test_instances_are_counted_by_instances_in_alone() -> None:
    """In compiled code `len(states.page)` would be the pages of the first instance."""
    model = PACKAGE / "model"
    counts = model / "state" / "state.py"  # where instances_in stands
    files = set(model.rglob("*.py")) - {counts}
    assert model / "access_loop" / "slow_path.py" in files
    for file in files:
        text = file.read_text(encoding="utf-8").replace("len(states.fast_path)", "")
        assert "len(states." not in text, file
