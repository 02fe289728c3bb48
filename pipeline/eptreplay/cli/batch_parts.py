"""The commands `batch init`, `batch part` and `batch finish`: a plan carried out in parts, by any scheduler."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from eptreplay.cli.batch import planned
from eptreplay.cli.console import ProgressBar, note, say
from eptreplay.cli.replay_traces import inputs_of, opened, run
from eptreplay.errors import Exit
from eptreplay.replay.driver.warm_up import warm_up
from eptreplay.run import batch
from eptreplay.run.batch import Permission
from eptreplay.run.output import reserved
from eptreplay.run.parts.carry_out import begin_parts, carry_out_part
from eptreplay.run.unfinished.folder import is_finished
from eptreplay.run.unfinished.manifest import input_of
from eptreplay.run.units import Execution

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from eptreplay.request.replay import ReplayRequest
    from eptreplay.run.units import Replays


def _runs(file: Path, instead: Mapping[str, Any]) -> Iterator[tuple[ReplayRequest, Replays]]:
    """Yield every run of a plan, all of which is checked first."""
    for run_of, profiles in planned(file, instead):
        yield run_of.request, opened(run_of.request, profiles, run_of.request.options())


def init(file: Path, parts: int, instead: Mapping[str, Any]) -> int:
    """Carry out `batch init` and return the exit code."""
    plan = shlex.quote(str(file))
    next_step = f"eptreplay batch part {plan} NUMBER, for each NUMBER from 1 to {parts}"
    for request, replays in _runs(file, {**instead, "resume": True}):
        if is_finished(request.out, batch.about(replays)):
            say(f"{request.out} is complete; nothing is left to do")
            continue
        with reserved(request.out, overwrite=request.overwrite, inputs=inputs_of(request, replays.traces)):
            inputs = [input_of(trace) for trace in replays.traces]
            shares = begin_parts(request.out, batch.about(replays), inputs, parts, next_step)
        for failure in replays.failed:
            note(f"guest '{failure.guest}' failed: {failure.message()}")
        most = (
            max(sum(replays.traces[unit].rows for unit in share) for share in shares)
            if len(shares) > 1
            else 0
        )
        largest = f", at most {most:,} rows each" if most and replays.options.host is None else ""
        say(f"{request.out}: {len(replays.traces):,} guests in {parts:,} parts{largest}")
    say(f"next: {next_step}")
    say(f"then: eptreplay batch finish {plan}")
    return Exit.GOOD


def part(file: Path, number: int, instead: Mapping[str, Any]) -> int:
    """Carry out `batch part` and return the exit code: of guests that fail, `finish` tells."""
    for request, replays in _runs(file, {**instead, "resume": True}):
        about = batch.about(replays)
        if is_finished(request.out, about):
            say(f"{request.out} is complete; nothing is left to do")
            continue
        warm_up([replays.options.policy])  # before processes begin, each of which would compile
        with ProgressBar(None, "rows", f"part {number}") as bar:
            execution = Execution(
                workers=request.workers or 1, checkpoint_every=request.checkpoint_rows(), on_rows=bar.advance
            )
            result = carry_out_part(replays, request.out, about, number, execution)
        if result.holder is not None:
            note(f"part {number} of {request.out} is being carried out ({result.holder}); nothing was done")
            continue
        for failure in result.failures:
            note(f"guest '{failure.guest}' failed: {failure.message()}")
        failed = f", {len(result.failures):,} failed" if result.failures else ""
        say(
            f"part {number} of {request.out} is done: {result.guests:,} guests, {result.replayed:,} of them replayed now{failed}"
        )
    return Exit.GOOD


def finish(file: Path, instead: Mapping[str, Any]) -> int:
    """Carry out `batch finish` and return the exit code."""
    failed = False
    for request, replays in _runs(file, {**instead, "resume": True}):
        if is_finished(request.out, batch.about(replays)):
            say(f"{request.out} is complete; nothing is left to do")
            continue
        command = f"eptreplay batch finish {shlex.quote(str(file))}" + " --overwrite" * request.overwrite
        permission = Permission(request.overwrite, resume=True, command=command, finish=True)
        with reserved(request.out, overwrite=request.overwrite, inputs=inputs_of(request, replays.traces)):
            failed |= run(request, replays, permission) != Exit.GOOD
    return Exit.SOME_FAILED if failed else Exit.GOOD
