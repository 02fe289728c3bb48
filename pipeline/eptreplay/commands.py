"""What the commands do, said to a person: progress, results and errors as text."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eptreplay import profiles as cpu
from eptreplay.console import ProgressBar, note, say, say_all, say_table
from eptreplay.effects import (
    refuse_without_effect,
    refuse_without_effect_on,
    refuse_without_recordings,
)
from eptreplay.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eptreplay.batch import RunResult
    from eptreplay.conform import Mismatch
    from eptreplay.failures import Failure
    from eptreplay.ingest.dataset import BadGuest, GuestTrace
    from eptreplay.ingest.outside import Outside
    from eptreplay.ingest.rows import BadRows, OnBadRows
    from eptreplay.options import Options, Policy
    from eptreplay.profiles import Profile
    from eptreplay.report.html import PageWatcher
    from eptreplay.report.pages import Unrendered
    from eptreplay.request import ReplayRequest

MANY_SWEEPS = 1_000_000
"""Sweeps that take minutes."""


# ---- replay ------------------------------------------------------------------------------------


def replay(request: ReplayRequest) -> int:
    """Carry out `replay` and return the exit code."""
    profiles = [cpu.resolve(spec) for spec in request.profile]
    _refuse_twice([profile.name for profile in profiles])
    from eptreplay.memory_fit import refuse_what_does_not_fit, room, warnings  # noqa: PLC0415 - an unknown profile is told without waiting for numba
    from eptreplay.output import reserved  # noqa: PLC0415

    options = request.options()
    refuse_without_effect(request)
    traces, failed = _open(request.traces)
    refuse_without_effect_on(request, traces)
    machine = room()
    refuse_what_does_not_fit(traces, len(profiles), options.host, machine)
    for warning in (*warnings(traces, len(profiles), machine), *_long_sweeps(traces, options)):
        note(warning)
    tell_leftovers(request.out)
    with reserved(request.out, overwrite=request.overwrite, inputs=_inputs(request.traces, traces)):
        return _replay(request, profiles, options, traces, failed)


def _inputs(specs: Sequence[str], traces: Sequence[GuestTrace]) -> list[Path]:
    """Return the files and folders that a replay reads."""
    named = [path for path in map(Path, specs) if path.exists()]
    return [*named, *(file for trace in traces for file in trace.files)]


def _replay(
    request: ReplayRequest,
    profiles: Sequence[Profile],
    options: Options,
    traces: Sequence[GuestTrace],
    failed: Sequence[Failure],
) -> int:
    """Replay traces into a folder that nobody else writes, and say what came of it."""
    from eptreplay import batch  # noqa: PLC0415 - takes its time

    threads = request.jobs or os.cpu_count() or 1
    options = replace(options, decode_ahead=threads > len(traces))
    each = max(1, threads // len(traces))
    if request.jobs:
        _tell_left_over(traces, profiles, options, each)
    _compile_once(options.policy)
    with ProgressBar(sum(trace.rows for trace in traces), "rows", "replaying") as bar:
        result = batch.run(
            traces,
            profiles,
            options,
            request.out,
            overwrite=request.overwrite,
            jobs=max(1, min(threads, len(traces))),
            threads=each,
            watch=bar.advance,
            watch_pages=_pages_into(bar),
            failed_before=failed,
        )
    with complete(result.folder):
        _tell_result(result)
        if result.unrendered is None:
            _show_page(result.folder, open_page=request.open_page)
    lost = result.failures or result.unrendered or result.pageless
    return Exit.SOME_FAILED if lost else Exit.GOOD


def _pages_into(bar: ProgressBar) -> PageWatcher:
    """Return what hears of pages made and shows them as progress."""

    def hear(made: int, of: int) -> None:
        if made:
            bar.advance(1)
        else:
            bar.begin(of, "guests", "rendering")

    return hear


def _what(error: Exception) -> str:
    """Return an error as a part of a sentence: those raised on purpose say what they are."""
    from eptreplay.errors import EptReplayError  # noqa: PLC0415

    return str(error) if isinstance(error, EptReplayError) else f"{type(error).__name__}: {error}"


def _tell_pageless(pageless: Sequence[Unrendered]) -> None:
    """Say which guests have no page, and where a fault of ours occurred."""
    for failure in pageless:
        note(f"guest '{failure.guest}': its tables are complete, but it has no page: {failure.why}")
    for failure in pageless[:1]:
        if failure.traceback:
            note(
                f"a fault of eptreplay itself; please report it to the project:\n{failure.traceback.rstrip()}"
            )


def _tell_not_shown(pageless: Sequence[Unrendered]) -> None:
    """Say which guests of a run from anywhere have no page; its tables may be damaged."""
    for failure in pageless:
        why = f"{failure.why}; {DAMAGED_OR_OURS}" if failure.traceback else failure.why
        note(f"guest '{failure.guest}' has no page: {why}")


def _tell_left_over(
    traces: Sequence[GuestTrace], profiles: Sequence[Profile], options: Options, threads: int
) -> None:
    """Say which large guests cannot use all their threads, and why."""
    from eptreplay.partition import is_large, why_whole  # noqa: PLC0415

    for trace in traces if threads > 1 else ():
        reason = why_whole(trace, profiles, options)
        if reason and is_large(trace, profiles):
            note(f"{trace.name} is replayed on one thread: {reason}")


def _long_sweeps(traces: Sequence[GuestTrace], options: Options) -> list[str]:
    """Return what there is to say of guests with far more sweeps than rows, which take longer than anything else."""
    from eptreplay.options import Span, sweep_rhythms  # noqa: PLC0415

    found = []
    for trace in traces:
        span = Span.of(trace)
        if options.every is None or not span.fits(options.every):
            continue  # the replay says so
        sweeps = sum(map(span.cuts, sweep_rhythms(span, options)))
        if sweeps > max(MANY_SWEEPS, trace.rows):
            found.append(
                f"--every {options.every} is {sweeps:,} sweeps over guest '{trace.name}', {sweeps // trace.rows:,} for each"
                " of its rows, and every sweep takes its time; a longer distance is quicker"
            )
    return found


def _refuse_twice(names: Sequence[str]) -> None:
    """Refuse a profile that is given twice."""
    from eptreplay.errors import UsageError  # noqa: PLC0415

    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"profile '{name}' is given twice; leave one out")


def _open(specs: Sequence[str]) -> tuple[tuple[GuestTrace, ...], list[Failure]]:
    """Open all traces; one that cannot be opened does not keep the others from being replayed."""
    from eptreplay.failures import Failure, no_guest  # noqa: PLC0415
    from eptreplay.ingest.dataset import find_traces  # noqa: PLC0415

    bad: list[BadGuest] = []
    traces = find_traces(specs, bad=bad)
    failed = [Failure(guest.name, guest.error) for guest in bad]
    if not traces:
        raise no_guest(failed)
    return traces, failed


def _compile_once(policy: Policy) -> None:
    """Compile what of the model has not been on this machine, which says so itself, before progress is measured."""
    from eptreplay import guest  # noqa: PLC0415

    guest.warm_up([policy])


def _tell_result(result: RunResult) -> None:
    """Say what failed, what was left out, what lies outside memory, and where the results are."""
    from eptreplay.report.outside import outside_of_run  # noqa: PLC0415 - takes its time, and is needed here alone

    for failure in result.failures:
        note(f"guest '{failure.guest}' failed: {failure.told()}")
    for guest, reasons in result.bad_rows.items():
        counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        note(f"guest '{guest}': rows left out: {counts}")
    for line in outside_of_run(result.folder):
        note(line)
    if result.unrendered is not None:
        note(
            f"the tables are complete, but no pages could be made of them ({_what(result.unrendered)});"
            f" to try again: eptreplay report {result.folder}"
        )
    _tell_pageless(result.pageless)
    guests = len(result.guests)
    say(f"{guests} guest{'s' if guests != 1 else ''} replayed; tables in {result.folder / 'tables'}")


# ---- conform -----------------------------------------------------------------------------------


def conform(
    folder: Path,
    traces: Path | None,
    only: frozenset[int] | None,
    *,
    slow_path: bool = False,
    tlb: bool = False,
    given: frozenset[str] = frozenset(),
) -> int:
    """Carry out `conform` and return the exit code; `given` names the options on the command line."""
    from eptreplay import conform as conformance  # noqa: PLC0415

    kinds = conformance.kinds_in(folder)
    if kinds:
        refuse_without_recordings(given, str(folder), kinds)
    with ProgressBar(None, "operations") as bar:

        def watch(name: str, count: int) -> None:
            bar.name(name)
            bar.advance(count)

        report = conformance.check(folder, traces, only=only, slow_path=slow_path, tlb=tlb, watch=watch)
    for mismatch in report.first:
        _tell_mismatch(mismatch)
    say(f"sequences  {report.sequences:,}")
    say(f"operations {report.operations:,}")
    say(f"compared   {report.values:,} values")
    say(f"mismatches {report.mismatches:,}")
    return Exit.DIFFERENCES if report.mismatches else Exit.GOOD


def _tell_mismatch(mismatch: Mismatch) -> None:
    """Say where a sequence first differs."""
    say(f"{mismatch.where}: {mismatch.step}")
    for word, value in (("expected", mismatch.expected), ("found", mismatch.found)):
        say(f"  {mismatch.name} {word:8} {value} ({value & (1 << 64) - 1:#x})")
    for line in mismatch.detail:
        say(f"  {line}")


# ---- check -------------------------------------------------------------------------------------


def check(specs: Sequence[str], on_bad_rows: OnBadRows) -> int:
    """Carry out `check` and return the exit code."""
    from eptreplay.failures import Failure, forget_locals  # noqa: PLC0415
    from eptreplay.ingest.outside import Outside  # noqa: PLC0415
    from eptreplay.ingest.reader import read_batches  # noqa: PLC0415
    from eptreplay.ingest.rows import BadRows  # noqa: PLC0415

    traces, failed = _open(specs)
    left_out = 0
    with ProgressBar(sum(trace.rows for trace in traces), "rows", "checking") as bar:
        for trace in traces:
            skipped = BadRows()
            outside = Outside(trace.ram_ranges())
            try:
                for batch in read_batches(trace, vcpu=True, on_bad_rows=on_bad_rows, bad_rows=skipped):
                    outside.look(batch)
                    bar.advance(batch.rows)
            except Exception as error:  # noqa: BLE001 - whatever a trace raises, the others are checked
                forget_locals(error)
                failed.append(Failure(trace.name, error))
                continue
            left_out += skipped.total
            _tell_trace(trace, skipped, outside)
    for failure in failed:
        note(failure.told())
    return Exit.BAD_INPUT if failed else Exit.DIFFERENCES if left_out else Exit.GOOD


def _tell_trace(trace: GuestTrace, skipped: BadRows, outside: Outside) -> None:
    """Say what is in a trace, what guards it, and what is odd about it."""
    from eptreplay.units import binary_size  # noqa: PLC0415

    say(f"{trace.name}: {trace.rows:,} rows in {len(trace.row_groups)} row groups, {trace.vcpus} vCPUs")
    say(
        f"  memory {binary_size(trace.ram_pages * 4096)} in {len(trace.ram_ranges())} ranges; time in {trace.time_unit}"
    )
    say(f"  {_GUARDED[str(trace.verified_by)]}")
    if outside.rows:
        say(
            f"  {outside.rows:,} of {trace.rows:,} rows ({outside.accesses:,} of {outside.all_accesses:,} accesses) lie "
            f"outside the guest's memory, between {outside.lowest:#x} and {outside.highest:#x}; correct memory_segments "
            "if that is wrong"
        )
    for reason, count in skipped.counts.items():
        say(f"  {count:,} bad rows: {reason}; the first: {skipped.first[reason]}")


_GUARDED = {
    "": "unverified input: neither page checksums nor a SHA256SUMS beside it; damage may go unnoticed",
    "page checksums": "verified by page checksums, which guard neither the order of pages nor the metadata; "
    "a SHA256SUMS beside it would",
    "SHA256SUMS": "verified by the SHA256SUMS beside it",
}
"""What is said of a trace, by what it is verified by."""


# ---- report, compare, summary ------------------------------------------------------------------


def report(run: Path, assume: Sequence[str], *, open_page: bool) -> int:
    """Carry out `report` and return the exit code."""
    from eptreplay.lock import held  # noqa: PLC0415
    from eptreplay.pages import make_pages  # noqa: PLC0415
    from eptreplay.report.costs import parse_assumptions  # noqa: PLC0415

    assumed = parse_assumptions(assume)
    folder = run.resolve()  # RUN may be a link
    tell_leftovers(folder)
    with (
        doubted(run),
        _left_as_it_was(run),
        held(folder),
        ProgressBar(None, "guests", "rendering") as bar,
    ):
        pageless = make_pages(run, assumed, workers=os.cpu_count() or 1, watch=_pages_into(bar))
    with complete(run):
        _tell_not_shown(pageless)
        _show_page(run, open_page=open_page)
    return Exit.SOME_FAILED if pageless else Exit.GOOD


def compare(
    first: Path, second: Path, out: Path, assume: Sequence[str], *, overwrite: bool, open_page: bool
) -> int:
    """Carry out `compare` and return the exit code."""
    from eptreplay.output import new_output, reserved  # noqa: PLC0415
    from eptreplay.pages import make_pages  # noqa: PLC0415
    from eptreplay.report.compare import merge  # noqa: PLC0415
    from eptreplay.report.costs import parse_assumptions  # noqa: PLC0415
    from eptreplay.report.run import open_run  # noqa: PLC0415

    assumed = parse_assumptions(assume)
    for run in (first, second):
        tell_leftovers(run.resolve())
        with doubted(run):
            open_run(run)
    tell_leftovers(out)
    with (
        doubted(first, second),
        reserved(out, overwrite=overwrite, inputs=(first, second)),
        new_output(out, overwrite=overwrite) as work,
    ):
        merge(first, second, work)
        with ProgressBar(None, "guests", "rendering") as bar:
            pageless = make_pages(work, assumed, workers=os.cpu_count() or 1, watch=_pages_into(bar))
    with complete(out):
        _tell_not_shown(pageless)
        _show_page(out, open_page=open_page)
    return Exit.SOME_FAILED if pageless else Exit.GOOD


def summary(run: Path, guests: Sequence[str], assume: Sequence[str]) -> int:
    """Carry out `summary` and return the exit code."""
    from eptreplay.report.costs import parse_assumptions  # noqa: PLC0415
    from eptreplay.report.terminal import print_summary  # noqa: PLC0415

    assumed = parse_assumptions(assume)
    tell_leftovers(run.resolve())
    with doubted(run):
        print_summary(run, guests, assumed)
    return Exit.GOOD


def tell_leftovers(out: Path) -> None:
    """Say what killed runs left beside the folder of a run."""
    from eptreplay.leftovers import leftovers  # noqa: PLC0415

    for line in leftovers(out):
        note(line)


DAMAGED_OR_OURS = "tables or run.json are damaged, or this is a fault of eptreplay"
"""What is said of the tables of a run from anywhere that raise what no check foresees."""


@contextmanager
def doubted(*runs: Path) -> Iterator[None]:
    """Turn whatever goes wrong with runs that may come from somebody else into one line.

    What run.json and the tables must be is checked first; this is for values that no check foresees.

    Raises:
        OutputError: the runs' tables do not fit together.
    """
    from eptreplay.errors import EptReplayError, OutputError, RenderError  # noqa: PLC0415

    try:
        yield
    except RenderError as error:  # of pages that are made aside: it does not say of which run
        raise OutputError(_not_shown(runs, str(error))) from error
    except (EptReplayError, BrokenPipeError):
        raise
    except OSError as error:
        raise OutputError(
            f"{error.filename or runs[0]}: cannot be read or written ({error.strerror})"
        ) from error
    except Exception as error:
        raise OutputError(_not_shown(runs, f"{type(error).__name__}: {error}")) from error


def _not_shown(runs: Sequence[Path], why: str) -> str:
    """Return in a line that runs cannot be shown."""
    names = " or ".join(map(str, runs))
    return f"{names}: cannot be shown ({' '.join(why.split()):.200}); {DAMAGED_OR_OURS}: replay again"


@contextmanager
def complete(out: Path) -> Iterator[None]:
    """Say of a signal that comes while a result is being announced that the result is complete."""
    from eptreplay.signals import Stopped  # noqa: PLC0415

    try:
        yield
    except Stopped as stop:
        stop.add_note(f"{out} is complete")
        raise


@contextmanager
def _left_as_it_was(run: Path) -> Iterator[None]:
    """Say of a signal that comes before new pages are moved in that the older ones are as they were."""
    from eptreplay.signals import Stopped  # noqa: PLC0415

    try:
        yield
    except Stopped as stop:
        stop.add_note(f"the pages of {run} are as they were")
        raise


def _show_page(run: Path, *, open_page: bool) -> None:
    """Say where the first page of a run is, and open it in a browser if asked to."""
    import webbrowser  # noqa: PLC0415 - takes its time, and is rarely asked for

    page = run / "index.html"
    say(f"open {page}")
    if open_page and not webbrowser.open(page.absolute().as_uri()):
        note(f"no browser was found; open {page} yourself")


# ---- bench -------------------------------------------------------------------------------------


def bench(traces: Sequence[Path], runs: int, *, as_json: bool) -> int:
    """Carry out `bench` and return the exit code."""
    from eptreplay import bench as benchmark  # noqa: PLC0415
    from eptreplay import bench_wide  # noqa: PLC0415

    figures = bench_wide.run(traces, runs)
    for line in benchmark.as_json(figures).split("\n") if as_json else benchmark.as_text(figures):
        say(line)
    return Exit.GOOD


# ---- profiles ----------------------------------------------------------------------------------


def profiles_list() -> None:
    """Carry out `profiles list`."""
    say_table(cpu.OVERVIEW_HEADER, cpu.overview_rows())
    say_all(["", cpu.SUPERPAGES_OF])


def profiles_show(name: str) -> int:
    """Carry out `profiles show` and return the exit code."""
    profile = cpu.resolve(name, even_refused=True)
    say_all(cpu.describe(profile))
    return Exit.BAD_INPUT if cpu.refusals(profile) else Exit.GOOD


def profiles_from_msr(value: str) -> int:
    """Carry out `profiles from-msr` and return the exit code."""
    decoded = cpu.from_ept_vpid_cap(cpu.parse_ept_vpid_cap(value))
    say_all(cpu.describe_ept_vpid_cap(decoded))
    if decoded.refusals:
        note(f"bhyve would refuse this CPU: {'; '.join(decoded.refusals)}")
    return Exit.BAD_INPUT if decoded.refusals else Exit.GOOD
