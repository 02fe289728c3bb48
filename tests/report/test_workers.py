"""Pages by several processes: the same bytes, and the end of one process costs the page it was at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.report.runs import MadeGuest, analysis, write_run

from eptreplay.errors import RenderError
from eptreplay.report.pages import guest as guestpage
from eptreplay.report.pages import text as pages
from eptreplay.report.pages import workers
from eptreplay.report.pages.html import render

if TYPE_CHECKING:
    from pathlib import Path

    from eptreplay.report.read.run import Guest

PROFILES = ("haswell", "zen2")
NAMES = ["a", "../../x", "</script>", "d"]

DOOMED = """
import os, signal, sys
from eptreplay.report.pages import text as pages, worker
plain = pages.Pages.write_guest
def write_guest(self, number):
    if number == 1:
        {end}
    return plain(self, number)
pages.Pages.write_guest = write_guest
if __name__ == "__main__":
    worker.main(int(sys.argv[1]))
"""


def a_run(folder: Path) -> Path:
    guests = [MadeGuest(name) for name in NAMES]
    for guest in guests:
        analysis(guest, PROFILES)
    write_run(folder, guests, PROFILES)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let several processes render few guests."""
    monkeypatch.setattr(workers, "GUESTS_PER_WORKER", 1)


def doom(folder: Path, patch: pytest.MonkeyPatch, end: str) -> None:
    """Let worker processes end so at the second guest."""
    folder.mkdir()
    (folder / "doomed.py").write_text(DOOMED.format(end=end))
    patch.setattr(workers, "MODULE", "doomed")
    patch.syspath_prepend(folder)


@pytest.mark.usefixtures("few")
def test_several_processes_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    assert render(a_run(tmp_path / "one")) == []
    assert render(a_run(tmp_path / "two"), workers=2, on_page=lambda *made: heard.append(made)) == []
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert heard == [(number, len(NAMES)) for number in range(len(NAMES) + 1)]


def test_few_guests_are_rendered_without_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_start", lambda *_: pytest.fail("a process was started"))
    assert render(a_run(tmp_path / "run"), workers=8) == []


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os._exit(7)", "exit code 7"),
        ("raise SystemExit(5)", "exit code 5"),
    ],
)
def test_a_process_that_dies_costs_the_page_it_was_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, said: str
) -> None:
    run = a_run(tmp_path / "run")
    remade = "tables/costs"
    tables = {name: data for name, data in files(run).items() if not name.startswith(remade)}
    doom(tmp_path / "doomed", monkeypatch, end)
    (lost,) = render(run, workers=2)
    assert (lost.guest, lost.why) == (NAMES[1], f"the process that rendered it ended: {said}")
    found = files(run)
    assert len([name for name in found if name.startswith("guests/")]) == len(NAMES) - 1
    assert found.items() >= tables.items()
    assert f"it has no page (the process that rendered it ended: {said})" in found["index.html"].decode()


@pytest.mark.usefixtures("few")
def test_where_no_process_can_be_started_this_one_renders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert render(a_run(tmp_path / "one")) == []
    monkeypatch.setattr(workers, "MODULE", "no_such_module")
    assert render(a_run(tmp_path / "two"), workers=2) == []
    assert files(tmp_path / "one") == files(tmp_path / "two")


def break_page(patch: pytest.MonkeyPatch, names: list[str]) -> None:

    def guest_page(guest: Guest, *rest: object) -> object:
        made = guestpage.guest_page(guest, *rest)  # type: ignore[arg-type]  # as they come
        if guest.name in names:
            raise ZeroDivisionError("by zero")
        return made

    patch.setattr(pages, "guest_page", guest_page)


def test_a_guest_whose_page_raises_costs_that_page_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_page(monkeypatch, ["d"])
    run = a_run(tmp_path / "run")
    (lost,) = render(run)
    assert (lost.guest, lost.why) == ("d", "ZeroDivisionError: by zero")
    assert "guest_page" in lost.traceback
    assert not [name for name in files(run) if name.startswith("guests/d")]
    assert "ZeroDivisionError: by zero" in files(run)["index.html"].decode()


def test_when_no_page_can_be_made_that_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_page(monkeypatch, NAMES)
    with pytest.raises(RenderError, match="ZeroDivisionError: by zero"):
        render(a_run(tmp_path / "run"))


def children() -> set[int]:
    """Return the processes that this one has started and that are not yet gone."""
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children", encoding="ascii") as file:  # noqa: PTH123 - a file of the system's
        return set(map(int, file.read().split()))


@pytest.mark.usefixtures("few")
def test_an_interrupt_leaves_no_process(tmp_path: Path) -> None:
    before = children()  # of other tests: they may last longer
    started: list[int] = []

    def interrupt(made: int, _: int) -> None:
        if made:
            started.extend(children() - before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(a_run(tmp_path / "run"), workers=2, on_page=interrupt)
    for child in started:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
