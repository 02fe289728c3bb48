"""What the documents claim about the repository holds: files, names, commands, options, links, tables."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from eptreplay.cli.app import app
from eptreplay.profiles import cost_parameters, sources
from eptreplay.report.costs.cost_terms import TERMS
from eptreplay.tables.schema import documentation

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline" / "eptreplay"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
MAP = [
    ROOT / "README.md",
    *(ROOT / "docs" / name for name in ("architecture.md", "glossary.md", "runs.md", "speed.md")),
]
"""Documents about the code: every name in them is a name of it."""

USERS_FILES = {"guest.toml"}
"""Files that documents name and that a user writes."""

FOLDERS_OF_RUNS = {"assets/", "csv/", "failures/", "guests/", "tables/"}
"""Folders that documents name and that a run writes."""

CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w./-]*\w\.(?:py|toml|md)")
FOLDER = re.compile(r"[\w./-]+/")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+")
NAME = re.compile(r"_*[A-Za-z]+_\w+|[A-Z][A-Z0-9]+|[A-Z]\w*[a-z]\w*[A-Z]\w*")
OF_FREEBSD = {"pm_stats"}
OF_OTHERS = {
    "CVE",
    "EPTREPLAY_CACHE_DIR",
    "NUMBA_DISABLE_JIT",
    "NAME",
    "SHA256SUMS",
    "TMPDIR",
    "TRACE",
    "XDG_CACHE_HOME",
    "IA32_VMX_EPT_VPID_CAP",
}

SCHEDULERS = ("sbatch ", "bsub ")
"""Commands that take a command of eptreplay, with options of their own before it."""


def ids(path: Path) -> str:
    return path.name


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def words_of(document: Path) -> list[str]:
    """Return what stands in backquotes, outside blocks of code."""
    return CODE.findall(re.sub(r"^```.*?^```", "", text_of(document), flags=re.MULTILINE | re.DOTALL))


@cache
def sources_of_names() -> str:
    """Return everything that a name in a document may come from."""
    files = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.toml"), ROOT / "Makefile"]
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(files))


@cache
def known_names() -> frozenset[str]:
    return frozenset(re.findall(r"\w+", sources_of_names()))


def exists(name: str) -> bool:
    """Return whether a file or folder is in the repository: by its path from the root, the package or docs, or by its bare name."""
    if any((base / name).exists() for base in (ROOT, PACKAGE, ROOT / "docs")):
        return True
    return "/" not in name and any(
        found.is_file() for base in (PACKAGE, ROOT / "tests", ROOT / "traces") for found in base.rglob(name)
    )


@cache
def members(module: Path) -> frozenset[str]:
    """Return the names that a module defines: functions, classes with their fields, constants."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return frozenset(found)


def resolves(dotted: str) -> bool:
    """Return whether `room.module.name` is something of the package, or `Class.field` and the like are names that it has."""
    parts = dotted.removeprefix("eptreplay.").split(".")
    for length in range(len(parts), 0, -1):
        place = PACKAGE.joinpath(*parts[:length])
        module = place.with_suffix(".py") if place.with_suffix(".py").exists() else place / "__init__.py"
        if module.exists():
            return set(parts[length:]) <= members(module)
    return set(parts) <= known_names()


def anchors(document: Path) -> set[str]:
    """Return the anchors that a document's headings have, by GitHub's rule."""
    titles = re.findall(r"^#+ (.+)$", text_of(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_table_and_column_is_documented_as_it_is_written() -> None:
    assert (ROOT / "docs/tables.md").read_text(encoding="utf-8") == documentation()


def test_the_map_has_every_room_and_every_file_beside_the_rooms() -> None:
    page = text_of(ROOT / "docs/architecture.md")
    rooms = {f"{path.parent.relative_to(PACKAGE).as_posix()}/" for path in PACKAGE.glob("*/**/__init__.py")}
    files = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    named = {
        word
        for line in page.splitlines()
        if line.startswith("| `")
        for word in CODE.findall(line.split(" | ")[0])
    }
    assert (rooms | files) - named == set()


def test_the_map_can_be_read_in_one_sitting() -> None:
    assert len(text_of(ROOT / "docs/architecture.md").splitlines()) <= 200


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_every_file_and_folder_that_a_document_names_exists(document: Path) -> None:
    for word in words_of(document):
        if FILE.fullmatch(word) and word not in USERS_FILES:
            assert exists(word), f"{document.name} names {word}"
        if FOLDER.fullmatch(word) and word not in FOLDERS_OF_RUNS:
            assert exists(word.rstrip("/")), f"{document.name} names {word}"


@pytest.mark.parametrize("document", MAP, ids=ids)
def test_every_name_that_the_map_uses_is_one_of_the_code(document: Path) -> None:
    for word in words_of(document):
        if FILE.fullmatch(word) or FOLDER.fullmatch(word) or word.split(".")[0] in OF_FREEBSD:
            continue
        if DOTTED.fullmatch(word):
            assert resolves(word), f"{document.name} names {word}"
        elif NAME.fullmatch(word) and word not in OF_OTHERS:
            assert word in known_names(), f"{document.name} names {word}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_dotted_names_of_the_package_exist(document: Path) -> None:
    for word in re.findall(r"\beptreplay(?:\.\w+)+", text_of(document)):
        assert resolves(word), f"{document.name} names {word}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text_of(document)):
        place = document.parent / target if target else document
        assert place.exists(), f"{document.name} links to {target}"
        if anchor:
            assert anchor in anchors(place), f"{document.name} links to {target}#{anchor}"


def commands() -> set[str]:
    """Return the commands of the command line, those of groups as `group command`."""
    found: set[str] = set()
    root = typer.main.get_command(app)
    for name, command in getattr(root, "commands", {}).items():
        found |= {name, *(f"{name} {inner}" for inner in getattr(command, "commands", {}))}
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_every_command_that_a_document_gives_exists(document: Path) -> None:
    known = commands()
    text = text_of(document)
    given = re.findall(
        r"(?:^ {4}(?:\.venv/bin/)?|`)eptreplay ([a-z][a-z-]*)(?: ([a-z][a-z-]+)\b(?![./]))?",
        text,
        re.MULTILINE,
    )
    for command, inner in given:
        assert command in known, f"{document.name}: eptreplay {command}"
        group = any(name.startswith(f"{command} ") for name in known)
        assert not (group and inner) or f"{command} {inner}" in known, (
            f"{document.name}: eptreplay {command} {inner}"
        )
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    for target in re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets, f"{document.name}: make {target}"


def test_every_option_that_documents_mention_exists() -> None:
    declared = {"--help"} | set(re.findall(r"--[a-z-]+", text_of(ROOT / "Makefile")))
    for command in ("", *sorted(commands())):
        shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
        assert shown.exit_code == 0, command
        declared |= set(re.findall(r"--[a-z][a-z-]*", shown.output))
    for document in DOCUMENTS:
        for line in text_of(document).splitlines():
            if "eptreplay " in line:
                own = line[line.index("eptreplay ") :] if line.startswith(SCHEDULERS) else line
                assert set(re.findall(r"(?<![\w-])--[a-z-]+", own)) <= declared, line


def test_the_glossary_is_in_order_and_has_one_line_for_each_term() -> None:
    terms = re.findall(r"^\| (.+?) \| .+ \|$", text_of(ROOT / "docs/glossary.md"), re.MULTILINE)[1:]
    keys = [term.lower().lstrip("#") for term in terms]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", ["architecture", "semantics", "traces", "conformance", "runs", "speed"])
def test_pages_about_the_model_link_to_the_glossary(name: str) -> None:
    assert "](glossary.md" in text_of(ROOT / f"docs/{name}.md")


def test_the_page_on_costs_has_every_term_parameter_and_source_as_it_is_used() -> None:
    page = (ROOT / "docs/costs.md").read_text(encoding="utf-8")
    for name, term in TERMS.items():
        parts = " + ".join(f"`{part}`" for part in term.parameters)
        assert f"| `{name}` | {term.meaning} | {parts} | {term.spent} |" in page
    for of in cost_parameters().values():
        values = f"{of.value:,.10g} | {of.low:,.10g} to {of.high:,.10g} | {of.unit} | {of.status}"
        assert f"| `{of.name}` | {values} | {of.meaning} | {of.note} |" in page
        for source in of.sources:
            assert f"| {source} | {sources()[source].where} | {sources()[source].note} |" in page
