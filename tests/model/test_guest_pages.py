"""Arrays with an element per guest page are reached through one helper (model/state/guest_pages.py)."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

from eptreplay import model
from eptreplay.model._numba.arrays import arrays_in

FOLDER = Path(model.__file__).parent
HELPERS = {"page_at", "known_page"}
SCRATCH = {"listed"}  # a list of pages, whose places are no pages


def arrays_by_page() -> set[str]:
    """Return the names of the arrays that are declared with an element per guest page, or per guest page and beyond."""
    names = {"fast_path"}  # which has one more, for what lies beyond memory
    for module in pkgutil.walk_packages(model.__path__, "eptreplay.model."):
        for each in vars(importlib.import_module(module.name)).values():
            if isinstance(each, type) and hasattr(each, "declared"):
                names |= {
                    name for name, array in arrays_in(each).items() if array.shape[:1] == ("guest_pages",)
                }
    return names - SCRATCH


def indices(function: ast.FunctionDef, names: set[str]) -> list[ast.expr]:
    """Return what stands in brackets after one of these arrays in a function."""
    found = []
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript):
            of = node.value
            name = of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""
            if name in names:
                found.append(node.slice)
    return found


def helped(function: ast.FunctionDef) -> set[str]:
    """Return the variables of a function that a helper made."""
    return {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and is_helped(node.value, set())
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def is_helped(index: ast.expr, variables: set[str]) -> bool:
    """Return whether an index comes from a helper, or is the whole stretch of a guest."""
    if isinstance(index, ast.Call) and ast.unparse(index.func) == "np.int64":
        return is_helped(index.args[0], variables)
    if isinstance(index, ast.Call) and isinstance(index.func, ast.Name):
        return index.func.id in HELPERS
    return isinstance(index, ast.Slice) or (isinstance(index, ast.Name) and index.id in variables)


def test_every_element_of_a_guest_page_is_reached_through_the_helper() -> None:
    """A kernel that indexes such an array by a page itself would not find it in sparse state."""
    names = arrays_by_page()
    assert {"object", "touch", "first_row"} <= names
    wrong, looked = [], 0
    for path in sorted(FOLDER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            parameters = {
                each.arg for each in node.args.args if each.arg == "known"
            }  # its caller asked the helper
            for index in indices(node, names):
                looked += 1
                if not is_helped(index, helped(node) | parameters):
                    wrong.append(f"{path.relative_to(FOLDER)}:{index.lineno}: {ast.unparse(index)}")
    assert looked > 50
    assert wrong == []
