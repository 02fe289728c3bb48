"""The folder of a run that is not finished, beside the one that it is to take the place of.

What is done stays there whatever ends the process, until the run is resumed, or cleared by a command. Nothing of it is under the name
of the finished run, so an older run there is whole until the new one takes its place.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eptreplay.errors import OutputError
from eptreplay.run.beside import stages, unfinished_folder
from eptreplay.run.failures import Failure, Told, failure_told, tell
from eptreplay.run.unfinished import manifest
from eptreplay.run.unfinished.checkpoint import CHECKPOINT, CHECKPOINTS_FOLDER
from eptreplay.run.unfinished.claims import CLAIMS_FOLDER, refuse_while_claimed
from eptreplay.run.unfinished.durable import NEW, whole_file
from eptreplay.run.unfinished.part import PARTS_FOLDER, is_whole, part_file
from eptreplay.run.written import LIST_FILE, UNFINISHED, files_in, named, remove_empty, sync_folder
from eptreplay.tables.files import RUN_FILE, TABLES_FOLDER, inside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ASSEMBLED = (
    TABLES_FOLDER,
    "failures",
    "guests",
    "csv",
    "assets",
    RUN_FILE,
    LIST_FILE,
    UNFINISHED,
    "index.html",
)
"""What is made of the parts, and can be made again."""

COMMAND_FILE = "resume.txt"
SHARES_FILE = "parts.json"
"""Which hosts every part has, where the run was begun in parts."""

WORKING = (PARTS_FOLDER, CHECKPOINTS_FOLDER, CLAIMS_FOLDER, SHARES_FILE, COMMAND_FILE)
"""What a run needs until it is finished, and no longer."""


MOST_OF_COMMAND = 4000
"""The most characters of a command that a message shows."""


@dataclass(frozen=True, slots=True)
class Work:
    """A run that is not finished.

    Args:
        folder: where it is.
        out: where it is to be.
        units: names of the guests of every host.
    """

    folder: Path
    out: Path
    units: Sequence[Sequence[str]]

    def part(self, unit: int) -> Path:
        """Return where the part of a host is."""
        return part_file(self.folder, unit)

    def done(self) -> list[int]:
        """Return the numbers of the hosts that are done."""
        return [unit for unit in range(len(self.units)) if is_whole(self.part(unit))]

    def failed(self, unit: int, failure: Failure | None) -> None:
        """Note for whoever puts the parts together what failed of a host; None: nothing did.

        Raises:
            OSError: it cannot be written.
        """
        path = self.part(unit).with_suffix(".failed")
        if failure is None:
            path.unlink(missing_ok=True)
            return
        with whole_file(path) as file:
            file.write(json.dumps(tell(failure)).encode())

    def failure(self, unit: int) -> Failure | None:
        """Return what was noted as failed of a host; None if nothing was."""
        try:
            told = json.loads(self.part(unit).with_suffix(".failed").read_bytes())
            return failure_told(Told(*told))
        except (OSError, ValueError, TypeError):
            return None

    def holds_anything(self) -> bool:
        """Return whether anything of it is worth to be resumed."""
        return (
            (self.folder / SHARES_FILE).exists()
            or any((self.folder / CHECKPOINTS_FOLDER).glob(f"*{CHECKPOINT}"))
            or bool(self.done())
            or self.is_assembled()
        )

    def is_assembled(self) -> bool:
        """Return whether tables and pages are complete, so that it has only to be moved into its place."""
        path = self.folder / manifest.MANIFEST_FILE
        return path.exists() and any(line["kind"] == "complete" for line in manifest.lines(self.folder))

    def note(self, kind: str, **what: Any) -> None:  # noqa: ANN401 - whatever JSON has
        """Append a line about a host to the manifest: its part, or the lack of it, tells the same."""
        manifest.note(self.folder, kind, what)

    def state(self) -> str:
        """Return in words how much is done."""
        done = sum(len(self.units[unit]) for unit in self.done())
        of = sum(map(len, self.units))
        middle = len(list((self.folder / CHECKPOINTS_FOLDER).glob(f"*{CHECKPOINT}")))
        begun = f", {middle:,} in {'its' if middle == 1 else 'their'} middle" if middle else ""
        return f"{done:,} of {of:,} guest{'s are' if of != 1 else ' is'} done{begun}"


def find(out: Path) -> Work | None:
    """Return the unfinished run beside an output folder; None if there is none.

    Raises:
        OutputError: it cannot be read.
    """
    folder = unfinished_folder(out)
    if folder.is_symlink() or not folder.is_dir():
        return None
    first = next(iter(manifest.lines(folder)), None) if (folder / manifest.MANIFEST_FILE).exists() else None
    units = first.get("units") if first is not None and first["kind"] == "run" else None
    return Work(folder, out, _checked(units))


def _checked(units: object) -> Sequence[Sequence[str]]:
    """Return the units of a manifest; none where it does not say."""
    if isinstance(units, list) and all(
        isinstance(unit, list) and all(isinstance(name, str) for name in unit) for unit in units
    ):
        return units
    return ()


def begun(out: Path, about: Mapping[str, Any]) -> Work:
    """Return an unfinished run that was begun as it is asked for now.

    Raises:
        OutputError: there is none, or it was begun otherwise.
    """
    work = find(out)
    first = None if work is None else next(manifest.lines(work.folder), None)
    if work is None or first is None:
        raise OutputError(f"{out}: no run into it was begun; begin with eptreplay batch init")
    _refuse_other(first, about, f"{out}: the unfinished run there", _anew(out))
    return work


def _anew(out: Path) -> str:
    return f"to begin anew: eptreplay clean {shlex.quote(str(out))}, then without --resume"


def start(out: Path, about: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> Work:
    """Make the folder of a run that begins.

    Args:
        out: where it is to be.
        about: see `manifest.head`.
        inputs: see `manifest.input_of`, of every guest.

    Raises:
        OutputError: an unfinished run with something done is there.
        OSError: the folder cannot be written.
    """
    older = find(out)
    if older is not None and older.holds_anything():
        raise OutputError(
            f"{out}: an unfinished run into it is there ({older.state()}); to go on: {command_of(older)}; "
            f"to clear it: eptreplay clean {shlex.quote(str(out))}"
        )
    if older is not None:
        refuse_strangers(clear(older.folder), out)
    work = Work(unfinished_folder(out), out, about["units"])
    work.folder.mkdir()
    (work.folder / PARTS_FOLDER).mkdir()
    sync_folder(work.folder.parent)
    manifest.append(work.folder, "run", about)
    manifest.append(work.folder, "input", *inputs)
    return work


def resume(out: Path, about: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> Work:
    """Go on with an unfinished run; without one, begin it.

    Raises:
        OutputError: it was asked for otherwise, or the input of a guest that is done has changed.
        OSError: the folder cannot be written.
    """
    work = find(out)
    if work is None or not work.holds_anything():
        return start(out, about, inputs)
    found = list(manifest.lines(work.folder))
    anew = _anew(out)
    _refuse_other(found[0], about, f"{out}: the unfinished run there", anew)
    known = {line["guest"]: line for line in found if line["kind"] == "input" and "guest" in line}
    done = {name for unit in work.done() for name in work.units[unit]}
    for each in inputs:
        if _unnamed(each) == _unnamed(known.get(each["guest"], {})):
            continue
        if each["guest"] in done:
            raise OutputError(
                f"{_changed(each, known.get(each['guest'], {}))}: has changed since guest '{each['guest']}' was replayed from it; "
                f"put the older file back and go on with --resume; {anew}"
            )
        manifest.append(work.folder, "input", each)
    (work.folder / PARTS_FOLDER).mkdir(exist_ok=True)
    manifest.append(work.folder, "resumed", {})
    return work


def _changed(now: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """Return the first file of a guest that is not as it was."""
    older = _unnamed(before)
    found = (file["path"] for file, of in zip(now["files"], _unnamed(now), strict=True) if of not in older)
    return next(found, str(now["guest"]))


def _unnamed(line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the files of a guest without their paths: what they hold counts, not from where they are named."""
    return [{name: value for name, value in file.items() if name != "path"} for file in line.get("files", ())]


def _refuse_other(first: Mapping[str, Any], about: Mapping[str, Any], which: str, anew: str) -> None:
    """Refuse to go on with a run that was asked for otherwise, or of other guests.

    Raises:
        OutputError: it was; with what differs.
    """
    before, now = first.get("configuration", {}), about["configuration"]
    differs = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    for name in differs:
        one, other = _difference(before.get(name), now.get(name))
        raise OutputError(f"{which} was begun with another {name} ({one}, now {other}); {anew}")
    guests = [name for unit in first.get("units", ()) for name in unit]
    wanted = [name for unit in about["units"] for name in unit]
    gone = [name for name in guests if name not in set(wanted)]
    new = [name for name in wanted if name not in set(guests)]
    if gone:
        raise OutputError(
            f"{which} has guest '{gone[0]}', whose trace is no longer there or cannot be opened; "
            f"put it back and go on with --resume; {anew}"
        )
    if new:
        raise OutputError(f"{which} does not have guest '{new[0]}', which has come since; {anew}")
    if first.get("units") != about["units"]:
        raise OutputError(f"{which} has the same guests in another order; {anew}")


def _difference(one: object, other: object) -> tuple[str, str]:
    """Return what differs of two values, as short as it can be said."""
    if isinstance(one, dict) and isinstance(other, dict):
        name = next(key for key in {**one, **other} if one.get(key) != other.get(key))
        return f"{name}: {one.get(name)!s:.60}", f"{other.get(name)!s:.60}"
    if isinstance(one, list) and isinstance(other, list):
        names = [
            [str(each.get("name", each)) if isinstance(each, dict) else str(each) for each in of]
            for of in (one, other)
        ]
        return f"{', '.join(names[0]):.80}", f"{', '.join(names[1]):.80}"
    return f"{one!s:.60}", f"{other!s:.60}"


def is_finished(out: Path, about: Mapping[str, Any]) -> bool:
    """Return whether the finished run that is to be resumed is there already, so that nothing is left to do."""
    if find(out) is not None or not (out / manifest.MANIFEST_FILE).is_file():
        return False
    first = next(manifest.lines(out), {})
    same = all(first.get(name) == about[name] for name in ("configuration", "units"))
    return same and (out / RUN_FILE).is_file()


def command_of(work: Work) -> str:
    """Return the command that goes on with an unfinished run, as it was noted."""
    try:
        text = inside(work.folder, COMMAND_FILE).read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, OutputError):
        text = ""
    return text[:MOST_OF_COMMAND] or "the same command with --resume"


def write_command(work: Work, command: str) -> None:
    """Note the command that goes on with an unfinished run.

    Raises:
        OSError: it cannot be written.
    """
    with whole_file(work.folder / COMMAND_FILE) as file:
        file.write(f"{command}\n".encode(errors="replace"))


def clear_assembled(folder: Path) -> None:
    """Remove what was made of the parts, and of pages in the making."""
    for path in (*(folder / name for name in ASSEMBLED), *stages(folder)):
        _remove(path)


def clear_working(folder: Path) -> None:
    """Remove what a finished run needs no longer."""
    for path in (*(folder / name for name in WORKING), *folder.glob(f"{NEW}*")):
        _remove(path)


def clear(folder: Path) -> list[str]:
    """Remove an unfinished run; return what is left because no run writes it.

    Raises:
        OutputError: a process carries out a part of it.
    """
    refuse_while_claimed(folder)
    clear_assembled(folder)
    clear_working(folder)
    _remove(folder / manifest.MANIFEST_FILE)
    left = list(files_in(folder))
    if not left:
        remove_empty(folder)
    return left


def refuse_strangers(left: Sequence[str], out: Path) -> None:
    """Refuse to begin where something lies that no run writes.

    Raises:
        OutputError: there is something.
    """
    if left:
        raise OutputError(
            f"{unfinished_folder(out)}: {named(left)} in it were not written by a run; move them away"
        )


def _remove(path: Path) -> None:
    """Remove a file or folder, if it is there; a link goes, what it leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
