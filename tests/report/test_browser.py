"""Pages in a real browser: no network, no errors, linked zoom, toggles, exact values, names that would run."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.report.downloads import downloads
from tests.report.runs import MadeGuest, analysis, write_run

from eptreplay.report.pages.html import render
from eptreplay.report.pages.screenshots import FLAGS, find_browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

playwright = pytest.importorskip(
    "playwright.sync_api", reason="NO BROWSER TESTS: playwright is not installed"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_browser() is None,
        reason="NO BROWSER TESTS: no Chromium was found; install one to test the pages",
    ),
]

GALLERY = Path(__file__).parents[2] / "reports" / "gallery"
PROFILES = ("haswell", "nehalem", "zen2", "haswell:ad=off")
HOSTILE = {
    "script": "</script><script>document.title='owned';window.owned=1</script>",
    "image": '<img src=x onerror="window.owned=1">',
    "attribute": '" onmouseover="window.owned=1" x="',
    "path": "../../x",
    "formula": '=HYPERLINK("http://example.org","x")',
    "long": "n" * 300,
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages") / "deep" / "run"
    guests = [MadeGuest(name) for name in ("plain", *HOSTILE.values())]
    for guest in guests:
        analysis(guest, PROFILES)
    write_run(folder, guests, PROFILES)
    render(folder)
    return folder


class Watched:
    """A page, and what it asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    yield Watched(page)
    page.close()


def guest_page(run: Path, name: str = "plain") -> Path:
    (found,) = (run / "guests").glob(f"{name}*.html")
    return found


def opened(watched: Watched, path: Path) -> Page:
    watched.page.goto(path.as_uri())
    watched.page.wait_for_selector("html[data-ready=yes]")
    return watched.page


def view_box(chart: Locator) -> list[float]:
    return [float(number) for number in str(chart.locator("svg.view").get_attribute("viewBox")).split()]


def time_boxes(page: Page) -> list[list[float]]:
    """Return where every time axis begins and how long it is, as shares of the trace of 8 intervals."""
    boxes = [view_box(chart) for chart in page.locator("figure[data-kind=time]").all()]
    return [[left / 8, width / 8] for left, _, width, _ in boxes]


def pages_of(run: Path) -> list[Path]:
    return sorted(run.rglob("*.html"))


@pytest.mark.parametrize("which", ["made", "gallery"])
def test_pages_ask_for_nothing_but_their_own_files_and_complain_of_nothing(
    watched: Watched, run: Path, which: str
) -> None:
    folder = run if which == "made" else GALLERY
    for path in pages_of(folder):
        page = opened(watched, path)
        for plot in page.locator("figure .plot").all()[:4]:
            plot.hover()
        assert page.evaluate("window.owned") is None
    assert watched.complaints == []
    assert all(url.startswith(folder.as_uri()) for url in watched.requests)


def test_every_chart_is_there_with_lines_axes_and_units(watched: Watched, run: Path) -> None:
    page = opened(watched, guest_page(run))
    charts = page.locator("figure.chart")
    assert charts.count() == page.evaluate(
        "Object.keys(JSON.parse(document.getElementById('data').textContent).charts).length"
    )
    assert charts.count() >= 18
    for chart in charts.all():
        box = chart.locator(".plot").bounding_box()
        assert box is not None
        assert box["width"] > 200
        assert box["height"] > 150
        assert chart.locator("svg.view path").count() >= 1
        assert chart.locator(".y-axis text").count() >= 2
        assert chart.locator(".x-axis text").count() >= 2
        assert chart.locator("figcaption .unit").inner_text()
        assert chart.locator(".x-unit").inner_text()


def test_zoom_by_buttons_is_linked_over_all_time_axes(watched: Watched, run: Path) -> None:
    page = opened(watched, guest_page(run))
    others = page.locator("figure[data-kind=bars], figure[data-kind=curve]")
    before = [view_box(chart) for chart in others.all()]
    page.click("[data-do=in]")
    assert {tuple(box) for box in time_boxes(page)} == {(0.25, 0.5)}
    page.click("[data-do=right]")
    assert {tuple(box) for box in time_boxes(page)} == {(0.375, 0.5)}
    assert page.inner_text("#range") == "3 to 7 s"
    ticks = page.locator("#exits .x-axis text").all_text_contents()
    assert ticks[0] == "3"
    assert [view_box(chart) for chart in others.all()] == before
    page.click("[data-do=all]")
    assert {tuple(box) for box in time_boxes(page)} == {(0, 1)}


def test_a_drag_zooms_to_what_it_spans_and_a_double_click_back(watched: Watched, run: Path) -> None:
    page = opened(watched, guest_page(run))
    plot = page.locator("#exits .plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, middle, steps=4)
    page.mouse.up()
    assert len({tuple(box) for box in time_boxes(page)}) == 1
    left, width = time_boxes(page)[0]
    assert left == pytest.approx(0.25, abs=0.01)
    assert width == pytest.approx(0.25, abs=0.01)
    plot.dblclick()
    assert time_boxes(page)[0] == [0, 1]


def test_zoom_and_pan_work_by_keyboard(watched: Watched, run: Path) -> None:
    page = opened(watched, guest_page(run))
    page.locator("#exits .plot").focus()
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowRight")
    assert {tuple(box) for box in time_boxes(page)} == {(0.375, 0.5)}
    page.keyboard.press("-")
    page.keyboard.press("0")
    assert {tuple(box) for box in time_boxes(page)} == {(0, 1)}


def test_a_legend_hides_a_profile_in_all_charts_and_shared_lines_last(watched: Watched, run: Path) -> None:
    page = opened(watched, guest_page(run))
    one = page.locator("path[data-profiles='1']")
    shared = page.locator("path[data-profiles='0 1 2 3']")
    assert one.count() >= 2
    assert shared.count() >= 2
    button = page.locator("#exits button[data-profile='1']")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert not any(path.is_visible() for path in one.all())
    assert all("off" not in str(path.get_attribute("class")) for path in shared.all())
    for number in (0, 2, 3):
        page.locator(f"#exits button[data-profile='{number}']").click()
    assert all("off" in str(path.get_attribute("class")) for path in shared.all())
    button.press("Enter")
    assert all("off" not in str(path.get_attribute("class")) for path in (*one.all(), *shared.all()))


def rows_of(run: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(downloads(guest_page(run))[name])))


def test_values_under_the_pointer_are_those_of_the_csv_file(watched: Watched, run: Path) -> None:
    page = opened(watched, guest_page(run))
    plot = page.locator("#exits .plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    for at, row in enumerate(rows_of(run, "exits.csv")):
        page.mouse.move(box["x"] + box["width"] * (at + 0.5) / 8, box["y"] + 40)
        text = page.inner_text("#tip")
        assert text.startswith(f"{at} to {at + 1} s")
        values = dict(re.findall(r"^([^\t\n]+)\t([\d.,]+)$", text, flags=re.MULTILINE))
        found = {name: value for names, value in values.items() for name in names.strip().split(", ")}
        assert found == {name: row[f"{name} [exits per interval]"] for name in PROFILES}


def test_arrow_keys_read_values(watched: Watched, run: Path) -> None:
    page = opened(watched, guest_page(run))
    page.locator("#exits .plot").focus()
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#tip").startswith("0 to 1 s")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#tip").startswith("1 to 2 s")
    page.keyboard.press("Escape")
    assert not page.is_visible("#tip")


def test_a_heat_map_tells_address_time_and_count_by_pointer_and_keys(watched: Watched, run: Path) -> None:
    page = opened(watched, guest_page(run))
    rows = rows_of(run, "heatmap.csv")
    row = rows[len(rows) // 2]
    stretches = sorted({int(row["gpa_start"]) for row in rows})
    plot = page.locator("#reads .plot")
    plot.scroll_into_view_if_needed()
    plot.focus()
    for _ in range(int(row["interval"]) + 1):
        page.keyboard.press("ArrowRight")
    begin = f"{int(row['gpa_start']) / 2**30:.6g} to"
    for _ in range(2 * len(stretches) + 64):
        if f"\n{begin}" in page.inner_text("#tip"):
            break
        page.keyboard.press("ArrowUp")
    text = page.inner_text("#tip")
    assert text.startswith(f"{row['interval']} to {int(row['interval']) + 1} s")
    assert text.endswith(f"{int(row['pages_read']):,} pages in a cell")
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] - 3)
    assert "\n0 to " in page.inner_text("#tip")


def test_definitions_show_by_pointer_and_by_keyboard(watched: Watched, run: Path) -> None:
    page = opened(watched, guest_page(run))
    term = page.locator("#exits .tip")
    term.hover()
    assert "accesses that left the guest" in page.inner_text("#tip")
    page.mouse.move(0, 0)
    assert not page.is_visible("#tip")
    term.focus()
    assert "accesses that left the guest" in page.inner_text("#tip")


def test_csv_links_give_the_files(watched: Watched, run: Path) -> None:
    page = opened(watched, guest_page(run))
    links = page.locator("#main a[download]")
    assert links.count() >= 20
    for link in links.all()[:4]:
        with page.expect_download() as started:
            link.click()
        name = started.value.suggested_filename
        assert Path(started.value.path()).read_bytes().decode() == downloads(guest_page(run))[name]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_name_executes_nothing(watched: Watched, run: Path, name: str) -> None:
    page = opened(watched, run / "index.html")
    link = page.locator("table.matrix a", has_text=name if len(name) < 100 else re.compile("n{300}"))
    link.first.click()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.inner_text("h1").strip() == name
    assert page.title() == name
    page.locator("h1").hover()
    page.locator("#exits .plot").hover()
    assert page.evaluate("window.owned") is None
    assert page.locator("script").count() == 2
    assert page.locator("img").count() == 0
    assert watched.complaints == []


def test_hostile_names_leave_no_file_outside_the_run(run: Path) -> None:
    assert [path.name for path in run.parent.iterdir()] == ["run"]
    assert [path.name for path in run.parents[1].iterdir()] == ["deep"]


def test_pages_make_sense_without_javascript(browser: Browser, run: Path) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(guest_page(run).as_uri())
    assert page.is_visible("text=Can it migrate?")
    assert page.is_visible("#exits svg.view path")
    assert page.is_visible("#migrations td")
    assert not page.is_visible(".toolbar")
    page.hover("#exits .tip")
    shown = page.locator("#exits .tip")
    assert shown.get_attribute("data-tip")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_pages_fit_the_screen(browser: Browser, run: Path, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    for path in pages_of(run):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 24)"
    assert dark == (scheme == "dark")
    page.close()


def test_many_guests_are_found_by_a_part_of_their_name(watched: Watched, tmp_path: Path) -> None:
    guests = [MadeGuest(f"{kind}-{number}") for kind in ("web", "build") for number in range(10)]
    render(write_run(tmp_path / "run", guests, PROFILES))
    page = opened(watched, tmp_path / "run" / "index.html")
    page.fill("#find", " WEB ")
    shown = [row for row in page.locator(".matrix tbody").all() if row.is_visible()]
    assert len(shown) == 10
    assert all("web" in row.inner_text() for row in shown)
    assert page.inner_text("#found") == "10 of 20"
    page.fill("#find", "")
    assert page.locator(".matrix tbody:visible").count() == 20
    assert watched.complaints == []


def test_print_leaves_out_what_only_a_screen_can_do(watched: Watched, run: Path) -> None:
    page = opened(watched, guest_page(run))
    page.emulate_media(media="print")
    assert not page.is_visible(".toolbar")
    assert page.is_visible("#exits svg.view path")


def test_a_page_of_a_real_trace_is_small(watched: Watched) -> None:
    shared = sum(path.stat().st_size for path in (GALLERY / "assets").iterdir())
    for path in (GALLERY / "guests").iterdir():
        assert path.stat().st_size + shared < 2_500_000
        opened(watched, path)
