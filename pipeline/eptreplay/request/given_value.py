"""A value of a plan, read by the declaration of its option: what the command line would take, a plan takes."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from eptreplay.errors import UsageError

if TYPE_CHECKING:
    from eptreplay.request.option import Option


class ValueRefusedError(UsageError):
    """A value that its option cannot have.

    Args:
        why: what is wrong, and what would be right.
        value: the one of several that is wrong; None: all of it.
    """

    def __init__(self, why: str, value: object = None) -> None:
        self.value = value
        super().__init__(why)


def read_value(option: Option, given: object) -> Any:  # noqa: ANN401 - of the option's type
    """Return what an option is given in a plan, as a request holds it.

    Raises:
        ValueRefusedError: the option cannot have that value.
    """
    if not option.several:
        return _one(option, given)
    values = given if isinstance(given, list) else [given]
    if not values:
        raise ValueRefusedError("is empty; give a value, or leave it out")
    return tuple(_one(option, value) for value in values)


def _one(option: Option, value: object) -> Any:  # noqa: ANN401 - of the option's type
    declared = option.declared
    if option.type is bool:
        if isinstance(value, bool):
            return value
        raise ValueRefusedError(f"{_shown(value)} is neither true nor false", value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueRefusedError(f"{_shown(value)} is no value for it; {option.help}")
    if option.choices:
        return _choice(option, value)
    if declared.parse is not None:
        try:
            return declared.parse(str(value))
        except UsageError as error:
            raise ValueRefusedError(str(error), value) from error
    if option.type is str:
        return str(value)
    return _number(option, value)


def _choice(option: Option, value: object) -> Any:  # noqa: ANN401 - of the option's type
    if value not in option.choices:
        raise ValueRefusedError(f"{_shown(value)} is none of {', '.join(map(repr, option.choices))}", value)
    is_enum = isinstance(option.type, type) and issubclass(option.type, Enum)
    return option.type(value) if is_enum else value


def _number(option: Option, value: object) -> int | float:
    low, high, unit = option.declared.minimum, option.declared.maximum, option.declared.unit
    whole = isinstance(value, int)
    if not whole and not (option.type is float and isinstance(value, float)):
        raise ValueRefusedError(f"{_shown(value)} is no number of {unit}", value)
    number: int | float = value  # type: ignore[assignment] # checked above
    if (low is not None and not number >= low) or (high is not None and not number <= high):
        bounds = f"from {low:,} to {high:,}" if high is not None else f"{low:,} or more"
        raise ValueRefusedError(f"{value} is out of range; give {bounds} {unit}", value)
    return number


def _shown(value: object) -> str:
    """Return a value as a message shows it."""
    return f"{value!r:.60}"
