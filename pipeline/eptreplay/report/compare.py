"""Two runs as one: the guests they share, with the profiles of both side by side, so that the same pages compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from eptreplay.errors import UsageError
from eptreplay.report.read.by_guest import TableByGuest
from eptreplay.report.read.run import open_run
from eptreplay.report.read.verified import weaker
from eptreplay.tables.files import TABLES_FOLDER, TableWriter, slug, write_columns_file, write_run_file
from eptreplay.tables.schema import REPLAYED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def merge(first: Path, second: Path, out: Path) -> None:
    """Write a run that holds the guests which two runs share.

    A profile is called `haswell @ before` after the folder of its run; each of the second run is followed and
    measured by its namesake of the first. Tables without profiles are those of the first run; run.json names the
    ones that differ. Tables are read guest by guest, so memory does not grow with the guests.

    Args:
        first: folder of a run.
        second: folder of another.
        out: folder for the result, with one for tables in it.

    Raises:
        UsageError: a folder is no run, or the runs share no guest.
        OutputError: a run or a table is damaged.
    """
    runs = [open_run(folder).about for folder in (first, second)]
    labels = _labels(first, second)
    names = [[guest["name"] for guest in run["guests"]] for run in runs]
    shared = [name for name in names[0] if name in names[1]]
    if not shared:
        raise UsageError(f"{first} and {second} have no guest in common; compare runs of the same guests")
    profiles = _profiles(runs, labels)
    differ = []
    for table in REPLAYED:
        sources = [TableByGuest(folder, table) for folder in (first, second)]
        with TableWriter(out / TABLES_FOLDER, table) as writer:
            if "profile" in table.names():
                _write_profiles(writer, sources, labels, [profile["name"] for profile in profiles], shared)
            elif not _write_first(writer, sources, shared):
                differ.append(table.name)
    write_columns_file(out / TABLES_FOLDER)
    left_out = [
        {"guest": name, "error": f"only in {label}"}
        for label, mine, others in zip(labels, names, reversed(names), strict=True)
        for name in mine
        if name not in others
    ]
    write_run_file(
        out,
        {
            **runs[0],
            "guests": _guests(runs, shared),
            "failed": [*runs[0]["failed"], *left_out],
            "profiles": profiles,
            "compared": {
                "runs": [
                    {"name": name, "options": run["options"]} for name, run in zip(labels, runs, strict=True)
                ],
                "differ": differ,
            },
        },
    )


def _labels(first: Path, second: Path) -> list[str]:
    """Return what the two runs are called: as their folders, if those have names of their own."""
    names = [first.resolve().name, second.resolve().name]
    return names if names[0] != names[1] else ["A", "B"]


def _profiles(runs: Sequence[dict[str, Any]], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the profiles of both runs, namesakes beside each other, with the number of the one each is measured by."""
    of = [{profile["name"]: profile for profile in run["profiles"]} for run in runs]
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys([*of[0], *of[1]]):
        base = len(found)
        for label, profiles in zip(labels, of, strict=True):
            if name in profiles:
                title = f"{name} @ {label}"
                found.append({**profiles[name], "name": title, "slug": slug(title), "base": base})
    return found


def _guests(runs: Sequence[Mapping[str, Any]], shared: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the first run says of shared guests; what guards a guest's input is the weaker of both."""
    guards = [{guest["name"]: guest.get("verified_by") for guest in run["guests"]} for run in runs]
    found = []
    for guest in runs[0]["guests"]:
        if guest["name"] in shared:
            guard = weaker(*(of[guest["name"]] for of in guards))
            known = {} if guard is None else {"verified_by": guard}
            found.append({name: value for name, value in guest.items() if name != "verified_by"} | known)
    return found


def _write_first(writer: TableWriter, sources: Sequence[TableByGuest], guests: Sequence[str]) -> bool:
    """Write the first run's rows of a table without profiles, and return whether the second has the same."""
    same = True
    for guest in guests:
        first, second = (source.of(guest) for source in sources)
        same = same and first.equals(second)
        writer.append(first.to_arrow())
    return same


def _write_profiles(
    writer: TableWriter,
    sources: Sequence[TableByGuest],
    labels: Sequence[str],
    profiles: Sequence[str],
    guests: Sequence[str],
) -> None:
    """Write both runs' rows of a table, every guest's in the order of the merged profiles."""
    place = pl.col("profile").replace_strict(profiles, range(len(profiles)), default=None)
    for guest in guests:
        frame = pl.concat(
            source.of(guest).with_columns(profile=pl.concat_str("profile", pl.lit(f" @ {label}")))
            for source, label in zip(sources, labels, strict=True)
        )
        writer.append(frame.sort(place, maintain_order=True).to_arrow())
