"""The folder of results: whole or not there, and nothing in it is removed that a run did not write."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from eptreplay.errors import OutputError
from eptreplay.run.output import check_output, new_output, reserved
from eptreplay.run.written import LIST_FILE
from eptreplay.tables.files import RUN_FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def finished(out: Path, text: str = "old", *, overwrite: bool = False) -> Path:
    with new_output(out, overwrite=overwrite) as work:
        (work / RUN_FILE).write_text(text)
        (work / "tables/summary.csv").write_text(text)
        (work / f"page-{text}.html").write_text(text)
    return out


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_block_wrote_takes_the_place_of_the_folder(tmp_path: Path) -> None:
    with new_output(tmp_path / "a/run", overwrite=False) as work:
        (work / RUN_FILE).write_text("{}")
        assert not (tmp_path / "a/run").exists()
    assert (tmp_path / "a/run" / RUN_FILE).exists()
    assert names(tmp_path / "a") == ["run"]


def test_a_block_that_fails_leaves_the_older_run_as_it_was(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    with contextlib.suppress(ZeroDivisionError), new_output(tmp_path / "run", overwrite=True) as work:
        (work / RUN_FILE).write_text("new")
        raise ZeroDivisionError
    assert (tmp_path / "run" / RUN_FILE).read_text() == "old"
    assert names(tmp_path) == ["run"]


def test_an_older_run_is_replaced_only_when_asked(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    with pytest.raises(OutputError, match="--overwrite"):
        check_output(tmp_path / "run", overwrite=False)
    finished(tmp_path / "run", "new", overwrite=True)
    assert names(tmp_path / "run") == [LIST_FILE, "page-new.html", RUN_FILE, "tables"]
    assert names(tmp_path) == ["run"]


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.txt").write_text("all of it")
    with pytest.raises(OutputError, match="no run of eptreplay"):
        check_output(tmp_path / "home", overwrite=True)


@pytest.mark.parametrize("text", ["", "{}", "not even JSON"])
def test_a_file_named_as_a_run_has_it_makes_no_run_of_a_folder(tmp_path: Path, text: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / RUN_FILE).write_text(text)
    (tmp_path / "home/thesis.txt").write_text("all of it")
    with pytest.raises(OutputError, match="no list of the files"):
        check_output(tmp_path / "home", overwrite=True)


@pytest.mark.parametrize(
    "list_text", ["", "[]", '{"files": 3}', '{"files": {"../x": []}}', '{"files": {"/x": []}}']
)
def test_a_damaged_list_removes_nothing(tmp_path: Path, list_text: str) -> None:
    out = finished(tmp_path / "run")
    (out / LIST_FILE).write_text(list_text)
    with pytest.raises(OutputError, match="is damaged"):
        check_output(out, overwrite=True)


def put_file(out: Path) -> None:
    (out / "notes.txt").write_text("mine")


def put_deep(out: Path) -> None:
    (out / "tables/mine").mkdir()
    (out / "tables/mine/notes.txt").write_text("mine")


def change(out: Path) -> None:
    (out / "page-old.html").write_text("OLD")  # of the same length


def put_link(out: Path) -> None:
    (out / "link").symlink_to(out.parent)


def change_to_link(out: Path) -> None:
    (out / "page-old.html").rename(out.parent / "page-old.html")
    (out / "page-old.html").symlink_to(out.parent / "page-old.html")


STRANGERS = [put_file, put_deep, change, put_link, change_to_link]


@pytest.mark.parametrize("put", STRANGERS)
def test_a_run_with_anything_that_is_not_the_runs_is_not_replaced(
    tmp_path: Path, put: Callable[[Path], None]
) -> None:
    out = finished(tmp_path / "run")
    put(out)
    before = sorted(out.rglob("*"))
    with pytest.raises(OutputError, match=r"1 file \(.+\) in it were not written"):
        check_output(out, overwrite=True)
    assert sorted(out.rglob("*")) == before


def write_new(put: Callable[[Path], None], out: Path, work: Path) -> None:
    (work / RUN_FILE).write_text("new")
    put(out)


@pytest.mark.parametrize("put", STRANGERS)
def test_what_comes_into_the_older_run_meanwhile_is_kept_and_the_new_run_beside_it(
    tmp_path: Path, put: Callable[[Path], None]
) -> None:
    out = finished(tmp_path / "run")
    with (
        pytest.raises(OutputError, match=r"the finished run is in .*run-1$"),
        new_output(out, overwrite=True) as work,
    ):
        write_new(put, out, work)
    assert (out / RUN_FILE).read_text() == "old"
    assert (tmp_path / "run-1" / RUN_FILE).read_text() == "new"
    assert (tmp_path / "run-1" / LIST_FILE).exists()


def folder_comes(out: Path, work: Path) -> None:
    (work / RUN_FILE).write_text("new")
    out.mkdir(exist_ok=True)
    (out / "thesis.txt").write_text("all of it")


def file_comes(out: Path, work: Path) -> None:
    (work / RUN_FILE).write_text("new")
    if out.exists():
        out.rmdir()
    out.write_text("all of it")


def link_comes(out: Path, work: Path) -> None:
    (work / RUN_FILE).write_text("new")
    if out.exists():
        out.rmdir()
    out.symlink_to("nowhere")


@pytest.mark.parametrize("was_there", [False, True], ids=["new", "empty"])
@pytest.mark.parametrize("come", [folder_comes, file_comes, link_comes])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_comes_in_the_place_of_the_run_meanwhile_is_kept(
    tmp_path: Path, come: Callable[[Path, Path], None], was_there: bool, overwrite: bool
) -> None:
    out = tmp_path / "run"
    (tmp_path / "run-1").mkdir()  # a name that is taken
    if was_there:
        out.mkdir()
    with pytest.raises(OutputError, match=r"run-2$"), new_output(out, overwrite=overwrite) as work:
        come(out, work)
    assert os.path.lexists(out)
    assert come is not folder_comes or (out / "thesis.txt").read_text() == "all of it"
    assert (tmp_path / "run-2" / RUN_FILE).read_text() == "new"
    assert names(tmp_path) == ["run", "run-1", "run-2"]


def test_a_message_names_three_files_and_how_many_there_are(tmp_path: Path) -> None:
    out = finished(tmp_path / "run")
    for number in range(1200):
        (out / f"note{number:04}").touch()
    with pytest.raises(OutputError, match=r"1,200 files \(note0000, note0001, note0002, \.\.\.\)"):
        check_output(out, overwrite=True)


def test_an_input_is_never_where_a_run_is_replaced(tmp_path: Path) -> None:
    out = finished(tmp_path / "run")
    (tmp_path / "link").symlink_to(out / "tables")
    for path in (out, out / "tables/summary.csv", tmp_path / "link/summary.csv"):
        with pytest.raises(OutputError, match="which is read"):
            check_output(out, overwrite=True, inputs=[path])
    with pytest.raises(OutputError, match="which is read"):
        check_output(tmp_path / "new", overwrite=True, inputs=[tmp_path / "new/trace.parquet"])
    check_output(
        out, overwrite=True, inputs=[tmp_path]
    )  # an input folder may hold the run, which is no trace


@pytest.mark.parametrize("name", ["-", "link", "dangling", "x" * 250, "x" * 5000, "/", "file/run", "file"])
def test_what_can_be_no_folder_of_results_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").touch()
    before = names(tmp_path)
    with (
        pytest.raises(OutputError, match="--out") as refused,
        reserved(type(tmp_path)(name), overwrite=True, inputs=()),
    ):
        pass
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400
    assert names(tmp_path) == before


def test_the_longest_name_that_is_allowed_works(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"more than \d+ bytes") as refused:
        check_output(tmp_path / ("x" * 255), overwrite=False)
    most = int(str(refused.value).partition("more than ")[2].split()[0])
    out = tmp_path / ("x" * most)
    with reserved(out, overwrite=False, inputs=()):
        finished(out)
    with reserved(out, overwrite=True, inputs=()):
        finished(out, "new", overwrite=True)
    assert names(tmp_path) == [out.name]


def test_a_second_run_into_the_same_folder_is_refused_at_its_start(tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to(tmp_path)
    with reserved(tmp_path / "a/run", overwrite=False, inputs=()):
        for out in (tmp_path / "a/run", tmp_path / "here/a/run", tmp_path / "a/../a/run"):
            with (
                pytest.raises(
                    OutputError, match=rf"another eptreplay \(process {os.getpid()}, since .+: .+\)"
                ),
                reserved(out, overwrite=False, inputs=()),
            ):
                pass
        with reserved(tmp_path / "a/other", overwrite=False, inputs=()):
            pass
    assert not (tmp_path / "a").exists()
    with reserved(tmp_path / "a/run", overwrite=False, inputs=()):
        finished(tmp_path / "a/run")
    assert names(tmp_path / "a") == ["run"]
