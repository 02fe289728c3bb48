"""A run that was received from somebody else: nothing outside of it is touched, nothing is deleted, no traceback."""

from __future__ import annotations

import copy
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.command_line import eptreplay
from tests.report.runs import MadeGuest, analysis, write_run

from eptreplay.tables.files import RUN_FILE, slug

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Damage = Callable[[Path, Path], object]

PROFILES = ("haswell", "nehalem")


def fresh(folder: Path) -> Path:
    guests = [MadeGuest("a"), MadeGuest("b")]
    for guest in guests:
        analysis(guest, PROFILES)
    write_run(folder, guests, PROFILES)
    for path in folder.glob("tables/costs.*"):  # made with the pages, which a replay has not made yet
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = fresh(tmp_path_factory.mktemp("pattern") / "run")
    answer = eptreplay("report", run)
    assert answer.code == 0, answer.err
    return run


@pytest.fixture
def run(pattern: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pattern, tmp_path / "home/run")


def everything(folder: Path) -> dict[str, bytes | str]:
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def edit(run: Path, change: Callable[[Any], object]) -> None:
    about = json.loads((run / RUN_FILE).read_text(encoding="utf-8"))
    change(about)
    (run / RUN_FILE).write_text(json.dumps(about), encoding="utf-8")


def slug_of(text: str) -> Damage:
    return lambda run, _: edit(run, lambda about: about["guests"][0].update(slug=text))


def move_and_link(name: str) -> Damage:
    """Put a link in the place of a file or folder, which now lies outside of the run."""

    def damage(run: Path, victim: Path) -> None:
        (run / name).rename(victim / "moved")
        (run / name).symlink_to(victim / "moved")

    return damage


def run_file(text: str) -> Damage:
    return lambda run, _: (run / RUN_FILE).write_text(text, encoding="utf-8")


def table(name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Damage:
    def damage(run: Path, _: Path) -> None:
        path = run / f"tables/{name}.parquet"
        change(pl.read_parquet(path)).write_parquet(path)

    return damage


def remove(name: str) -> Damage:
    return lambda run, _: (run / name).unlink()


def folder_as_table(run: Path, _: Path) -> None:
    (run / "tables/faults.parquet").unlink()
    (run / "tables/faults.parquet").mkdir()


REFUSED: dict[str, Damage] = {
    "slug up": slug_of("../../../victim/index"),
    "slug absolute": slug_of("/victim/index"),
    "slug of another": slug_of(slug("b")),
    "profile's slug": lambda run, _: edit(run, lambda about: about["profiles"][0].update(slug="x/../../y")),
    "two of a name": lambda run, _: edit(run, lambda about: about["guests"].append(about["guests"][0])),
    "no guest": lambda run, _: edit(run, lambda about: about.update(guests=[])),
    "no profile": lambda run, _: edit(run, lambda about: about.update(profiles=[])),
    "a guest without rows": lambda run, _: edit(
        run, lambda about: about["guests"][0].update(name="c", slug=slug("c"))
    ),
    "empty object": run_file("{}"),
    "list": run_file("[]"),
    "null": run_file("null"),
    "nothing": run_file(""),
    "no JSON": run_file('{"guests": ['),
    "deep": run_file("[" * 100_000),
    "NaN": run_file('{"eptreplay": NaN}'),
    "half a letter": lambda run, _: edit(run, lambda about: about["guests"][0].update(time_unit="\ud800")),
    "linked run.json": move_and_link(RUN_FILE),
    "linked table": move_and_link("tables/summary.parquet"),
    "linked tables": move_and_link("tables"),
    "no summary": remove("tables/summary.parquet"),
    "no table": lambda run, _: (run / "tables/summary.parquet").write_bytes(b"PAR1"),
    "folder as table": folder_as_table,
    "column gone": table("summary", lambda frame: frame.drop("traps")),
    "column of text": table("summary", lambda frame: frame.with_columns(traps=pl.lit("many"))),
    "other guests": table("summary", lambda frame: frame.with_columns(guest=pl.lit("nobody"))),
    "row gone": table("summary", lambda frame: frame.head(3)),
    "nulls": table("summary", lambda frame: frame.with_columns(pages_touched=None, rows=None)),
    "intervals of nulls": table("intervals", lambda frame: frame.with_columns(interval=None, traps=None)),
    "wild intervals": table("dirty", lambda frame: frame.with_columns(interval=pl.lit(1 << 62))),
}


@pytest.mark.parametrize("command", ["report", "compare", "summary"])
@pytest.mark.parametrize("what", REFUSED)
def test_a_hostile_run_is_refused_in_a_line_and_nothing_changes(
    run: Path, pattern: Path, tmp_path: Path, what: str, command: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "index.html").write_text("mine")
    REFUSED[what](run, victim)
    before = everything(tmp_path)
    arguments = [run, pattern, "--out", tmp_path / "both"] if command == "compare" else [run]
    answer = eptreplay(command, *arguments)
    if answer.code == 0:  # this command does not come across it
        assert what in ("intervals of nulls", "wild intervals", "folder as table")
        return
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1, answer.err
    assert str(run) in answer.err
    assert everything(tmp_path) == before


@pytest.mark.parametrize("command", ["report", "compare"])
def test_tables_that_cannot_be_shown_of_one_guest_cost_that_guest_a_line(
    run: Path, pattern: Path, tmp_path: Path, command: str
) -> None:
    first = pl.col("guest") == "a"
    far = pl.when(first).then(pl.lit(1 << 62)).otherwise("interval").alias("interval")
    table("dirty", lambda frame: frame.with_columns(far))(run, tmp_path)
    out = run if command == "report" else tmp_path / "both"
    arguments = [run, pattern, "--out", out] if command == "compare" else [run]
    answer = eptreplay(command, *arguments)
    assert (answer.code, len(answer.err.splitlines())) == (3, 1), answer.err
    assert "guest 'a' has no page: IndexError" in answer.err
    assert "tables or run.json are damaged" in answer.err
    assert (out / f"guests/{slug('b')}.html").exists()
    assert not (out / f"guests/{slug('a')}.html").exists()


WRITTEN_TO: dict[str, Damage] = {
    "linked page": move_and_link("index.html"),
    "linked guests": move_and_link("guests"),
    "linked style": move_and_link("assets/report.css"),
    "linked costs": move_and_link("tables/costs.csv"),
    "linked list": move_and_link("files.json"),
    "own page": lambda run, _: (run / "index.html").write_text("my own"),
    "page a guest": lambda run, _: (run / f"guests/{slug('a')}.html").write_text("my own"),
}


@pytest.mark.parametrize("what", WRITTEN_TO)
def test_no_page_is_written_through_a_link_or_over_what_the_run_did_not_write(
    run: Path, tmp_path: Path, what: str
) -> None:
    (tmp_path / "victim").mkdir()
    WRITTEN_TO[what](run, tmp_path / "victim")
    before = everything(tmp_path)
    answer = eptreplay("report", run, "--assume", "vm_fault_cycles=99999")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1), answer.err
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["index.html", f"guests/{slug('a')}.html", "tables/costs.parquet", "files.json"]
)
def test_a_second_name_of_a_page_outside_of_the_run_keeps_its_content(
    run: Path, tmp_path: Path, name: str
) -> None:
    os.link(run / name, tmp_path / "outside")
    before = (tmp_path / "outside").read_bytes()
    assert eptreplay("report", run, "--assume", "vm_fault_cycles=99999").code == 0
    assert (tmp_path / "outside").read_bytes() == before
    assert (run / name).read_bytes() != before


def test_a_report_keeps_what_the_run_did_not_write_and_removes_its_own_old_pages(run: Path) -> None:
    for folder in ("guests", "assets", "."):
        (run / folder / "notes.txt").write_text("mine")
    edit(run, lambda about: about["guests"].pop())
    assert eptreplay("report", run).code == 0
    for folder in ("guests", "assets", "."):
        assert (run / folder / "notes.txt").read_text() == "mine"
    assert not (run / f"guests/{slug('b')}.html").exists()
    listed = json.loads((run / "files.json").read_text())["files"]
    pages = {name for name in everything(run) if name.split("/")[0] in ("guests", "assets", "index.html")}
    assert {name for name in pages if not name.endswith("notes.txt")} <= listed.keys()
    assert not [name for name in listed if slug("b") in name]


def test_pages_of_a_run_without_a_list_are_not_replaced(run: Path) -> None:
    (run / "files.json").unlink()
    before = everything(run)
    answer = eptreplay("report", run, "--assume", "vm_fault_cycles=99999")
    assert answer.code == 2
    assert "no list of the files" in answer.err
    assert everything(run) == before


def nodes(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - JSON
    """Yield the way to every value in a value."""
    if at:
        yield at
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in below:
        yield from nodes(each, (*at, key))


OTHERS: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 1 << 70, 1.5, 1e308, "", "x", "../../x", "\ud800", [], [1], {}, {"": []}, [[]]]
)
ABSENT = object()


def damaged(about: Any, way: tuple[Any, ...], value: object) -> Any:  # noqa: ANN401 - JSON
    found = copy.deepcopy(about)
    parent = found
    for key in way[:-1]:
        parent = parent[key]
    if value is ABSENT:
        del parent[way[-1]]
    else:
        parent[way[-1]] = value
    return found


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_run_json_holds_no_command_ends_in_a_traceback(
    pattern: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    about = json.loads((pattern / RUN_FILE).read_text(encoding="utf-8"))
    way = data.draw(st.sampled_from(list(nodes(about))))
    about = damaged(about, way, data.draw(OTHERS | st.just(ABSENT)))
    base = tmp_path_factory.mktemp("fuzz")
    run = base / "run"
    (run / "tables").mkdir(parents=True)
    for path in (pattern / "tables").glob("*.parquet"):
        os.link(path, run / "tables" / path.name)
    (run / "tables/costs.parquet").unlink()  # as above
    (run / RUN_FILE).write_text(json.dumps(about), encoding="utf-8")
    for arguments in (["summary", run], ["compare", run, pattern, "--out", base / "both"], ["report", run]):
        answer = eptreplay(*arguments)  # an exception that is not ours would come out of it
        assert answer.code in (0, 2)
        assert answer.code == 0 or len(answer.err.splitlines()) == 1
    assert sorted(path.name for path in base.iterdir()) in (["run"], ["both", "run"])
    shutil.rmtree(base)
