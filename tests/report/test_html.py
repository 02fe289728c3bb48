"""Pages: made from the tables alone, the same bytes every time, and harmless whatever guests are called."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from tests.report.downloads import text_of
from tests.report.runs import MEMORY, MadeGuest, analysis, counters, write_run

from eptreplay.report.costs.costs import parse_assumptions
from eptreplay.report.pages.html import render
from eptreplay.report.pages.text import how, island

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = ("haswell", "nehalem", "haswell:ad=off", "zen2")
HOSTILE = [
    "</script><script>document.title='owned'</script>",
    "../../x",
    '=HYPERLINK("http://example.org","x")',
    "n" * 300,
    "\"onmouseover='document.title=1'",
    "{{ 7*7 }}",
    "a\nb\tc",
]


class Page(HTMLParser):
    """The elements of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def full(name: str) -> MadeGuest:
    made = MadeGuest(name)
    analysis(made, PROFILES)
    return made


def rendered(folder: Path, guests: list[MadeGuest]) -> list[Page]:
    write_run(folder, guests, PROFILES)
    render(folder)
    return [Page(path) for path in sorted(folder.rglob("*.html"))]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rendering_again_gives_the_same_bytes(tmp_path: Path) -> None:
    rendered(tmp_path / "run", [full("a"), MadeGuest("b")])
    before = everything(tmp_path / "run")
    render(tmp_path / "run")
    assert everything(tmp_path / "run") == before
    for folder in ("guests", "assets"):
        shutil.rmtree(tmp_path / "run" / folder)
    (tmp_path / "run/index.html").unlink()
    render(tmp_path / "run")
    assert everything(tmp_path / "run") == before


def test_the_folder_may_be_moved(tmp_path: Path) -> None:
    rendered(tmp_path / "run", [full("a")])
    before = everything(tmp_path / "run")
    assert not any(str(tmp_path).encode() in content for content in before.values())
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    render(tmp_path / "elsewhere")
    assert everything(tmp_path / "elsewhere") == before


def test_a_guest_that_is_gone_leaves_no_page(tmp_path: Path) -> None:
    rendered(tmp_path / "run", [MadeGuest("a")])
    (tmp_path / "run/guests/stale.html").write_text("")
    render(tmp_path / "run")
    assert not (tmp_path / "run/guests/stale.html").exists()


def test_every_link_leads_to_a_file_of_the_run(tmp_path: Path) -> None:
    for page in rendered(tmp_path / "run", [full(name) for name in HOSTILE]):
        ids = {attributes.get("id") for _, attributes in page.elements}
        links = [attributes["href"] for attributes in page.all("a") + page.all("link")]
        links += [attributes["src"] for attributes in page.all("script") if "src" in attributes]
        assert links
        for link in links:
            assert link is not None
            if link.startswith("data:"):
                assert text_of(link)
                continue
            target, _, anchor = unquote(link).partition("#")
            path = (page.path.parent / target).resolve() if target else page.path
            assert path.is_relative_to((tmp_path / "run").resolve()), link
            assert path.is_file(), link
            if anchor:
                known = ids if not target else {attributes.get("id") for _, attributes in Page(path).elements}
                assert anchor in known, link


def test_ids_are_unique_on_a_page(tmp_path: Path) -> None:
    for page in rendered(tmp_path / "run", [full("a"), MadeGuest("b")]):
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_and_nothing_else(tmp_path: Path, name: str) -> None:
    plain = rendered(tmp_path / "plain", [full("plain")])
    hostile = rendered(tmp_path / "hostile", [full(name)])
    for one, other in zip(plain, hostile, strict=True):
        assert [tag for tag, _ in other.elements] == [tag for tag, _ in one.elements]
        assert [sorted(found) for _, found in other.elements] == [sorted(found) for _, found in one.elements]
        assert name in other.text


def test_hostile_names_leave_no_file_outside_the_run(tmp_path: Path) -> None:
    rendered(tmp_path / "deep/er/run", [full(name) for name in HOSTILE])
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep/er").iterdir()] == ["run"]
    assert len(list((tmp_path / "deep/er/run/guests").iterdir())) == len(HOSTILE)


def test_profiles_may_have_hostile_names_too(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [MadeGuest("g")], HOSTILE[:2])
    render(tmp_path / "run")
    for path in (tmp_path / "run").rglob("*.html"):
        assert len(Page(path).all("script")) == 2


def test_data_for_the_script_cannot_end_its_element() -> None:
    text = island({"name": "</script><!--&"})
    assert not set("<>&") & set(text)


def test_pages_run_one_script_of_their_own_and_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    for page in rendered(tmp_path / "run", [full("a")]):
        (policy,) = (
            found["content"]
            for found in page.all("meta")
            if found.get("http-equiv") == "Content-Security-Policy"
        )
        assert policy is not None
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert not any(
            name == "style" or name.startswith("on") for _, found in page.elements for name in found
        )
        assert not page.all("style")
        text = page.path.read_text(encoding="utf-8")
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)


def test_numbers_are_there_without_a_script(tmp_path: Path) -> None:
    _, page = sorted(rendered(tmp_path / "run", [full("a")]), key=lambda page: len(page.text))
    without = re.sub(r"<script.*?</script>", "", page.path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for text in ("88 exits", "yes, at 2.5 Gbit/s", "2 MiB", "haswell:ad=off"):
        assert text in without
    assert without.count('class="plot"') >= 15


def test_every_chart_has_its_table_units_and_meaning(tmp_path: Path) -> None:
    pages = rendered(tmp_path / "run", [full("a")])
    (page,) = (page for page in pages if page.path.parent.name == "guests")
    figures = [found for found in page.all("figure") if "chart" in str(found.get("class"))]
    csvs = [found for found in page.all("a") if found.get("class") == "csv"]
    assert len(figures) >= 15
    assert len(csvs) >= len(figures)
    assert page.text.count("seconds since the trace began") >= 8
    assert "guest-physical address, GiB" in page.text
    tips = [found["data-tip"] for found in page.all("span") if "tip" in str(found.get("class"))]
    assert len(tips) > len(figures)
    assert all(tips)


def test_a_table_that_a_run_does_not_have_leaves_no_section(tmp_path: Path) -> None:
    pages = rendered(tmp_path / "run", [MadeGuest("bare")])
    (page,) = (page for page in pages if page.path.parent.name == "guests")
    sections = {found.get("id") for found in page.all("section")}
    assert {"exits-ipis", "superpages-all"} <= sections
    assert not sections & {"heat", "dirty", "migration", "working-set", "cold", "miss-ratios", "more-tables"}


def test_charts_of_zeros_are_named_in_a_line(tmp_path: Path) -> None:
    pages = rendered(tmp_path / "run", [MadeGuest("bare")])
    (page,) = (page for page in pages if page.path.parent.name == "guests")
    assert "demotions" not in {found.get("id") for found in page.all("figure")}
    assert "0 throughout, under every profile: " in page.text


def test_assumptions_change_the_estimates(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [MadeGuest("g")], PROFILES)
    render(tmp_path / "run", parse_assumptions(["vm_fault_cycles=200000000"]))
    (page,) = (tmp_path / "run/guests").iterdir()
    assert "200,000,000" in page.read_text(encoding="utf-8")
    assert "an estimated 44 % (31.4 % to 55 %) of its run time" in page.read_text(encoding="utf-8")


def test_two_hundred_guests_fit_on_an_index_the_worst_first(tmp_path: Path) -> None:
    guests = [MadeGuest(f"guest {number:03}") for number in range(200)]
    counters(guests[150], PROFILES)
    for row in guests[150].tables["summary"]:
        row["vm_faults_r"] = 10**6
    write_run(tmp_path / "run", guests, PROFILES)
    render(tmp_path / "run")
    index = Page(tmp_path / "run/index.html")
    assert index.path.stat().st_size < 2_500_000
    links = [found["href"] for found in index.all("a") if str(found["href"]).startswith("guests/guest")]
    assert len(links) == 200
    assert "guest-150" in str(links[0])
    assert "200 guests under 4 profiles" in index.text
    assert "The costliest is guest 150" in index.text


def test_an_empty_trace_makes_a_page(tmp_path: Path) -> None:
    made = MadeGuest("empty", intervals=1, seconds=None)
    counters(made, PROFILES)
    for name in ("summary", "intervals"):
        for row in made.tables[name]:
            row.update(
                {key: 0 for key, value in row.items() if isinstance(value, int) and key != "memory_bytes"}
            )
    made.tables["faults"] = []
    _check_small(tmp_path, made, "The trace has no access to memory.")
    (page,) = (tmp_path / "run/guests").iterdir()
    assert 'class="toolbar"' not in page.read_text(encoding="utf-8")


def test_a_trace_of_one_interval_makes_a_page(tmp_path: Path) -> None:
    made = MadeGuest("one", intervals=1, seconds=0.0)
    analysis(made, PROFILES)
    made.tables["idle_age"] = [
        {"age_intervals": 0, "idle_s": 0.0, "pages": 1, "pages_written": 0, "bytes": 4096}
    ]
    _check_small(tmp_path, made, "one")


def test_a_guest_without_writes_makes_a_page(tmp_path: Path) -> None:
    made = full("reader")
    for name in ("dirty", "heatmap", "idle_age", "working_set"):
        for row in made.tables[name]:
            row.update({key: 0 for key in row if "writ" in key or "dirt" in key or key == "pages_in_regions"})
    for name in ("writers", "dirty_rate"):
        made.tables[name] = []
    _check_small(tmp_path, made, "0 throughout, under every profile: Memory written")


def _check_small(tmp_path: Path, made: MadeGuest, text: str) -> None:
    for page in rendered(tmp_path / "run", [made]):
        assert not re.search(r"\b(?:nan|inf|None|NaN)\b", page.text)
        if page.path.parent.name == "guests":
            assert text in page.text


def test_a_guest_page_says_what_its_trace_is(tmp_path: Path) -> None:
    pages = rendered(tmp_path / "run", [full("a")])
    (page,) = (page for page in pages if page.path.parent.name == "guests")
    assert f"2 vCPUs · {MEMORY >> 20} MiB of memory, 16 MiB touched · 800 accesses in 800 rows" in page.text


def test_a_run_with_every_table_has_every_section_in_order(tmp_path: Path) -> None:
    pages = rendered(tmp_path / "run", [full("a")])
    (page,) = (page for page in pages if page.path.parent.name == "guests")
    found = [str(found["id"]) for found in page.all("section") if found.get("id")]
    assert found == [
        "profiles",
        "heat",
        "exits-ipis",
        "cost",
        "superpages-all",
        "dirty",
        "migration",
        "working-set",
        "cold",
        "miss-ratios",
        "more",
    ]


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ({}, "policy age, every 10 ms"),
        ({"host": None}, "policy age, every 10 ms"),
        ({"host": {"memory_bytes": None}}, "policy age, every 10 ms, on one host with enough memory"),
        ({"host": {"memory_bytes": 64 << 20}}, "policy age, every 10 ms, on one host with 64 MiB memory"),
    ],
)
def test_a_page_says_how_its_run_was_made(host: dict[str, object], text: str) -> None:
    assert how({"options": {"policy": "age", "every": "10 ms"}, **host}) == text
