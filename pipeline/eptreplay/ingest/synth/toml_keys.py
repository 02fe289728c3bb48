"""Keys of a TOML table, taken one by one, each checked; a mistake is named with its line."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from eptreplay.errors import TraceError, UsageError
from eptreplay.ingest.synth.toml_lines import line_of
from eptreplay.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence


class Keys:
    """A table whose keys are taken.

    Args:
        data: the table.
        text: the file, to find lines in.
        file: its name, for messages.
        path: of the table: names, and numbers of tables in arrays.
    """

    def __init__(
        self, data: dict[str, object], text: str, file: str, path: tuple[str | int, ...] = ()
    ) -> None:
        self._left = dict(data)
        self._known: list[str] = []
        self._text = text
        self._file = file
        self._path = path

    def number(self, key: str, default: int | None, least: int, most: int) -> int:
        """Take a whole number; None as default: it must be there.

        Raises:
            TraceError: it is none, or out of its range.
        """
        value = self._take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.wrong(key, f"{value!r:.40}", f"a whole number from {least} to {most}")
        return value

    def numbers(self, key: str, default: Sequence[int], least: int, most: int) -> tuple[int, ...]:
        """Take a list of different whole numbers.

        Raises:
            TraceError: it is none.
        """
        value = self._take(key, list(default))
        numbers = value if isinstance(value, list) else []
        whole = all(
            isinstance(each, int) and not isinstance(each, bool) and least <= each <= most for each in numbers
        )
        if not numbers or not whole or len(set(numbers)) != len(numbers):
            raise self.wrong(key, f"{value!r:.40}", f"a list of different numbers from {least} to {most}")
        return tuple(numbers)

    def share(self, key: str, default: Decimal, most: Decimal) -> Decimal:
        """Take a number from 0 on.

        Raises:
            TraceError: it is none, or above the most.
        """
        value = self._take(key, default)
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            number = Decimal(value)
            if number.is_finite() and 0 <= number <= most:
                return number
        raise self.wrong(key, f"{value!s:.40}", f"a number from 0 to {most}")

    def size(self, key: str, default: int | None, least: int, most: int, *, of: int) -> int:
        """Take a number of bytes, as a number or as in "64MiB".

        Raises:
            TraceError: it is none, out of its range, or no multiple.
        """
        value = self._take(key, default)
        try:
            found = parse_size(value) if isinstance(value, str) and value.strip() != "0" else value
        except UsageError:
            found = None
        number = 0 if found == "0" else found
        if (
            not isinstance(number, int)
            or isinstance(number, bool)
            or not least <= number <= most
            or number % of
        ):
            multiple = f", a multiple of {of}" if of > 1 else ""
            raise self.wrong(
                key, f"{value!r:.40}", f'bytes, as in 4096 or "64MiB", from {least} to {most}{multiple}'
            )
        return number

    def duration(self, key: str, default: str, least: int, most: int) -> int:
        """Take a time as in "10ms"; ns.

        Raises:
            TraceError: it is none, or out of its range.
        """
        value = self._take(key, default)
        try:
            found = 0 if value in {"0ns", "0s"} else parse_duration(value) if isinstance(value, str) else -1
        except UsageError:
            found = -1
        if not least <= found <= most:
            raise self.wrong(
                key, f"{value!r:.40}", f'a time as in "10ns" or "5ms", from {least} to {most} ns'
            )
        return found

    def choice(self, key: str, default: str | None, choices: Sequence[str]) -> str:
        """Take one of some words.

        Raises:
            TraceError: it is none of them.
        """
        value = self._take(key, default)
        if value not in choices:
            raise self.wrong(key, f"{value!r:.40}", f"one of {', '.join(choices)}")
        return str(value)

    def table(self, key: str) -> Keys | None:
        """Take a table; None if it is not there.

        Raises:
            TraceError: it is something else.
        """
        self._known.append(key)
        value = self._left.pop(key, None)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(key, f"{value!r:.40}", f"a table [{key}]")
        return Keys(value, self._text, self._file, (*self._path, key))

    def tables(self, key: str) -> list[Keys]:
        """Take an array of tables, one at least.

        Raises:
            TraceError: it is none.
        """
        self._known.append(key)
        value = self._left.pop(key, None)
        if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
            names = ".".join([*(str(part) for part in self._path if isinstance(part, str)), key])
            raise self.wrong(
                key, "missing" if value is None else f"{value!r:.40}", f"one [[{names}]] or several"
            )
        return [
            Keys(each, self._text, self._file, (*self._path, key, number))
            for number, each in enumerate(value)
        ]

    def done(self) -> None:
        """Refuse keys that were not taken.

        Raises:
            TraceError: there is one.
        """
        for key in self._left:
            raise TraceError(
                self._where(key), f"'{key}' means nothing here", expected=f"one of {', '.join(self._known)}"
            )

    def wrong(self, key: str, found: str, expected: str) -> TraceError:
        """Return what says that the value of a key cannot be."""
        return TraceError(self._where(key), f"'{key}' is {found}", expected=expected)

    def _take(self, key: str, default: object) -> object:
        self._known.append(key)
        value = self._left.pop(key, default)
        if value is None:
            raise self.wrong(key, "missing", "a value")
        return value

    def _where(self, key: str) -> str:
        return f"{self._file}, line {line_of(self._text, self._path, key)}"
