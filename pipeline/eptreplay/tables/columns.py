"""What a table and a column are, and the columns that most tables begin with."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Type = Literal["string", "int64", "uint64", "bool", "double"]


class Column(NamedTuple):
    """One column: its name, type, unit (empty for none) and meaning."""

    name: str
    type: Type
    unit: str
    meaning: str


class Table(NamedTuple):
    """One table: its name, what it has one row for, and its columns in order."""

    name: str
    row: str
    columns: tuple[Column, ...]

    def names(self) -> list[str]:
        """Return the names of the columns in order."""
        return [column.name for column in self.columns]


GUEST: Final = Column("guest", "string", "", "name of the guest")
PROFILE: Final = Column("profile", "string", "", "CPU feature profile, with its overrides")
INTERVAL: Final = Column("interval", "int64", "", "number of the interval, from 0")
