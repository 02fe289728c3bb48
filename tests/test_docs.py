"""What the documents claim about the repository holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eptreplay.profiles import cost_parameters, sources
from eptreplay.report.costs.cost_terms import TERMS
from eptreplay.tables.schema import documentation

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline" / "eptreplay"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_table_and_column_is_documented_as_it_is_written() -> None:
    assert (ROOT / "docs/tables.md").read_text(encoding="utf-8") == documentation()


def test_the_architecture_page_names_every_file_of_the_package() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/.]+\.(?:py|toml))`", page))
    files = {path.name for path in PACKAGE.rglob("*.py")} | {"profiles.toml"}
    assert files - named == set()


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_option_that_documents_mention_exists() -> None:
    source = "".join((PACKAGE / name).read_text(encoding="utf-8") for name in ("cli.py", "cli_options.py"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = set(re.findall(r'"(--[a-z-]+)"', source))
    declared |= {f"--{name.replace('_', '-')}" for name in re.findall(r"^    (\w+): ", source, re.MULTILINE)}
    declared |= {"--help"} | set(re.findall(r"--[a-z-]+", makefile))
    for document in DOCUMENTS:
        for line in document.read_text(encoding="utf-8").splitlines():
            if "eptreplay " in line:
                assert set(re.findall(r"(?<![\w-])--[a-z-]+", line)) <= declared, line
