"""Carrying out `replay`: open the traces, check that they fit into memory, run, and print the outcome."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eptreplay.cli.console import ProgressBar, note, say
from eptreplay.cli.pages import pages_into, say_pageless, show_page
from eptreplay.cli.run_folder import complete, say_leftovers
from eptreplay.cli.traces import open_traces
from eptreplay.errors import EptReplayError, Exit
from eptreplay.ingest.stores.url import is_url
from eptreplay.ingest.taking.source import Taking
from eptreplay.replay.driver.warm_up import warm_up
from eptreplay.replay.rows.span import Span, sweep_schedules
from eptreplay.replay.shares.replay import is_large, why_whole
from eptreplay.report.answers.outside import outside_of_run
from eptreplay.run import batch
from eptreplay.run.batch import Permission
from eptreplay.run.effects import refuse_without_effect_on
from eptreplay.run.memory_fit import refuse_what_does_not_fit, room, warnings
from eptreplay.run.output import check_output, reserved
from eptreplay.run.unfinished.folder import is_finished
from eptreplay.run.units import Execution, Replays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.profiles import Profile
    from eptreplay.request.options import Options
    from eptreplay.request.replay import ReplayRequest
    from eptreplay.run.batch import RunResult

MANY_SWEEPS = 1_000_000
"""Sweeps above which a run takes minutes."""


def replay_traces(request: ReplayRequest, profiles: Sequence[Profile], options: Options) -> int:
    """Carry out a request whose options have been checked, and return the exit code."""
    replays = opened(request, profiles, options)
    if request.resume and is_finished(request.out, batch.about(replays)):
        say(f"{request.out} is complete; nothing is left to do")
        return Exit.GOOD
    if not request.resume:
        say_leftovers(request.out)
    with reserved(request.out, overwrite=request.overwrite, inputs=inputs_of(request, replays.traces)):
        return run(request, replays, Permission(request.overwrite, request.resume, _resuming()))


def opened(request: ReplayRequest, profiles: Sequence[Profile], options: Options) -> Replays:
    """Open the traces of a request whose options have been checked, and check that they fit into memory."""
    traces, failed = open_traces(request.traces, request.guest or (), taking=_taking(request))
    refuse_without_effect_on(request, traces)
    machine = room()
    refuse_what_does_not_fit(traces, len(profiles), options.host, machine)
    for warning in (
        *warnings(traces, len(profiles), machine),
        *_long_sweeps(traces, options),
        *_coarse(traces, options),
    ):
        note(warning)
    return Replays(traces, profiles, options, failed)


def check_request(request: ReplayRequest, *, open_too: bool) -> None:
    """Refuse what can be told before anything is replayed: an output folder, and traces if they are to be opened too.

    Raises:
        EptReplayError: the folder cannot be written, or no trace can be opened.
    """
    if not request.resume:  # what is complete is left as it is
        check_output(request.out, overwrite=request.overwrite)
    if open_too:
        open_traces(request.traces, request.guest or (), taking=_taking(request))


def _taking(request: ReplayRequest) -> Taking:
    """Return how columns of traces are taken."""
    return Taking(clock_mhz=request.clock_mhz)


def inputs_of(request: ReplayRequest, traces: Sequence[GuestTrace]) -> list[Path]:
    """Return the files and folders that a replay reads."""
    named = [Path(spec) for spec in request.traces if not is_url(spec) and Path(spec).exists()]
    files = [file for trace in traces for file in trace.files]
    return [*named, *(file for file in files if isinstance(file, Path))]


def run(request: ReplayRequest, replays: Replays, permission: Permission) -> int:
    """Replay traces into a folder that is locked for this process, and print the outcome."""
    guests = len(replays.traces)
    threads = request.jobs or os.cpu_count() or 1
    replays = replace(replays, options=replace(replays.options, decode_ahead=threads > guests))
    each = max(1, threads // guests)
    if request.jobs:
        _say_unused_threads(replays, each)
    warm_up([replays.options.policy])  # says itself that it compiles, so before progress is measured
    with ProgressBar(sum(trace.rows for trace in replays.traces), "rows", "replaying") as bar:
        execution = Execution(
            guests=max(1, min(threads, guests)),
            threads=each,
            workers=request.workers,
            checkpoint_every=request.checkpoint_rows(),
            on_rows=bar.advance,
            on_page=pages_into(bar),
        )
        result = batch.run(replays, request.out, execution, permission)
    with complete(result.folder):
        _say_result(result)
        if result.unrendered is None:
            show_page(result.folder, open_page=request.open_page)
    lost = result.failures or result.unrendered or result.pageless
    return Exit.SOME_FAILED if lost else Exit.GOOD


def _resuming() -> str:
    """Return the command line that goes on with this one."""
    arguments = sys.argv[1:]
    return shlex.join(["eptreplay", *arguments, *(["--resume"] if "--resume" not in arguments else [])])


def _say_unused_threads(replays: Replays, threads: int) -> None:
    """Say which large guests cannot use all their threads, and why."""
    for trace in replays.traces if threads > 1 else ():
        reason = why_whole(trace, replays.profiles, replays.options)
        if reason and is_large(trace, replays.profiles):
            note(f"{trace.name} is replayed on one thread: {reason}")


def _long_sweeps(traces: Sequence[GuestTrace], options: Options) -> list[str]:
    """Return warnings about guests with far more sweeps than rows, since the sweeps then take most of the time."""
    found = []
    for trace in traces:
        span = Span.of(trace)
        if options.every is None or not span.fits(options.every):
            continue  # the replay says so
        sweeps = sum(map(span.stops, sweep_schedules(span, options)))
        if sweeps > max(MANY_SWEEPS, trace.rows):
            found.append(
                f"--every {options.every} is {sweeps:,} sweeps over guest '{trace.name}', {sweeps // trace.rows:,} for each"
                " of its rows, and every sweep takes its time; a longer distance is quicker"
            )
    return found


def _coarse(traces: Sequence[GuestTrace], options: Options) -> list[str]:
    """Return which guests have fewer intervals than asked for, since their clocks are too coarse."""
    found = []
    for trace in traces if options.host is None else ():
        intervals = Span.of(trace).intervals(options.intervals)
        if intervals is not None and intervals < options.intervals:
            found.append(
                f"{trace.name}: its clock advances by {intervals} {trace.time_unit} in all, so that there are {intervals} intervals "
                f"instead of {options.intervals}"
            )
    return found


def _say_result(result: RunResult) -> None:
    """Say what failed, what was left out, what lies outside memory, and where the results are."""
    for failure in result.failures:
        note(f"guest '{failure.guest}' failed: {failure.message()}")
    for guest, reasons in result.bad_rows.items():
        counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        note(f"guest '{guest}': rows left out: {counts}")
    for line in outside_of_run(result.folder):
        note(line)
    if result.unrendered is not None:
        note(
            f"the tables are complete, but no pages could be made of them ({_reason(result.unrendered)});"
            f" to try again: eptreplay report {result.folder}"
        )
    say_pageless(result.pageless)
    guests = len(result.guests)
    say(f"{guests} guest{'s' if guests != 1 else ''} replayed; tables in {result.folder / 'tables'}")


def _reason(error: Exception) -> str:
    """Return an error as part of a sentence; errors raised on purpose need no name of their type."""
    return str(error) if isinstance(error, EptReplayError) else f"{type(error).__name__}: {error}"
