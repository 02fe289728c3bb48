"""A run as the pages see it: run.json, and the tables guest by guest."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from eptreplay.report import tables
from eptreplay.report.charts import MOST_STEPS, Span
from eptreplay.report.files import read_run_file, read_table
from eptreplay.report.numbers import in_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from eptreplay.report.columns import Table


@dataclass
class Guest:
    """One guest of a run: what run.json says of it, and its rows of every table."""

    about: dict[str, Any]
    profiles: list[str]
    frames: dict[str, pl.DataFrame] = field(repr=False)

    @property
    def name(self) -> str:
        """The name, as it was given: not to be trusted."""
        return str(self.about["name"])

    @property
    def slug(self) -> str:
        """The name of its files."""
        return str(self.about["slug"])

    @cached_property
    def summary(self) -> dict[str, dict[str, Any]]:
        """The row of the summary for every profile."""
        return {row["profile"]: row for row in self.frames["summary"].iter_rows(named=True)}

    @cached_property
    def any_summary(self) -> dict[str, Any]:
        """A row of the summary, for what is the same under every profile."""
        return self.summary[self.profiles[0]]

    @cached_property
    def _intervals(self) -> dict[str, pl.DataFrame]:
        parts = self.frames["intervals"].partition_by("profile", as_dict=True)
        return {str(key[0]): frame.sort("interval") for key, frame in parts.items()}

    def interval_column(self, profile: str, name: str) -> NDArray[Any]:
        """Return a column of the intervals under a profile, in order of time."""
        return self._intervals[profile][name].to_numpy()

    @cached_property
    def intervals(self) -> int:
        """How many intervals there are."""
        return len(self._intervals[self.profiles[0]])

    @cached_property
    def bounds(self) -> NDArray[np.float64] | None:
        """Beginning of every interval and end of the last, in seconds; None where time is not known."""
        frame = self._intervals[self.profiles[0]]
        unit = self.about["time_unit"]
        first, last = self.any_summary["first_time"], self.any_summary["last_time"]
        if in_seconds(0, unit) is None or first is None or last is None or len(frame) == 0:
            return None
        starts = frame["start_time"].to_list()
        if any(start is None for start in starts):
            return None
        return np.array([in_seconds(time - first, unit) for time in (*starts, last)], np.float64)

    @cached_property
    def seconds(self) -> float | None:
        """Length of the trace in seconds; None where time is not known."""
        first, last = self.any_summary["first_time"], self.any_summary["last_time"]
        if first is None or last is None:
            return None
        return in_seconds(last - first, self.about["time_unit"])

    @cached_property
    def interval_seconds(self) -> float | None:
        """Length of an interval in seconds; None where intervals are not cut by time."""
        if self.bounds is None or not self.seconds:
            return None
        return self.seconds / self.intervals

    @cached_property
    def span(self) -> Span:
        """The time axis of the guest's page."""
        group = -(-self.intervals // MOST_STEPS) or 1
        steps = -(-self.intervals // group)
        if self.interval_seconds is not None and self.seconds:
            return Span(steps, self.seconds, "seconds since the trace began", group)
        return Span(steps, float(self.intervals), "interval", group)

    @cached_property
    def mib_second(self) -> tuple[float, str]:
        """What turns pages of an interval into MiB a second, and the unit; MiB an interval without time."""
        if self.interval_seconds:
            return 4096 / (1 << 20) / self.interval_seconds, "MiB/s"
        return 4096 / (1 << 20), "MiB per interval"


@dataclass
class Run:
    """A run: run.json and its guests."""

    folder: Path
    about: dict[str, Any]
    _parts: dict[str, dict[str, pl.DataFrame]] = field(repr=False)

    @property
    def profiles(self) -> list[dict[str, Any]]:
        """The profiles, as run.json describes them."""
        return list(self.about["profiles"])

    def guests(self) -> Iterator[Guest]:
        """Yield the guests in the order of the run."""
        names = [profile["name"] for profile in self.profiles]
        for about in self.about["guests"]:
            frames = {
                name: parts[about["name"]] for name, parts in self._parts.items() if about["name"] in parts
            }
            for table in tables.TABLES:
                if table.name in self._parts and table.name not in frames:
                    frames[table.name] = empty(table)
            yield Guest(about, names, frames)


def open_run(folder: Path) -> Run:
    """Read a run.

    Raises:
        UsageError: the folder is no run.
        OutputError: a table is missing or damaged.
    """
    about = read_run_file(folder)
    parts: dict[str, dict[str, pl.DataFrame]] = {}
    for table in tables.TABLES:
        split = read_table(folder, table).partition_by("guest", as_dict=True, maintain_order=True)
        parts[table.name] = {str(key[0]): frame for key, frame in split.items()}
    return Run(folder, about, parts)


def empty(table: Table) -> pl.DataFrame:
    """Return a table without rows."""
    kinds = {
        "string": pl.String,
        "int64": pl.Int64,
        "uint64": pl.UInt64,
        "bool": pl.Boolean,
        "double": pl.Float64,
    }
    return pl.DataFrame(schema={column.name: kinds[column.type] for column in table.columns})
