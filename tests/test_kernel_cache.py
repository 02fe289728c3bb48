"""Compiled code of a small kernel over its life: kept, damaged, exchanged, shared; every compile is said, and only then."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from eptreplay import compiled as jit

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(bool(jit.config.DISABLE_JIT), reason="nothing is compiled")

CALLEE = """
from eptreplay.compiled import kernel
STEP = {step}

@kernel
def step():
    return STEP
"""
PROBE = """
from eptreplay.compiled import entry_point
from eptreplay.model.cpu.callee import step

@entry_point
def probe(x):
    return x + step()

@entry_point
def doubled(x):
    return 2 * probe(x)
"""
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from eptreplay.model.probe import doubled, probe
print(probe(1), probe(2), doubled(1))
"""
NOT_KEPT = "lasts for this run only"


class Run(NamedTuple):
    """What a process found and said."""

    found: list[int]
    compiled: int  # times it said so
    said: str


def run(source: Path, cache: Path | str, **environment: str) -> Run:
    """Call the probe in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(source)],
        env=os.environ | {"EPTREPLAY_CACHE_DIR": str(cache)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return Run(list(map(int, done.stdout.split())), done.stderr.count("compiling the model"), done.stderr)


def make_source(folder: Path, step: int = 10) -> Path:
    """Write a package that has the machinery, and one kernel with a callee a folder below."""
    package = folder / "eptreplay"
    original = Path(jit.__file__).parent
    needed = [
        path.relative_to(original) for path in jit.SOURCES if "model" not in path.relative_to(original).parts
    ]
    needed.append(Path("kernel_files.py"))
    rooms = {room for path in needed for room in path.parents} | {Path("model"), Path("model/cpu")}
    for room in rooms:
        (package / room).mkdir(parents=True, exist_ok=True)
        (package / room / "__init__.py").touch()
    for name in needed:
        shutil.copyfile(original / name, package / name)
    (package / "model/cpu/callee.py").write_text(CALLEE.format(step=step), encoding="utf-8")
    (package / "model/probe.py").write_text(PROBE, encoding="utf-8")
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return such a package."""
    return make_source(tmp_path / "source")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a folder for compiled code."""
    return tmp_path / "cache"


def files_in(cache: Path) -> list[Path]:
    """Return the files of compiled code."""
    return sorted(path for path in cache.rglob("*") if path.is_file())


def test_only_the_first_process_compiles_and_says_so_once(source: Path, cache: Path) -> None:
    first, second = run(source, cache), run(source, cache)
    assert (first.found, first.compiled) == ([11, 12, 22], 1)
    assert (second.found, second.said) == ([11, 12, 22], "")
    assert [path.name.split("-")[0] for path in files_in(cache)] == [
        "model.probe.doubled",
        "model.probe.probe",
    ]


def test_another_checkout_of_the_same_sources_compiles_nothing(
    source: Path, cache: Path, tmp_path: Path
) -> None:
    run(source, cache)
    other = make_source(tmp_path / "another" / "checkout")
    for file in other.rglob("*.py"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
    assert run(other, cache) == Run([11, 12, 22], 0, "")


@pytest.mark.parametrize("where", ["{tmp}/cache", "/dev/null/x", "/proc/self/fdinfo/x", "{tmp}/file/x"])
def test_after_an_upgrade_in_place_new_code_runs_wherever_code_is_kept(
    source: Path, tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    cache = where.format(tmp=tmp_path)
    assert run(source, cache).found == [11, 12, 22]
    callee = source / "eptreplay/model/cpu/callee.py"
    callee.write_text(CALLEE.format(step=20), encoding="utf-8")
    assert run(source, cache).found == [21, 22, 42]
    assert not list(source.rglob("*.nb?")), "nothing is kept beside the sources"


@pytest.mark.parametrize("where", ["/dev/null/x", "/proc/self/fdinfo/x"])
def test_where_nothing_can_be_kept_that_is_said_once_before_compiling(
    source: Path, tmp_path: Path, where: str
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    for _ in range(2):
        done = run(source, where, TMPDIR=str(temporary))
        assert done.found == [11, 12, 22]
        first, second = done.said.splitlines()
        assert NOT_KEPT in first
        assert where in first
        assert "compiling" in second
        assert not list(temporary.iterdir()), "the private folder goes with the process"


def test_where_no_folder_at_all_can_be_written_the_run_goes_on(source: Path) -> None:
    nowhere = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), "/dev/null/x")
    program = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/dev/null/x']\n" + PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", program, str(source)],
        env=os.environ | {"EPTREPLAY_CACHE_DIR": "/dev/null/x"} | nowhere,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["11", "12", "22"]
    assert done.stderr.count(NOT_KEPT) == 1


def flip(content: bytes) -> bytes:
    """Change a bit somewhere."""
    changed = bytearray(content)
    at = random.Random(len(content)).randrange(8 * len(content))  # noqa: S311 - nothing secret
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda _: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "zeroed": lambda content: bytes(len(content)),
    "zeroed from the middle on": lambda content: (
        content[: len(content) // 2] + bytes(len(content) - len(content) // 2)
    ),
    "garbage": lambda content: random.Random(2).randbytes(len(content)),  # noqa: S311 - nothing secret
    "a bit flipped": flip,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_code_is_found_and_made_again(source: Path, cache: Path, damage: str) -> None:
    run(source, cache)
    for path in files_in(cache):
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    again = run(source, cache)
    assert again.found == [11, 12, 22]
    assert again.compiled == 1
    assert again.said.count("is damaged") == 1


def test_files_that_stand_in_for_one_another_are_not_run(source: Path, cache: Path) -> None:
    run(source, cache)
    one, other = files_in(cache)
    swap = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(swap)
    assert run(source, cache).found == [11, 12, 22]


def test_two_kinds_of_cpu_share_a_home_folder(source: Path, cache: Path) -> None:
    found = [run(source, cache, NUMBA_CPU_NAME=name) for name in ("generic", "", "generic", "")]
    assert all(each.found == [11, 12, 22] for each in found)
    assert [each.compiled for each in found] == [1, 1, 0, 0]


def test_code_of_another_cpu_has_another_name() -> None:
    class Codegen(NamedTuple):
        """What numba knows of a CPU."""

        cpu: str
        features: str

        def magic_tuple(self) -> tuple[str, str]:
            return self

    cache: Any = jit.KernelCache.__new__(jit.KernelCache)
    cache._name, cache._code = "model.walk.walk", ""
    places = {
        cache._place((), Codegen(*cpu))
        for cpu in [("haswell", "+avx2"), ("haswell", "-avx2"), ("znver2", "+avx2")]
    }
    assert len({name for name, _ in places}) == 3


def test_processes_that_compile_at_once_leave_whole_files(source: Path, cache: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(source)]
    environment = os.environ | {"EPTREPLAY_CACHE_DIR": str(cache)}
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [process.communicate()[0].split() for process in started] == [["11", "12", "22"]] * 3
    assert run(source, cache) == Run([11, 12, 22], 0, "")
    assert len(files_in(cache)) == 2


def test_code_made_while_sources_were_exchanged_is_not_kept(source: Path, cache: Path) -> None:
    exchange = "open(sys.argv[1] + '/eptreplay/model/cpu/callee.py', 'a').write('# changed')\n"
    program = PROGRAM.replace("print", exchange + "print")
    environment = os.environ | {"EPTREPLAY_CACHE_DIR": str(cache)}
    subprocess.run(
        [sys.executable, "-c", program, str(source)], env=environment, check=True, capture_output=True
    )
    assert files_in(cache) == []


def test_numbas_own_cache_is_not_used(source: Path, cache: Path, tmp_path: Path) -> None:
    numbas = tmp_path / "numba"
    classes = "InTreeCacheLocator,UserWideCacheLocator"
    done = run(source, cache, NUMBA_CACHE_DIR=str(numbas), NUMBA_CACHE_LOCATOR_CLASSES=classes)
    assert done.found == [11, 12, 22]
    assert not numbas.exists()
    assert not list(source.rglob("*.nb?"))
