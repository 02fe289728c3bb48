"""Files of compiled code: whatever happens to them costs a compile, never a run, and what is not one's own is not run."""

from __future__ import annotations

import errno
import os
import random
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eptreplay import kernel_files
from eptreplay.kernel_files import HEADER, VARIABLE, KernelFiles

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "model.walk.walk-0123.nbc"
KEY = "what the code was made for"
CODE = bytes(range(256)) * 20
SOMEBODY = 12345


@pytest.fixture(autouse=True)
def private_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let private folders be made in a folder of the test, and the environment be put back."""
    root = tmp_path / "private"
    root.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(root))
    monkeypatch.setenv(VARIABLE, "")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of compiled code with one file."""
    folder = tmp_path / "cache" / "eptreplay" / "kernels" / "digest"
    KernelFiles(folder).save(NAME, KEY, CODE)
    return folder


def flipped(content: bytes) -> bytes:
    """Return a content with one bit changed."""
    at = random.Random(content).randrange(8 * len(content))  # noqa: S311 - nothing secret
    return content[: at // 8] + bytes([content[at // 8] ^ 1 << at % 8]) + content[at // 8 + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "within the header": lambda content: content[:17],
    "header only": lambda content: content[: HEADER.size],
    "truncated": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "zeroed": lambda content: bytes(len(content)),
    "zeroed in the middle": lambda content: content[:1000] + bytes(512) + content[1512:],
    "garbage": lambda content: random.Random(1).randbytes(len(content)),  # noqa: S311 - nothing secret
    "flipped": flipped,
    "a file of numba's": lambda content: content[HEADER.size :],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_removed_and_said_once(
    folder: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / NAME
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    files = KernelFiles(folder)
    assert files.load(NAME, KEY) is None
    assert not path.exists()
    assert capsys.readouterr().err.count("is damaged") == 1
    files.save(NAME, KEY, CODE)
    assert KernelFiles(folder).load(NAME, KEY) == CODE


def test_no_bit_of_a_file_can_change_unnoticed(folder: Path) -> None:
    content = (folder / NAME).read_bytes()
    for at in range(0, 8 * len(content), 41):
        changed = bytearray(content)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(kernel_files.DamagedError):
            kernel_files.unpacked(bytes(changed), KEY)


def test_the_file_of_another_key_is_not_taken(folder: Path) -> None:
    KernelFiles(folder).save("other", "another key", b"other code")
    (folder / "other").replace(folder / NAME)
    assert KernelFiles(folder).load(NAME, KEY) is None


def test_a_file_that_claims_more_than_there_is_memory_for_is_not_read(folder: Path) -> None:
    os.truncate(folder / NAME, 1 << 42)
    assert KernelFiles(folder).load(NAME, KEY) is None
    assert not (folder / NAME).exists()


def make_link(path: Path) -> None:
    """Put a link to a good file in its place."""
    path.rename(path.with_name("good"))
    path.symlink_to(path.with_name("good"))


def make_pipe(path: Path) -> None:
    """Put a pipe in its place, at which a reader would wait for ever."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("put", [make_link, make_pipe])
def test_what_is_no_file_is_neither_followed_nor_waited_for(
    folder: Path, put: Callable[[Path], None]
) -> None:
    put(folder / NAME)
    assert KernelFiles(folder).load(NAME, KEY) is None
    KernelFiles(folder).save(NAME, KEY, CODE)
    assert KernelFiles(folder).load(NAME, KEY) == CODE


def test_a_folder_in_the_place_of_a_file_costs_the_cache_only(folder: Path) -> None:
    (folder / NAME).unlink()
    (folder / NAME / "mine").mkdir(parents=True)
    files = KernelFiles(folder)
    files.save(NAME, KEY, CODE)
    assert files.load(NAME, KEY) == CODE
    assert (folder / NAME / "mine").is_dir()


@pytest.mark.parametrize("bits", [stat.S_IWGRP, stat.S_IWOTH])
def test_a_file_that_others_may_write_to_is_not_run(folder: Path, bits: int) -> None:
    (folder / NAME).chmod(0o600 | bits)
    assert KernelFiles(folder).load(NAME, KEY) is None
    assert not (folder / NAME).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["file", "folder", "parent"])
def test_what_belongs_to_somebody_else_is_not_run(
    folder: Path, what: str, capsys: pytest.CaptureFixture[str], private_root: Path
) -> None:
    os.chown({"file": folder / NAME, "folder": folder, "parent": folder.parent}[what], SOMEBODY, SOMEBODY)
    files = KernelFiles(folder)
    if what != "parent":
        assert files.load(NAME, KEY) is None
    files.save(NAME, KEY, b"new code")
    assert files.load(NAME, KEY) == b"new code"
    assert (list(private_root.iterdir()) == []) == (what == "file")
    assert ("others may write to it" in capsys.readouterr().err) is True


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_only_the_user_may_write_to_what_is_made(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "new" / "eptreplay" / "kernels" / "digest"
    before = os.umask(umask)
    try:
        KernelFiles(folder).save(NAME, KEY, CODE)
    finally:
        os.umask(before)
    for path in (folder / NAME, folder, folder.parent, folder.parent.parent):
        assert kernel_files.is_own(path.stat()), path


def test_folders_of_older_versions_that_a_group_could_write_to_are_closed(folder: Path) -> None:
    folder.parent.chmod(0o775)
    folder.chmod(0o775)
    files = KernelFiles(folder)
    assert files.load(NAME, KEY) is None, "somebody may have written there"
    files.save(NAME, KEY, CODE)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert files.load(NAME, KEY) == CODE


UNWRITABLE: dict[str, Callable[[Path], Path | None]] = {
    "below a device": lambda _: Path("/dev/null/x/eptreplay/kernels/digest"),
    "where nothing can be made": lambda _: Path("/proc/self/fdinfo/x/eptreplay/kernels/digest"),
    "a file in the way": lambda tmp: _with_file(tmp / "cache") / "eptreplay" / "kernels" / "digest",
    "a file in its place": lambda tmp: _with_file(tmp / "cache" / "eptreplay" / "kernels" / "digest"),
    "a name too long": lambda tmp: tmp / ("x" * 300) / "eptreplay" / "kernels" / "digest",
    "a link in a circle": lambda tmp: _circle(tmp / "cache") / "eptreplay" / "kernels" / "digest",
    "no home": lambda _: None,
}


def _with_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("something of the user's")
    return path


def _circle(path: Path) -> Path:
    path.symlink_to(path)
    return path


@pytest.mark.parametrize("where", UNWRITABLE)
def test_where_nothing_can_be_written_code_goes_into_a_private_folder_and_that_is_said_once(
    tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str], private_root: Path
) -> None:
    files = KernelFiles(UNWRITABLE[where](tmp_path))
    assert files.load(NAME, KEY) is None
    for _ in range(2):
        files.announce()
        files.save(NAME, KEY, CODE)
    assert files.load(NAME, KEY) == CODE
    assert capsys.readouterr().err.count("lasts for this run only") == 1
    (private,) = private_root.iterdir()
    assert stat.S_IMODE(private.stat().st_mode) == stat.S_IRWXU
    assert os.environ[VARIABLE] == str(private), "child processes find it"


def test_the_private_folder_goes_with_its_process(private_root: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from eptreplay.kernel_files import KernelFiles;"
        "files = KernelFiles(Path('/dev/null/eptreplay/kernels/x')); files.save('a', 'b', b'c');"
        "print(files.load('a', 'b'), *Path(sys.argv[1]).iterdir())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(private_root)],
        env=os.environ | {"TMPDIR": str(private_root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("b'c' ")
    assert list(private_root.iterdir()) == []


class FullDisk:
    """A disk on which the n-th write and all after it fail."""

    def __init__(self, room: int, error: int) -> None:
        """Take how many writes succeed."""
        self.room = room
        self.error = error
        self.wrapped = os.fdopen

    def fdopen(self, descriptor: int, mode: str) -> object:
        """Stand in for os.fdopen: reading works."""
        if mode == "wb":
            self.room -= 1
            if self.room < 0:
                os.close(descriptor)
                raise OSError(self.error, os.strerror(self.error))
        return self.wrapped(descriptor, mode)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("room", [0, 1, 2, 3])
def test_a_full_disk_costs_the_cache_and_leaves_no_part_of_a_file(
    tmp_path: Path,
    room: int,
    error: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    private_root: Path,
) -> None:
    monkeypatch.setattr(os, "fdopen", FullDisk(room, error).fdopen)
    folder = tmp_path / "cache" / "eptreplay" / "kernels" / "digest"
    files = KernelFiles(folder)
    for number in range(4):
        files.save(f"{number}.nbc", KEY, CODE)
    found = [path for root in (folder, private_root) for path in root.rglob("*") if path.is_file()]
    assert len(found) == room
    assert all(kernel_files.unpacked(path.read_bytes(), KEY) == CODE for path in found)
    assert capsys.readouterr().err.count("cannot be kept") == 1


def test_processes_that_save_and_load_at_once_never_see_a_part(folder: Path) -> None:
    seen: list[bytes | None] = []

    def work(number: int) -> None:
        files = KernelFiles(folder)
        for _ in range(30):
            files.save(NAME, KEY, bytes([number]) * 100_000)
            seen.append(files.load(NAME, KEY))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(code is not None and len(set(code)) == 1 and len(code) == 100_000 for code in seen)
    assert [path.name for path in folder.iterdir()] == [NAME], "nothing is left but the file"


class Unheard:
    """A standard error that leads to a full disk."""

    def write(self, _text: str) -> int:
        """Fail."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        """Fail."""
        self.write("")


@pytest.mark.parametrize("stderr", [None, Unheard()], ids=["closed", "full"])
def test_a_line_that_nobody_can_read_costs_nothing(
    folder: Path, stderr: Unheard | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    KernelFiles(folder).say("something")
