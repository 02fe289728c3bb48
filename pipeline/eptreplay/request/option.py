"""How an option is declared: a field of a request has its name, type and default, and its metadata has the rest.

The command line, plans and Python share these declarations, so nothing here knows any of them.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import KW_ONLY, MISSING, dataclass, fields
from enum import Enum
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    NamedTuple,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_KEY = "eptreplay.option"

P = ParamSpec("P")
R = TypeVar("R")


class Needs(NamedTuple, Generic[R]):
    """What an option needs to have an effect.

    Args:
        what: in words, after "needs".
        met: whether a request has it.
    """

    what: str
    met: Callable[[R], bool]


ALWAYS = None
"""In the place of `Needs`: the option has an effect whatever else is given."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is declared of an option beside its name, type and default.

    Args:
        help: what it means, as `--help` and the documentation say it.
        needs: when it has an effect.
        positional: whether the command line takes it without a flag.
        flag: long flag on the command line; empty: the name with hyphens.
        short: short flag; empty: none.
        metavar: what stands for a value in help.
        minimum, maximum: bounds of a number, both allowed; None: unbounded.
        unit: of a number; empty for what is none.
        parse: reads a value from text and refuses what is none in words of its own; None: the type does.
        unset: what holds where nothing is given, in words; empty: the default says so itself.
        in_plan: whether a plan may have it; otherwise it is for the command line alone.
    """

    help: str
    _: KW_ONLY
    needs: Needs[Any] | None
    positional: bool = False
    flag: str = ""
    short: str = ""
    metavar: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    parse: Callable[[str], Any] | None = None
    unset: str = ""
    in_plan: bool = True


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a request.

    Args:
        name: its field's; also the key in a plan, and the parameter in Python.
        type: of a value; of each, if several may be given.
        several: whether several values may be given.
        optional: whether it may be left unset, which is None.
        required: whether there is no default.
        default: what holds unless something is given.
        declared: all else.
    """

    name: str
    type: Any
    several: bool
    optional: bool
    required: bool
    default: Any
    declared: Declaration

    @property
    def choices(self) -> tuple[str, ...]:
        """The values it may have; empty: any of its type."""
        if get_origin(self.type) is Literal:
            return tuple(map(str, get_args(self.type)))
        if isinstance(self.type, type) and issubclass(self.type, Enum):
            return tuple(str(choice.value) for choice in self.type)
        return ()

    @property
    def flag(self) -> str:
        """The option as it stands on the command line."""
        return self.declared.flag or flag_of(self.name)

    @property
    def help(self) -> str:
        """What the option means, and what holds where it is not given, if its default does not say so."""
        unset = self.declared.unset
        return self.declared.help + (f"  [default: {unset}]" if unset else "")


def flag_of(name: str) -> str:
    """Return the flag of a parameter that declares no other."""
    return f"--{name.replace('_', '-')}"


def _as_metadata(declare: Callable[P, Declaration]) -> Callable[P, dict[str, Declaration]]:
    """Return what makes the metadata of a field from the arguments of `declare`."""

    def metadata(*arguments: P.args, **keywords: P.kwargs) -> dict[str, Declaration]:
        return {_KEY: declare(*arguments, **keywords)}

    return metadata


option = _as_metadata(Declaration)
"""Returns the metadata of a field that is an option; its arguments are those of `Declaration`."""


def options_of(request: type) -> dict[str, Option]:
    """Return the options of a request's class by name, in the order of its fields.

    Args:
        request: a dataclass whose annotations are types, not their text.
    """
    found = {}
    for field in fields(request):
        declared = field.metadata.get(_KEY)
        if declared is None:
            continue
        value, optional = _without_none(field.type)
        several = get_origin(value) is Sequence
        found[field.name] = Option(
            name=field.name,
            type=get_args(value)[0] if several else value,
            several=several,
            optional=optional,
            required=field.default is MISSING,
            default=field.default,
            declared=declared,
        )
    return found


def _without_none(annotation: Any) -> tuple[Any, bool]:  # noqa: ANN401 - any annotation
    """Return a type without None, and whether it was one of its values."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    (value,) = (each for each in get_args(annotation) if each is not types.NoneType)
    return value, True
