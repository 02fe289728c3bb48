"""How a user names a profile: by name, with overrides, or by the register of a real machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from eptreplay.profiles.data import cpus, data
from eptreplay.profiles.facts import REGISTER
from eptreplay.profiles.register import READ_MSR, cpu_of_register, parse_register
from eptreplay.profiles.rules import FEATURE, LIST_HINT, bad_spec, build, closest, refusals

if TYPE_CHECKING:
    from eptreplay.profiles.facts import Cpu, Profile

_OVERRIDE_HINT = (
    "an override is superpages=, ad=, exec_only= or feature.NAME= with on or off, as in haswell:ad=off"
)

_SWITCHES = {
    "on": True,
    "true": True,
    "1": True,
    "yes": True,
    "off": False,
    "false": False,
    "0": False,
    "no": False,
}


def names() -> tuple[str, ...]:
    """Return the names of all profiles, in the order of `available`."""
    return tuple(cpus())


def available() -> tuple[Profile, ...]:
    """Return every profile without overrides: generic ones, then Intel's and AMD's by year."""
    return tuple(build(cpu, {}, name) for name, cpu in cpus().items())


def resolve(spec: str, *, even_refused: bool = False) -> Profile:
    """Find the profile that a user asks for.

    Args:
        spec: "NAME[:KEY=on|off,...]" or, for the register of a real machine, "msr:0xVALUE[,KEY=on|off,...]".
        even_refused: return a CPU that bhyve would refuse, for showing why, instead of raising.

    Raises:
        UsageError: an unknown name, an override that is wrong, or a CPU that bhyve would refuse.
    """
    cpu, overrides = _parse(spec)
    profile = build(cpu, overrides, spec)
    reasons = refusals(profile)
    if reasons and not even_refused:
        raise bad_spec(
            spec,
            f"bhyve would refuse this CPU: {'; '.join(reasons)}; if yours has what is missing, "
            f"override it with {FEATURE}NAME=on",
        )
    return profile


def _parse(spec: str) -> tuple[Cpu, dict[str, bool]]:
    """Split a specification into a CPU and overrides.

    Raises:
        UsageError: an unknown name, a bad register value or a bad override.
    """
    text = spec.strip().lower()
    # 'msr-' is how the name of such a profile starts, 'msr:' what reads well on a command line.
    register = re.fullmatch(r"msr[:-]([^:,]*)(?:[:,](.*))?", text)
    if register:
        return cpu_of_register(parse_register(register[1], spec)), _parse_overrides(register[2], spec)
    name, colon, overrides = text.partition(":")
    if name not in cpus():
        if name == "msr":
            raise bad_spec(spec, f"the value of {REGISTER} is missing; {READ_MSR}")
        raise bad_spec(spec, f"no profile is named {name!r}{closest(name, cpus())}; {LIST_HINT}")
    return cpus()[name], _parse_overrides(overrides if colon else None, spec)


def _parse_overrides(text: str | None, spec: str) -> dict[str, bool]:
    """Read "KEY=on|off,..."; None means that there are none.

    Raises:
        UsageError: an empty or unknown key, a value that is not a switch, or a key given twice.
    """
    overrides: dict[str, bool] = {}
    for item in [] if text is None else text.split(","):
        key, equals, word = (part.strip() for part in item.partition("="))
        key = key.replace("-", "_")
        tunables = list(data()["bhyve"]["tunable"])
        if not equals or not (key in tunables or key.startswith(FEATURE)):
            near = closest(key, tunables) if equals else ""
            raise bad_spec(spec, f"{item.strip()!r} is not an override{near}; {_OVERRIDE_HINT}")
        if word not in _SWITCHES:
            raise bad_spec(spec, f"{key!r}: {word!r} is neither on nor off ({', '.join(_SWITCHES)})")
        if key in overrides:
            raise bad_spec(spec, f"{key!r} is given twice")
        overrides[key] = _SWITCHES[word]
    return overrides
