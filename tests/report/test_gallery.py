"""The committed sample report is what the traces and the pages make of it today."""

from __future__ import annotations

from pathlib import Path

import pytest

from eptreplay.report.pages.gallery import GALLERY, KEPT, MOST_BYTES, keep, make

ROOT = Path(__file__).parents[2]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_gallery_rendered_again_has_the_same_bytes(tmp_path: Path) -> None:
    assert make(ROOT / "traces", tmp_path / "gallery") <= MOST_BYTES
    made, committed = files(tmp_path / "gallery"), files(ROOT / GALLERY)
    assert made.keys() == committed.keys(), "run `make gallery`, look at it, and commit it"
    assert [name for name in made if made[name] != committed[name]] == [], "run `make gallery`"


def test_a_gallery_keeps_pages_and_what_they_link_to(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for name in (*KEPT, "tables/pages.parquet"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).mkdir() if "." not in name else (run / name).write_text(name)
    (run / "guests/a.html").write_text("a")
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery/stale.html").write_text("")
    keep(run, tmp_path / "gallery")
    assert files(tmp_path / "gallery").keys() == {
        "index.html",
        "run.json",
        "guests/a.html",
        "tables/summary.csv",
    }
