"""From counts to time: what an event is assumed to cost, said wherever the result is.

Nothing here is measured. The parameters are those of profiles/costs.toml; `--assume` changes them. A CPU's own figure for
an exit is used where all profiles of a run have one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.errors import UsageError
from eptreplay.profiles import CostParameter, Status, cost_parameters, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

EXIT_FACT = "vmexit_roundtrip_cycles"
EXIT = "exit_cycles"
CLOCK = "clock_mhz"

_NUMBER = r"\d+(?:\.\d+)?(?:[eE]\d+)?"
_ASSUMED = re.compile(rf"({_NUMBER})(?:\.\.({_NUMBER}))?(?:\.\.({_NUMBER}))?")


class Range(NamedTuple):
    """An estimate: its value, and the least and the most that it may be."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Range:
        """Return the estimate of so many such things."""
        return Range(self.value * factor, self.low * factor, self.high * factor)

    def plus(self, other: Range) -> Range:
        """Return the estimate of both: bounds add up, as one parameter stands behind many terms."""
        return Range(self.value + other.value, self.low + other.low, self.high + other.high)

    def as_text(self, text: Callable[[float], str]) -> str:
        """Return it as people read it: `2 ms (1 ms to 4 ms)`."""
        return f"{text(self.value)}{self.aside(text)}"

    def aside(self, text: Callable[[float], str]) -> str:
        """Return the range in parentheses, to stand behind a value; empty where there is none."""
        low, high = text(self.low), text(self.high)
        return "" if low == high else f" ({low} to {high})"


ZERO = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Assumptions:
    """The parameters of an estimate, by name; `given` are those that the user gave."""

    parameters: Mapping[str, CostParameter] = field(default_factory=cost_parameters)
    given: frozenset[str] = frozenset()

    @cached_property
    def ranges(self) -> dict[str, Range]:
        """What each parameter costs."""
        return {
            name: ZERO.plus(Range(parameter.value, parameter.low, parameter.high))
            for name, parameter in self.parameters.items()
        }

    def cost(self, *names: str) -> Range:
        """Return what an event costs for which all of these parameters are due."""
        found = ZERO
        for name in names:
            found = found.plus(self.ranges[name])
        return found

    def with_value(self, name: str, text: str, value: Range) -> Assumptions:
        """Return the same with another value, and a text that says where it comes from."""
        changed = replace(
            self.parameters[name], **value._asdict(), status=Status.OVERRIDE, sources=(), note=text
        )
        return Assumptions({**self.parameters, name: changed}, self.given | {name})


def parse_assumptions(texts: Sequence[str]) -> Assumptions:
    """Read `NAME=VALUE`, `NAME=LOW..HIGH` and `NAME=LOW..VALUE..HIGH` over the defaults.

    A value alone is taken to be known exactly; the value of a range without one is its middle.

    Raises:
        UsageError: a name is unknown, a value is no positive number, or a range is not in ascending order.
    """
    found = Assumptions()
    for text in texts:
        name, _, value = text.partition("=")
        read = _ASSUMED.fullmatch(value)
        numbers = [float(number) for number in read.groups() if number] if read else []
        good = all(0 < number < math.inf for number in numbers)
        if name not in found.parameters or not numbers or not good or numbers != sorted(numbers):
            raise UsageError(
                f"'{text}' is no assumption; give NAME=VALUE, NAME=LOW..HIGH or NAME=LOW..VALUE..HIGH with numbers above 0 "
                f"and NAME one of {', '.join(found.parameters)}"
            )
        low, high = numbers[0], numbers[-1]
        middle = numbers[1] if len(numbers) == 3 else (low + high) / 2
        found = found.with_value(name, f"--assume {text}", Range(middle, low, high))
    return found


def by_profile(profiles: Sequence[Mapping[str, Any]], assumed: Assumptions) -> list[Assumptions]:
    """Return what events cost under each profile, as run.json describes them.

    A CPU's own figure for an exit is used where every profile of the run has one, unless the user gave one: a figure on
    one side and an assumption on the other would compare what is known of two CPUs, not the CPUs. The range stays and
    is widened to hold the figure, since that comes from one machine.
    """
    facts = [profile.get("costs", {}).get(EXIT_FACT) for profile in profiles]
    if EXIT in assumed.given or not all(facts):
        return [assumed] * len(profiles)
    return [_with_own_exit(assumed, fact) for fact in facts if fact]


def _with_own_exit(assumed: Assumptions, fact: Mapping[str, Any]) -> Assumptions:
    general = assumed.cost(EXIT)
    own = float(fact["value"])
    value = Range(own, min(own, general.low), max(own, general.high))
    text = f"the CPU's own figure ({fact['status']})"
    return Assumptions(assumed.with_value(EXIT, text, value).parameters, assumed.given)


def exit_origin(profile: Mapping[str, Any], assumed: Assumptions) -> str:
    """Return what an exit is taken to cost under a profile, and why a figure of the CPU's own is not used."""
    parameter = assumed.parameters[EXIT]
    text = f"{parameter.value:,.0f} cycles per exit ({parameter.note if parameter.status is Status.OVERRIDE else parameter.status})"
    fact = profile.get("costs", {}).get(EXIT_FACT)
    if fact is None or parameter.status is Status.OVERRIDE:
        return text
    return f"{text}; {fact['value']:,} are {fact['status']}, but not for every profile here"


def described(assumed: Assumptions) -> list[tuple[str, float, float, float, str, str, str, str, str]]:
    """Return name, value, low and high end, unit, status, meaning, grounds and sources of every parameter."""
    known = sources()
    return [
        (
            of.name,
            of.value,
            of.low,
            of.high,
            of.unit,
            str(of.status),
            of.meaning,
            of.note,
            "; ".join(f"{name}: {known[name].where}" for name in of.sources),
        )
        for of in assumed.parameters.values()
    ]
