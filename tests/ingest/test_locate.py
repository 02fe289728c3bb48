from __future__ import annotations

import os
from pathlib import Path

import pytest

from eptreplay.errors import UsageError
from eptreplay.ingest.sources.locate import locate, unique_names


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "one.parquet",
        "a/web.parquet",
        "b/web.parquet",
        "h/guest=db/part-1.parquet",
        "h/guest=db/part-0.parquet",
        "h/guest=a%20b/day=1/x.parquet",
        "h/_temporary/y.parquet",
        "h/.hidden.parquet",
        "h/notes.txt",
        "other.pq",
        "empty/notes.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("beside", ["index.html", "files.json"])
@pytest.mark.parametrize("spec", [".", "**", "**/*", "**/*.parquet", "*", "guest=g", "guest=g/*"])
@pytest.mark.parametrize("run", ["guest=g/old", "guest=g/runs/old"])
def test_results_of_earlier_runs_are_no_traces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str, spec: str, beside: str
) -> None:
    for name in ("guest=g/0.parquet", f"{run}/run.json", f"{run}/{beside}", f"{run}/tables/pages.parquet"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    (guest,) = locate([spec])
    assert (guest.name, guest.files) == ("g", (Path("guest=g/0.parquet"),))
    for inside in (run, f"{run}/tables", f"{run}/tables/*.parquet", f"{run}/*"):
        with pytest.raises(UsageError, match="results of an earlier run"):
            locate([inside])


def names(*specs: str) -> list[str]:
    return [guest.name for guest in locate(specs)]


@pytest.mark.usefixtures("tree")
class TestTree:
    def test_a_file_is_a_guest_named_after_it(self) -> None:
        assert names("one.parquet") == ["one"]
        assert names("other.pq") == ["other"]

    def test_a_hive_folder_is_one_guest_and_its_files_are_in_name_order(self) -> None:
        guests = locate(["h"])
        assert [guest.name for guest in guests] == ["a b", "db"]
        assert [path.name for path in guests[1].files] == ["part-0.parquet", "part-1.parquet"]
        assert guests[1].folder == Path("h/guest=db")

    def test_a_file_in_a_hive_folder_has_its_name(self) -> None:
        assert names("h/guest=db/part-1.parquet") == ["db"]

    def test_hidden_and_temporary_files_are_left_alone(self) -> None:
        assert all(
            "hidden" not in str(path) and "y.parquet" not in str(path)
            for g in locate(["h"])
            for path in g.files
        )

    def test_names_are_made_unique_by_folder(self) -> None:
        assert names("a", "b") == ["a/web", "b/web"]

    def test_a_glob_stands_for_the_traces_it_matches(self) -> None:
        assert names("*.parquet") == ["one"]
        assert names("*/web.parquet") == ["a/web", "b/web"]
        assert names("h/*") == ["a b", "db"]
        assert names("*.pq") == ["other"]

    def test_a_file_that_one_word_reaches_twice_counts_once(self) -> None:
        Path("a/zlink.parquet").symlink_to("web.parquet")
        assert names("a") == names("a/*.parquet") == ["web"]

    @pytest.mark.parametrize(
        "words",
        [("a", "a"), ("a", "./a"), ("a", "a/web.parquet"), ("*/web.parquet", "a"), ("a", "link.parquet")],
    )
    def test_a_file_that_two_words_reach_is_refused(self, words: tuple[str, str]) -> None:
        Path("link.parquet").symlink_to("a/web.parquet")
        with pytest.raises(
            UsageError, match=r"is named twice, by '\S+' and by '\S+'; leave one out"
        ) as caught:
            names("one.parquet", *words)
        assert all(f"by '{word}'" in str(caught.value) for word in words)

    def test_links_to_folders_are_followed_once(self) -> None:
        Path("a/self").symlink_to("..", target_is_directory=True)
        assert len(locate(["a"])) == len(locate(["."]))

    def test_guests_come_in_the_order_of_the_words(self) -> None:
        assert names("one.parquet", "a/web.parquet") == ["one", "web"]
        assert names("a/web.parquet", "one.parquet") == ["web", "one"]

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("nowhere", "nowhere: there is no such file or folder"),
            ("empty", r"empty: there is no \*\.parquet file in this folder"),
            ("nowhere/*.parquet", "no file matches"),
            ("empt[y]", "only folders without"),
            ("ftp://host/x.parquet", "traces are not read from ftp://"),
            ("a\0b", "there is no such file|cannot be looked at"),
            ("x" * 5000, "cannot be looked at"),
            ("", "a path is empty"),
        ],
    )
    def test_a_word_that_leads_nowhere_is_named(self, spec: str, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            locate([spec])


def test_no_word_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="no trace was named"):
        locate([])


def test_a_folder_that_cannot_be_read_is_not_passed_over(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("guest=db"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UsageError, match=r"guest=db: this folder cannot be read \(Permission denied\)"):
        locate([str(tree / "h")])


def test_equal_names_in_equal_folders_are_numbered() -> None:
    places = [Path("/x/a/web.parquet"), Path("/y/a/web.parquet"), Path("/z/db.parquet")]
    assert unique_names([("web", places[0]), ("web", places[1]), ("db", places[2])]) == [
        "a/web",
        "a/web (2)",
        "db",
    ]


def test_a_made_name_does_not_meet_a_given_one() -> None:
    places = [Path("/x/a/web.parquet"), Path("/y/b/web.parquet"), Path("/z/guest=x")]
    made = unique_names([("web", places[0]), ("web", places[1]), ("a/web", places[2])])
    assert len(set(made)) == 3
