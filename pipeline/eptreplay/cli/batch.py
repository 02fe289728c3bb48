"""The command `batch`: a plan is checked as a whole, then its runs are carried out one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eptreplay.cli.console import note, say
from eptreplay.cli.replay import resolved, with_releases
from eptreplay.errors import EptReplayError, Exit, UsageError
from eptreplay.request.plan import Plan, PlannedRun, read_plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from eptreplay.profiles import Profile


def batch(file: Path, instead: Mapping[str, Any]) -> int:
    """Carry out `batch` and return the exit code.

    Args:
        file: the plan.
        instead: options of the command line that stand in the place of the plan's.
    """
    return _carry_out(planned(file, instead))


def planned(file: Path, instead: Mapping[str, Any]) -> list[tuple[PlannedRun, list[Profile]]]:
    """Return the runs of a plan with their profiles; all of it is checked first.

    Raises:
        EptReplayError: something is wrong with one of them.
    """
    plan = read_plan(file, **instead)
    found = [(run, _profiles(plan, run)) for run in plan.runs]
    _check_traces(plan)
    return found


def _profiles(plan: Plan, run: PlannedRun) -> list[Profile]:
    """Return the profiles of a run, or refuse one that is none, with its line."""
    for spec in run.request.profile:
        try:
            resolved([spec])
        except UsageError as error:
            raise plan.error(run, "profile", str(error), spec) from error
    try:
        return resolved(with_releases(run.request))
    except UsageError as error:
        raise plan.error(run, "profile", str(error)) from error


def _check_traces(plan: Plan) -> None:
    """Open the traces of all runs and look at their folders, so that what is wrong with the last is known before the first."""
    from eptreplay.cli.replay_traces import check_request  # noqa: PLC0415 - mistakes in the plan are told without waiting for numba

    known: set[tuple[object, ...]] = set()
    for run in plan.runs:
        key = (run.request.traces, run.request.guest)
        try:
            check_request(run.request, open_too=key not in known)
        except EptReplayError as error:
            if len(plan.runs) == 1:
                raise
            raise UsageError(f"{plan.file}: {run.name}: {error}") from error
        known.add(key)


def _carry_out(runs: Sequence[tuple[PlannedRun, list[Profile]]]) -> int:
    """Carry out all runs; one that cannot be does not keep the others from it."""
    from eptreplay.cli.replay_traces import replay_traces  # noqa: PLC0415 - see _check_traces

    if len(runs) == 1:
        ((run, of),) = runs
        return replay_traces(run.request, of, run.request.options())
    failed = False
    for number, (run, of) in enumerate(runs, 1):
        say(f"run {number} of {len(runs)}: {run.name}")
        try:
            code = replay_traces(run.request, of, run.request.options())
        except EptReplayError as error:
            note(f"{run.name}: {error}")
            code = Exit.SOME_FAILED
        failed |= code != Exit.GOOD
    return Exit.SOME_FAILED if failed else Exit.GOOD
