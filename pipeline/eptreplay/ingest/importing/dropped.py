"""Records that do not enter the trace: how many, why, and where the first one of each kind stood."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Reason:
    """Records dropped for one reason.

    Args:
        records: how many.
        first: where the first one stands, in words: "line 12", "byte 4,096".
    """

    records: int
    first: str


@dataclass(slots=True)
class Dropped:
    """Records dropped so far, by reason.

    What a format has beside accesses (headers, markers, instructions that touch no memory) is dropped on purpose; what is damaged or
    cannot be is bad, and its reader raises BadRecordError unless `skip_bad` says to count it instead.

    Args:
        skip_bad: whether bad records are counted (`--on-bad-rows skip`) rather than raised.
        on_purpose: by reason, records that are no accesses.
        bad: by reason, records that are wrong.
    """

    skip_bad: bool = False
    on_purpose: dict[str, Reason] = field(default_factory=dict)
    bad: dict[str, Reason] = field(default_factory=dict)

    def leave_out(self, reason: str, records: int, first: str) -> None:
        """Count records that are no accesses."""
        _add(self.on_purpose, reason, records, first)

    def bad_records(self, reason: str, records: int, first: str) -> None:
        """Count records that are wrong, or raise what ends the import.

        Raises:
            BadRecordError: bad records end the import.
        """
        if records and not self.skip_bad:
            raise BadRecordError(reason, first)
        _add(self.bad, reason, records, first)


class BadRecordError(Exception):
    """A record is wrong, and bad records are not to be left out.

    Args:
        reason: what is wrong.
        where: line or byte of it.
    """

    def __init__(self, reason: str, where: str) -> None:
        self.reason = reason
        self.where = where
        super().__init__(f"{where}: {reason}")


def _add(reasons: dict[str, Reason], reason: str, records: int, first: str) -> None:
    if records:
        found = reasons.setdefault(reason, Reason(0, first))
        found.records += records
