"""What a guest's page says of costs and of page walks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from tests.report.downloads import downloads
from tests.report.runs import MadeGuest, counters, write_run
from tests.report.test_html import Page

from eptreplay.report.pages.html import render

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = ("haswell", "nehalem")


def page_of(folder: Path, made: MadeGuest) -> Page:
    render(write_run(folder / "run", [made], PROFILES))
    (path,) = (folder / "run/guests").iterdir()
    return Page(path)


def walking(page_bytes: int) -> MadeGuest:
    made = MadeGuest("g")
    counters(made, PROFILES)
    made.tables["translations"] = [
        {"profile": name, "guest_page_bytes": page_bytes, "misses_r": 5, "host_refs_l1": 1000 + at}
        for at, name in enumerate(PROFILES)
    ]
    return made


def test_costs_stand_in_a_chart_two_tables_and_the_table_of_the_run(tmp_path: Path) -> None:
    page = page_of(tmp_path, MadeGuest("g"))
    ids = {found.get("id") for _, found in page.elements}
    assert {"cost", "cost-chart", "cost-terms", "assumed"} <= ids
    for text in ("share of run time", "exit_cycles", "750 to 2,000", "inferred", "compared"):
        assert text in page.text
    table = pl.read_csv(tmp_path / "run/tables/costs.csv")
    assert table.filter(pl.col("term") == "total")["profile"].to_list() == list(PROFILES)
    mine = pl.read_csv(downloads(page.path)["costs.csv"].encode())
    assert mine["cycles"].to_list() == table["cycles"].to_list()


def test_the_first_screen_tells_the_range_of_the_cost(tmp_path: Path) -> None:
    made = MadeGuest("g")
    counters(made, PROFILES)
    for row in made.tables["summary"]:
        row["vm_faults_r"] = 1_100_000
    page = page_of(tmp_path, made)
    assert "an estimated 15.1 % (4.42 % to 48.1 %) of its run time." in page.text


def test_a_trace_without_times_has_no_share_and_the_page_says_so(tmp_path: Path) -> None:
    page = page_of(tmp_path, MadeGuest("g", seconds=None))
    assert "does not know when its trace begins and ends" in page.text
    assert "of CPU time" in page.text


def test_where_walks_are_counted_the_page_says_what_pages_the_guest_is_taken_to_have(tmp_path: Path) -> None:
    small = page_of(tmp_path / "small", walking(4096)).text
    assert small.count("the size of the guest's own pages: 4 KiB is assumed (--guest-pages)") == 2
    large = page_of(tmp_path / "large", walking(1 << 21)).text
    assert large.count("the size of the guest's own pages: 2 MiB is assumed (--guest-pages)") == 2
    assert "1,001" in large


def test_without_tlbs_the_page_says_that_walks_are_not_in_the_cost(tmp_path: Path) -> None:
    assert "TLBs were not modelled, so page walks are not in it" in page_of(tmp_path, MadeGuest("g")).text
