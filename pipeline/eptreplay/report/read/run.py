"""A run as the pages see it: run.json, and the tables guest by guest."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl

from eptreplay.errors import OutputError
from eptreplay.report.read.by_guest import TableByGuest
from eptreplay.report.read.frames import ordered, parts_of, rows_where
from eptreplay.report.read.numbers import MIB, in_seconds
from eptreplay.report.read.time_axis import MOST_STEPS, SHORTEST, TIME_UNITS, Span
from eptreplay.tables import schema as tables
from eptreplay.tables.files import RUN_FILE, TABLES_FOLDER, read_run_file
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from eptreplay.tables.columns import Table


T = TypeVar("T")


class Frames:
    """The tables of a run, guest by guest; each is opened when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tables: dict[str, TableByGuest] = {}

    def of(self, name: str, guest: str) -> pl.DataFrame:
        """Return a guest's rows of a table, by the table's name; none where the run, or eptreplay, has no such table.

        Raises:
            OutputError: the table is damaged.
        """
        table = tables.BY_NAME.get(name)
        if table is None:
            return pl.DataFrame()
        return self._table(table).of(guest)

    def all_of(self, name: str, columns: Sequence[str]) -> pl.DataFrame:
        """Return some columns of a table, for all guests.

        Raises:
            OutputError: the table is damaged.
        """
        return self._table(tables.BY_NAME[name]).columns(columns)

    def _table(self, table: Table) -> TableByGuest:
        if table.name not in self._tables:
            self._tables[table.name] = TableByGuest(self._folder, table)
        return self._tables[table.name]


@dataclass
class Guest:
    """One guest of a run: what run.json says of it, and its rows of every table."""

    about: dict[str, Any]
    profiles: list[str]
    frames: Frames = field(repr=False)
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _rows: dict[str, pl.DataFrame] = field(default_factory=dict, init=False, repr=False)
    _columns: dict[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict, init=False, repr=False)

    def once(self, name: str, make: Callable[[Guest], T]) -> T:
        """Return what `make` makes of the guest under a name; it is made once."""
        if name not in self._made:
            self._made[name] = make(self)
        found: T = self._made[name]
        return found

    @property
    def name(self) -> str:
        """The name, as it was given: not to be trusted."""
        return str(self.about["name"])

    @property
    def slug(self) -> str:
        """The name of its files."""
        return str(self.about["slug"])

    def frame(self, name: str) -> pl.DataFrame:
        """Return the guest's rows of a table, by the table's name."""
        if name not in self._rows:
            self._rows[name] = self.frames.of(name, self.name)
        return self._rows[name]

    def by_profile(self, name: str) -> dict[str, pl.DataFrame]:
        """Return the guest's rows of a table, by profile."""

        def parts(guest: Guest) -> dict[str, pl.DataFrame]:
            return {str(key[0]): part for key, part in parts_of(guest.frame(name), "profile").items()}

        return self.once(f"{name} by profile", parts)

    def has(self, name: str) -> bool:
        """Return whether a table says anything of the guest."""
        return not self.frame(name).is_empty()

    @cached_property
    def summary(self) -> dict[str, dict[str, Any]]:
        """The row of the summary for every profile."""
        return {row["profile"]: row for row in self.frame("summary").iter_rows(named=True)}

    @cached_property
    def any_summary(self) -> dict[str, Any]:
        """A row of the summary, for what is the same under every profile."""
        return self.summary[self.profiles[0]]

    @cached_property
    def _intervals(self) -> dict[str, pl.DataFrame]:
        return {profile: ordered(part, "interval") for profile, part in self.by_profile("intervals").items()}

    def interval_column(self, profile: str, name: str) -> NDArray[np.float64]:
        """Return a column of the intervals under a profile, in order of time; NaN where it has fewer than another."""
        found = self._columns.get((profile, name))
        if found is None:
            found = np.full(self.intervals, np.nan)
            frame = self._intervals.get(profile)
            if frame is not None:
                found[: len(frame)] = frame[name].to_numpy()  # which has NaN for null
            found.flags.writeable = False
            self._columns[profile, name] = found
        return found

    @cached_property
    def intervals(self) -> int:
        """How many intervals there are, under the profile that has most."""
        return max((len(frame) for frame in self._intervals.values()), default=0)

    @cached_property
    def bounds(self) -> NDArray[np.float64] | None:
        """Beginning of every interval and end of the last, in seconds; None where time is not known."""
        frame = self._intervals.get(self.profiles[0])
        if self.seconds is None or frame is None or len(frame) < self.intervals:
            return None
        times = [*frame["start_time"].to_list(), frame["end_time"][-1]]
        if any(time is None for time in times):
            return None
        unit = self.about["time_unit"]
        return np.array([in_seconds(time - times[0], unit) for time in times], np.float64)

    def seconds_under(self, profile: str) -> float | None:
        """Return the length of the guest's trace in seconds; None where time is not known.

        Profiles of one run have one trace; runs that are compared may have traces of several lengths.
        """
        first, last = (self.summary[profile][name] for name in ("first_time", "last_time"))
        return None if first is None or last is None else in_seconds(last - first, self.about["time_unit"])

    @cached_property
    def life(self) -> tuple[int, int]:
        """Intervals [begin, end) that the guest's own trace reaches into: on a shared host not all of them."""
        frame = self._intervals.get(self.profiles[0])
        busy = [] if frame is None else rows_where(frame, frame["rows"] > 0)["interval"].to_list()
        return (int(busy[0]), int(busy[-1]) + 1) if busy else (0, self.intervals)

    @cached_property
    def trace_seconds(self) -> float | None:
        """Length of the guest's own trace in seconds; None where time is not known, or differs between the profiles."""
        found = {self.seconds_under(profile) for profile in self.profiles}
        return found.pop() if len(found) == 1 else None

    @cached_property
    def silent_seconds(self) -> tuple[float, float]:
        """How long the host went on before the guest's first row, and after its last; 0 where that is not known."""
        frame, row, unit = self._intervals.get(self.profiles[0]), self.any_summary, self.about["time_unit"]
        if frame is None or self.trace_seconds is None:
            return 0.0, 0.0
        begin, end = frame["start_time"][0], frame["end_time"][-1]
        if None in (begin, end, row["first_time"], row["last_time"]):
            return 0.0, 0.0
        before, after = (
            in_seconds(time, unit) for time in (row["first_time"] - begin, end - row["last_time"])
        )
        return max(0.0, before or 0.0), max(0.0, after or 0.0)

    @cached_property
    def seconds(self) -> float | None:
        """Length of all intervals in seconds; None where time is not known, or differs between the profiles.

        It is that of the trace, but for guests that share a host: their intervals are those of all of them.
        """
        found = {self._seconds_of_intervals(profile) for profile in self.profiles}
        return found.pop() if len(found) == 1 else None

    def _seconds_of_intervals(self, profile: str) -> float | None:
        frame = self._intervals.get(profile)
        if frame is None or self.seconds_under(profile) is None:
            return None
        first, last = frame["start_time"][0], frame["end_time"][-1]
        return (
            self.seconds_under(profile)
            if None in (first, last)
            else in_seconds(last - first, self.about["time_unit"])
        )

    @cached_property
    def interval_seconds(self) -> float | None:
        """Length of an interval in seconds; None where intervals are not of equal time."""
        if self.bounds is None or not self.seconds:
            return None
        return self.seconds / self.intervals

    @cached_property
    def span(self) -> Span:
        """The time axis of the guest's page."""
        group = -(-self.intervals // MOST_STEPS) or 1
        steps = -(-self.intervals // group)
        if self.interval_seconds is not None and self.seconds:
            end = self.seconds * steps * group / self.intervals
            scale, name, symbol = next(
                (unit for unit in TIME_UNITS if end >= SHORTEST * unit[0]), TIME_UNITS[-1]
            )
            return Span(steps, end / scale, f"{name} since the trace began", symbol, group)
        return Span(steps, float(steps * group), "interval", "", group)

    @cached_property
    def mib_second(self) -> tuple[float, str]:
        """What turns pages of an interval into MiB per second, and the unit; MiB per interval without time."""
        if self.interval_seconds:
            return PAGE_BYTES / MIB / self.interval_seconds, "MiB/s"
        return PAGE_BYTES / MIB, "MiB per interval"


@dataclass
class Run:
    """A run: run.json and its guests."""

    folder: Path
    about: dict[str, Any]
    frames: Frames = field(repr=False)

    @property
    def profiles(self) -> list[dict[str, Any]]:
        """The profiles, as run.json describes them."""
        return list(self.about["profiles"])

    def guests(self) -> Iterator[Guest]:
        """Yield the guests in the order of the run."""
        names = [profile["name"] for profile in self.profiles]
        for about in self.about["guests"]:
            yield Guest(about, names, self.frames)


def open_run(folder: Path) -> Run:
    """Read a run.

    Raises:
        UsageError: the folder is no run.
        OutputError: run.json is damaged, or the summary is, or says nothing of a guest that run.json names.
    """
    run = Run(folder, read_run_file(folder), Frames(folder))
    known = set(run.frames.all_of(tables.SUMMARY.name, ("guest", "profile")).iter_rows())
    for guest in run.guests():
        for profile in guest.profiles:
            if (guest.name, profile) not in known:
                raise OutputError(
                    f"{folder}: {TABLES_FOLDER}/{tables.SUMMARY.name}.parquet has no row of guest {guest.name!r:.60} under profile "
                    f"{profile!r:.60}, which {RUN_FILE} names; replay again"
                )
    return run
