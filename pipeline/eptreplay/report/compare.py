"""Two runs as one: the guests they share, with the profiles of both side by side, so that the same pages compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from eptreplay.errors import UsageError
from eptreplay.report.read.run import open_run
from eptreplay.tables.files import (
    TABLES_FOLDER,
    TableWriter,
    read_table,
    slug,
    write_columns_file,
    write_run_file,
)
from eptreplay.tables.schema import REPLAYED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eptreplay.tables.columns import Table


def merge(first: Path, second: Path, out: Path) -> None:
    """Write a run that holds the guests which two runs share.

    A profile is called `haswell @ before` after the folder of its run; each of the second run is followed and
    measured by its namesake of the first. Tables without profiles are those of the first run; run.json names the
    ones that differ.

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
        frames = [read_table(folder, table) for folder in (first, second)]
        if "profile" not in table.names() and not frames[0].equals(frames[1]):
            differ.append(table.name)
        _write(out, table, frames, labels, [profile["name"] for profile in profiles], shared)
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
            "guests": [guest for guest in runs[0]["guests"] if guest["name"] in shared],
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


def _write(
    out: Path,
    table: Table,
    frames: Sequence[pl.DataFrame],
    labels: Sequence[str],
    profiles: Sequence[str],
    guests: Sequence[str],
) -> None:
    """Write a table of the merged run, in the order of its guests and profiles."""
    frame = frames[0]
    order = ["guest"]
    if "profile" in table.names():
        order = ["guest", "profile"]
        frame = pl.concat(
            of.with_columns(profile=pl.concat_str("profile", pl.lit(f" @ {label}")))
            for of, label in zip(frames, labels, strict=True)
        )
    place = {"guest": list(guests), "profile": list(profiles)}
    rank = [
        pl.col(name).replace_strict(place[name], range(len(place[name])), default=None).alias(f"{name} at")
        for name in order
    ]
    ranks = [f"{name} at" for name in order]
    frame = frame.filter(pl.col("guest").is_in(place["guest"])).with_columns(rank)
    frame = frame.sort(ranks, maintain_order=True).drop(ranks)
    writer = TableWriter(out / TABLES_FOLDER, table)
    writer.append(frame.to_arrow())
    writer.close()
