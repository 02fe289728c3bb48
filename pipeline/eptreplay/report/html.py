"""Pages: an index that compares the profiles, and a page a guest, made from the tables of a run alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jinja2
import polars as pl

from eptreplay.report.files import read_run_file, read_table
from eptreplay.report.tables import COUNTERS, FAULTS, SUMMARY
from eptreplay.units import binary_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GUESTS_FOLDER = "guests"
PAGE_BYTES = 4096


def render(folder: Path) -> None:
    """Write `index.html` and a page a guest into the folder of a run.

    Raises:
        UsageError: the folder is not a run.
        OutputError: a table is missing or damaged.
    """
    run = read_run_file(folder)
    summary, faults = read_table(folder, SUMMARY), read_table(folder, FAULTS)
    profiles = run["profiles"]
    names = [profile["name"] for profile in profiles]
    guests = [
        guest
        | {
            "memory": binary_size(guest["memory_pages"] * PAGE_BYTES),
            "counters": _counters(summary.filter(pl.col("guest") == guest["name"]), names),
            "faults": _faults(faults.filter(pl.col("guest") == guest["name"]), names),
        }
        for guest in run["guests"]
    ]
    pages = _environment()
    (folder / GUESTS_FOLDER).mkdir(exist_ok=True)
    context = {"profiles": profiles, "options": run["options"], "failed": run["failed"]}
    for guest in guests:
        text = pages.get_template("guest.html.j2").render(context, guest=guest, title=guest["name"])
        (folder / GUESTS_FOLDER / f"{guest['slug']}.html").write_text(text, encoding="utf-8")
    text = pages.get_template("index.html.j2").render(context, guests=guests, title="eptreplay")
    (folder / "index.html").write_text(text, encoding="utf-8")


def _environment() -> jinja2.Environment:
    """Return the templates, which escape whatever they are given."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("eptreplay.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )


def _counters(summary: pl.DataFrame, profiles: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row a counter: its value under every profile, and the change against the first in percent."""
    rows = {row["profile"]: row for row in summary.iter_rows(named=True)}
    return [
        {
            "name": column.name,
            "unit": column.unit,
            "meaning": column.meaning,
            "cells": [
                {
                    "value": f"{rows[name][column.name]:,}",
                    "change": _change(rows[profiles[0]][column.name], rows[name][column.name]),
                }
                for name in profiles
            ],
        }
        for column in COUNTERS
    ]


def _change(base: int, value: int) -> str:
    """Return the difference in percent; empty where there is none, or nothing to compare with."""
    if base == value or base == 0:
        return ""
    return f"{100 * (value - base) / base:+.1f} %"


def _faults(faults: pl.DataFrame, profiles: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row a kind and cause: how often under every profile."""
    counts: dict[tuple[str, str, str], dict[str, int]] = {}
    for row in faults.iter_rows(named=True):
        counts.setdefault((row["kind"], row["cause"], row["resolution"]), {})[row["profile"]] = row["count"]
    return [
        {
            "kind": kind,
            "cause": cause,
            "resolution": resolution,
            "cells": [f"{found.get(name, 0):,}" for name in profiles],
        }
        for (kind, cause, resolution), found in sorted(counts.items())
    ]
