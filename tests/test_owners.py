"""Every field of the state has owners, and nobody else writes it."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import eptreplay.model
from eptreplay.model._numba.arrays import Field, arrays_in

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = Path(eptreplay.model.__file__).parent
OUTSIDE = {"recorded/"}
"""Rooms whose records have fields of the same names: what an operation was asked, and what it answered."""


def modules() -> list[object]:
    names = [found.name for found in pkgutil.walk_packages([str(MODEL)], "eptreplay.model.")]
    return [importlib.import_module(name) for name in names]


def declared() -> dict[str, set[str]]:
    """Return who owns each name that a record or a structure declares."""
    owners: dict[str, set[str]] = {}
    for module in modules():
        for value in vars(module).values():
            if isinstance(value, tuple) and value and isinstance(value[0], Field):
                for field in value:
                    owners.setdefault(field.name, set()).update(field.owner.split())
            elif isinstance(value, type) and hasattr(value, "_numba_type_"):
                for name, each in arrays_in(value).items():
                    owners.setdefault(name, set()).update(each.owner.split())
    return owners


def written(path: Path) -> Iterator[str]:
    """Yield the names of fields and arrays that a file assigns to, or to elements of."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign):
            targets = [node.target]
        for target in targets:
            for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                yield from _names(part)


def _names(target: ast.expr) -> Iterator[str]:
    """Yield the field or array behind an assignment: `a.b = `, `a.b[i] = `, `a["b"] = `."""
    while isinstance(target, ast.Subscript):
        if isinstance(target.slice, ast.Constant) and isinstance(target.slice.value, str):
            yield target.slice.value
            return
        target = target.value
    if isinstance(target, ast.Attribute):
        yield target.attr


OWNERS = declared()
FILES = sorted(path for path in MODEL.rglob("*.py") if path.name != "__init__.py")


def name_of(path: Path) -> str:
    return path.relative_to(MODEL).with_suffix("").as_posix()


def owns(owner: str, name: str) -> bool:
    return name.startswith(owner.removesuffix("*")) if owner.endswith("*") else owner == name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_owners_write_a_field(path: Path) -> None:
    name = name_of(path)
    if any(name.startswith(room) for room in OUTSIDE):
        return
    for field in written(path):
        owners = OWNERS.get(field)
        assert owners is None or not owners or any(owns(owner, name) for owner in owners), (
            f"{name} writes {field}, which belongs to {', '.join(sorted(owners))}"
        )


def test_every_owner_is_a_file_or_all_of_a_folder() -> None:
    known = {name_of(path) for path in FILES}
    for field, owners in OWNERS.items():
        for owner in owners:
            assert any(owns(owner, name) for name in known), f"{field}: no file {owner}"


def test_entries_of_page_tables_are_written_in_one_place_alone() -> None:
    assert OWNERS["pt"] == {"pmap/entry"}
