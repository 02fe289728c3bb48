"""The folder of results: whole or not there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from eptreplay.errors import OutputError
from eptreplay.output import check_output, new_output
from eptreplay.report.files import RUN_FILE

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_block_wrote_takes_the_place_of_the_folder(tmp_path: Path) -> None:
    with new_output(tmp_path / "a/run", overwrite=False) as work:
        (work / RUN_FILE).write_text("{}")
        assert not (tmp_path / "a/run").exists()
    assert (tmp_path / "a/run" / RUN_FILE).exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["run"]


def test_a_block_that_fails_leaves_the_older_run_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / RUN_FILE).write_text("old")
    with contextlib.suppress(ZeroDivisionError), new_output(tmp_path / "run", overwrite=True) as work:
        (work / RUN_FILE).write_text("new")
        raise ZeroDivisionError
    assert (tmp_path / "run" / RUN_FILE).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_older_run_is_replaced_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / RUN_FILE).write_text("old")
    (tmp_path / "run/page.html").write_text("old")
    with pytest.raises(OutputError, match="--overwrite"):
        check_output(tmp_path / "run", overwrite=False)
    with new_output(tmp_path / "run", overwrite=True) as work:
        (work / RUN_FILE).write_text("new")
    assert not (tmp_path / "run/page.html").exists()


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.txt").write_text("all of it")
    with pytest.raises(OutputError, match="no run of eptreplay"):
        check_output(tmp_path / "home", overwrite=True)
