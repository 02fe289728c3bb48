"""How a user names a profile: by name, with overrides, or by the register of a real machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from eptreplay.profiles.data import cpus, data
from eptreplay.profiles.facts import REGISTER, RELEASE_LABELS, Release
from eptreplay.profiles.kernel import KERNEL_OVERRIDES
from eptreplay.profiles.register import READ_MSR, cpu_of_register, parse_register
from eptreplay.profiles.rules import FEATURE, LIST_HINT, bad_spec, build, closest, refusals

if TYPE_CHECKING:
    from eptreplay.profiles.facts import Cpu, Profile

_OVERRIDE_HINT = (
    "an override is superpages=, ad=, exec_only=, allow_2m_x_ept=, fault_2m= or feature.NAME= with on or off, as in "
    "haswell:ad=off or haswell@14.0:allow_2m_x_ept=0"
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


def available_under(release: Release) -> tuple[Profile, ...]:
    """Return every profile as a release makes it, in the same order."""
    return tuple(build(cpu, {}, name, release) for name, cpu in cpus().items())


def release_labels() -> tuple[str, ...]:
    """Return the names of the releases, the oldest first."""
    return tuple(RELEASE_LABELS.values())


def names_release(spec: str) -> bool:
    """Return whether a specification says which release runs on the CPU."""
    return "@" in spec


def under(spec: str, release: str) -> str:
    """Return a specification that names no release with one, before its overrides."""
    text = spec.strip()
    first = re.fullmatch(r"(msr[:-][^:,@]*|[^:]*)(.*)", text, re.IGNORECASE)
    return f"{first[1]}@{release}{first[2]}" if first else text


def resolve(spec: str, *, even_refused: bool = False) -> Profile:
    """Find the profile that a user asks for.

    Args:
        spec: "NAME[@RELEASE][:KEY=on|off,...]" or, for the register of a real machine,
            "msr:0xVALUE[@RELEASE][,KEY=on|off,...]"; without a release it is 10.0's.
        even_refused: return a CPU that bhyve would refuse, for showing why, instead of raising.

    Raises:
        UsageError: an unknown name, an override that is wrong, or a CPU that bhyve would refuse.
    """
    rest, release = _take_release(spec)
    cpu, overrides = _parse(rest, spec)
    profile = build(cpu, overrides, spec, release)
    reasons = refusals(profile)
    if reasons and not even_refused:
        raise bad_spec(
            spec,
            f"bhyve would refuse this CPU: {'; '.join(reasons)}; if yours has what is missing, "
            f"override it with {FEATURE}NAME=on",
        )
    return profile


def _take_release(spec: str) -> tuple[str, Release]:
    """Take the release out of a specification; return what is left and the release.

    Raises:
        UsageError: there is no such release, or more than one.
    """
    named = re.search(r"@([^:,@]*)", spec)
    if named is None:
        return spec, Release.FREEBSD_10_0
    rest = spec[: named.start()] + spec[named.end() :]
    found = {label: release for release, label in RELEASE_LABELS.items()}.get(named[1].strip().lower())
    if found is None or "@" in rest:
        why = "more than one release is named" if "@" in rest else f"no release is named {named[1]!r}"
        raise bad_spec(spec, f"{why}; one of {', '.join(release_labels())}, as in haswell@14.0")
    return rest, found


def _parse(rest: str, spec: str) -> tuple[Cpu, dict[str, bool]]:
    """Split a specification, of which the release was taken, into a CPU and overrides.

    Raises:
        UsageError: an unknown name, a bad register value or a bad override.
    """
    text = rest.strip().lower()
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
        tunables = [*data()["bhyve"]["tunable"], *KERNEL_OVERRIDES]
        if not equals or not (key in tunables or key.startswith(FEATURE)):
            near = closest(key, tunables) if equals else ""
            raise bad_spec(spec, f"{item.strip()!r} is not an override{near}; {_OVERRIDE_HINT}")
        if word not in _SWITCHES:
            raise bad_spec(spec, f"{key!r}: {word!r} is neither on nor off ({', '.join(_SWITCHES)})")
        if key in overrides:
            raise bad_spec(spec, f"{key!r} is given twice")
        overrides[key] = _SWITCHES[word]
    return overrides
