"""What the commands do, said to a person: progress, results and errors as text."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from eptreplay import profiles as cpu
from eptreplay.console import ProgressBar, note, say, say_all, say_table
from eptreplay.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eptreplay.batch import Failure, RunResult
    from eptreplay.conform import Mismatch
    from eptreplay.ingest.dataset import BadGuest, GuestTrace
    from eptreplay.ingest.rows import BadRows, OnBadRows
    from eptreplay.options import Options, Policy
    from eptreplay.profiles import Profile
    from eptreplay.request import ReplayRequest


# ---- replay ------------------------------------------------------------------------------------


def replay(request: ReplayRequest) -> int:
    """Carry out `replay` and return the exit code."""
    profiles = [cpu.resolve(spec) for spec in request.profile]
    _refuse_twice([profile.name for profile in profiles])
    from eptreplay import batch  # noqa: PLC0415 - an unknown profile is told without waiting for numba
    from eptreplay.output import check_output  # noqa: PLC0415

    options = request.options()
    check_output(request.out, overwrite=request.overwrite)
    traces, failed = _open(request.traces)
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
            failed_before=failed,
        )
    _tell_result(result)
    if result.unrendered is None:
        _show_page(result.folder, open_page=request.open_page)
    return Exit.SOME_FAILED if result.failures or result.unrendered else Exit.GOOD


def _tell_left_over(
    traces: Sequence[GuestTrace], profiles: Sequence[Profile], options: Options, threads: int
) -> None:
    """Say which large guests cannot use all their threads, and why."""
    from eptreplay.partition import is_large, why_whole  # noqa: PLC0415

    for trace in traces if threads > 1 else ():
        reason = why_whole(trace, profiles, options)
        if reason and is_large(trace, profiles):
            note(f"{trace.name} is replayed on one thread: {reason}")


def _refuse_twice(names: Sequence[str]) -> None:
    """Refuse a profile that is given twice."""
    from eptreplay.errors import UsageError  # noqa: PLC0415

    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"profile '{name}' is given twice; leave one out")


def _open(specs: Sequence[str]) -> tuple[tuple[GuestTrace, ...], list[Failure]]:
    """Open all traces; one that cannot be opened does not keep the others from being replayed."""
    from eptreplay.batch import Failure  # noqa: PLC0415
    from eptreplay.ingest.dataset import find_traces  # noqa: PLC0415

    bad: list[BadGuest] = []
    traces = find_traces(specs, bad=bad)
    if not traces:
        raise bad[0].error
    return traces, [Failure(guest.name, guest.error) for guest in bad]


def _compile_once(policy: Policy) -> None:
    """Compile the model if it has not been on this machine, and say so."""
    from eptreplay import guest  # noqa: PLC0415

    if not guest.is_compiled(policy):
        note("compiling the model: once on this machine, about half a minute ...")
        guest.warm_up([policy])


def _tell_result(result: RunResult) -> None:
    """Say what failed, what was left out, what lies outside memory, and where the results are."""
    from eptreplay.report.outside import outside_of_run  # noqa: PLC0415 - takes its time, and is needed here alone

    for failure in result.failures:
        note(f"guest '{failure.guest}' failed: {failure.error}")
    for guest, reasons in result.bad_rows.items():
        counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        note(f"guest '{guest}': rows left out: {counts}")
    for line in outside_of_run(result.folder):
        note(line)
    if result.unrendered is not None:
        note(
            f"the tables are complete, but no pages could be made of them ({type(result.unrendered).__name__}:"
            f" {result.unrendered}); to try again: eptreplay report {result.folder}"
        )
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
) -> int:
    """Carry out `conform` and return the exit code."""
    from eptreplay import conform as conformance  # noqa: PLC0415

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
    from eptreplay.errors import TraceError  # noqa: PLC0415
    from eptreplay.ingest.reader import read_batches  # noqa: PLC0415
    from eptreplay.ingest.rows import BadRows  # noqa: PLC0415

    traces, failed = _open(specs)
    errors = [failure.error for failure in failed]
    left_out = 0
    with ProgressBar(sum(trace.rows for trace in traces), "rows", "checking") as bar:
        for trace in traces:
            skipped = BadRows()
            try:
                for batch in read_batches(trace, vcpu=True, on_bad_rows=on_bad_rows, bad_rows=skipped):
                    bar.advance(batch.rows)
            except TraceError as error:
                errors.append(error)
                continue
            left_out += skipped.total
            _tell_trace(trace, skipped)
    for found in errors:
        note(str(found))
    return Exit.BAD_INPUT if errors else Exit.DIFFERENCES if left_out else Exit.GOOD


def _tell_trace(trace: GuestTrace, skipped: BadRows) -> None:
    """Say what is in a trace."""
    from eptreplay.units import binary_size  # noqa: PLC0415

    say(f"{trace.name}: {trace.rows:,} rows in {len(trace.row_groups)} row groups, {trace.vcpus} vCPUs")
    say(
        f"  memory {binary_size(trace.ram_pages * 4096)} in {len(trace.ram_ranges())} ranges; time in {trace.time_unit}"
    )
    for reason, count in skipped.counts.items():
        say(f"  {count:,} bad rows: {reason}; the first: {skipped.first[reason]}")


# ---- report, compare, summary ------------------------------------------------------------------


def report(run: Path, assume: Sequence[str], *, open_page: bool) -> int:
    """Carry out `report` and return the exit code."""
    from eptreplay.report.costs import parse_assumptions  # noqa: PLC0415
    from eptreplay.report.html import render  # noqa: PLC0415

    render(run, parse_assumptions(assume))
    _show_page(run, open_page=open_page)
    return Exit.GOOD


def compare(
    first: Path, second: Path, out: Path, assume: Sequence[str], *, overwrite: bool, open_page: bool
) -> int:
    """Carry out `compare` and return the exit code."""
    from eptreplay.output import new_output  # noqa: PLC0415
    from eptreplay.report.compare import merge  # noqa: PLC0415
    from eptreplay.report.costs import parse_assumptions  # noqa: PLC0415
    from eptreplay.report.html import render  # noqa: PLC0415

    assumed = parse_assumptions(assume)
    with new_output(out, overwrite=overwrite) as work:
        merge(first, second, work)
        render(work, assumed)
    _show_page(out, open_page=open_page)
    return Exit.GOOD


def summary(run: Path, guests: Sequence[str], assume: Sequence[str]) -> int:
    """Carry out `summary` and return the exit code."""
    from eptreplay.report.costs import parse_assumptions  # noqa: PLC0415
    from eptreplay.report.terminal import print_summary  # noqa: PLC0415

    print_summary(run, guests, parse_assumptions(assume))
    return Exit.GOOD


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
    say(benchmark.as_json(figures) if as_json else "\n".join(benchmark.as_text(figures)))
    return Exit.GOOD


# ---- profiles ----------------------------------------------------------------------------------


def profiles_list() -> None:
    """Carry out `profiles list`."""
    say_table(cpu.OVERVIEW_HEADER, cpu.overview_rows())
    say(cpu.SUPERPAGES_OF)


def profiles_show(name: str) -> int:
    """Carry out `profiles show` and return the exit code."""
    profile = cpu.resolve(name, even_refused=True)
    say_all(cpu.describe(profile))
    return Exit.BAD_INPUT if cpu.refusals(profile) else Exit.GOOD


def profiles_from_msr(value: str) -> int:
    """Carry out `profiles from-msr` and return the exit code."""
    decoded = cpu.from_ept_vpid_cap(cpu.parse_ept_vpid_cap(value))
    say_all(cpu.describe_ept_vpid_cap(decoded))
    return Exit.BAD_INPUT if decoded.refusals else Exit.GOOD
