"""How large a room, a file and a function may be, so that a stranger can read each in one go."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline" / "eptreplay"
FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.parent for path in FILES})

MODULES = 16
LINES = 400
TEST_LINES = 600
FUNCTION_LINES = 60
PARAMETERS = 8
DECORATORS = {"kernel", "part", "entry_point"}
"""What makes a function a kernel: it takes no keywords, and no objects to bundle its arguments in."""
ONE_FILE_A_THING = {"report/sections", "ingest/importers", "cli"}
"""Folders with one file a section, a format, a command."""


def named(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            yield node


def decorators(function: ast.FunctionDef) -> set[str]:
    return {ast.unparse(each).partition("(")[0] for each in function.decorator_list}


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_a_folder_has_no_more_modules_than_one_can_hold_in_mind(folder: Path) -> None:
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MODULES or named(folder) in ONE_FILE_A_THING


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_file_is_about_one_thing(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_function_fits_a_screen(path: Path) -> None:
    for function in functions(path):
        end = function.end_lineno or function.lineno
        assert end - function.lineno < FUNCTION_LINES, function.name


@pytest.mark.parametrize("path", FILES, ids=named)
def test_only_kernels_and_commands_take_many_arguments(path: Path) -> None:
    for function in functions(path):
        made = decorators(function)
        if made & DECORATORS or any(".command" in each for each in made):
            continue
        arguments = function.args
        count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
        own = arguments.args[:1] and arguments.args[0].arg in {"self", "cls"}
        assert count - int(bool(own)) <= PARAMETERS, function.name


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.name)
def test_a_file_of_tests_can_be_read_at_once(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= TEST_LINES


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_file_says_in_a_sentence_what_it_is_about(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert said
    assert "TODO" not in said
    assert said.splitlines()[0].endswith((".", "?", ":", "!"))
