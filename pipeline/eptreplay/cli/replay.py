"""The command `replay`: refuse what can be refused quickly, before the slow imports."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from eptreplay import profiles as cpu
from eptreplay.errors import Exit, UsageError
from eptreplay.request.choices import ReleaseName
from eptreplay.request.effects import refuse_without_effect
from eptreplay.request.plan import plan_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.profiles import Profile
    from eptreplay.request.replay import ReplayRequest


def replay(request: ReplayRequest) -> int:
    """Carry out `replay` and return the exit code."""
    profiles = resolved(with_releases(request))
    options = request.options()
    refuse_without_effect(request)
    if request.print_plan:
        sys.stdout.write(plan_text(request))
        return Exit.GOOD
    from eptreplay.cli.replay_traces import replay_traces  # noqa: PLC0415 - an unknown profile is refused without waiting for numba

    return replay_traces(request, profiles, options)


def resolved(specs: Sequence[str]) -> list[Profile]:
    """Return the profiles that are asked for.

    Raises:
        UsageError: there is no such profile, or one is given twice.
    """
    profiles = [cpu.resolve(spec) for spec in specs]
    _refuse_twice([profile.name for profile in profiles])
    return profiles


def with_releases(request: ReplayRequest) -> list[str]:
    """Return the profiles that are asked for, each that names no release once under every release that is."""
    releases = request.release or [ReleaseName.FREEBSD_10_0]
    return [
        under
        for spec in request.profile
        for under in ([spec] if cpu.names_release(spec) else [cpu.under(spec, name) for name in releases])
    ]


def _refuse_twice(names: Sequence[str]) -> None:
    """Refuse a profile that is given twice."""
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"profile '{name}' is given twice; leave one out")
