"""Which options have an effect only beside others: given without them they are refused, not ignored.

Every option of every command has its line here; a test holds the tables against the commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import typer

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.request.replay import ReplayRequest


class Needs(NamedTuple):
    """What an option needs to have an effect.

    Args:
        what: in words, after "needs".
        met: whether a request has it.
    """

    what: str
    met: Callable[[ReplayRequest], bool]


class NeedsTraces(NamedTuple):
    """What an option of `replay` needs of the traces to have an effect; see Needs."""

    what: str
    met: Callable[[Sequence[GuestTrace]], bool]


class NeedsRecordings(NamedTuple):
    """Which kinds of recordings an option of `conform` has an effect on; a folder holds one of them, or is refused."""

    kinds: frozenset[str]


ALWAYS = None
"""An option that has an effect whatever else is given, or that asks for what is the case anyway."""

HOST_OPTIONS = ("host_memory", "placement", "scan_interval", "fragmentation", "align", "vcpus")
"""Options of `replay` that put all guests on one host."""


def _given_of_host(request: ReplayRequest) -> list[str]:
    return [name for name in HOST_OPTIONS if getattr(request, name) is not None]


_WITH_TLB = Needs("--tlb", lambda request: request.tlb)
_WITH_LIMITED_MEMORY = Needs(
    "--host-memory: nothing is swapped where memory is enough",
    lambda request: request.host_memory is not None,
)

REPLAY: Mapping[str, Needs | None] = {
    "traces": ALWAYS,
    "profile": ALWAYS,
    "out": ALWAYS,
    "overwrite": ALWAYS,  # a permission
    "policy": ALWAYS,
    "every": Needs(
        "--policy age or --policy harvest: nothing else sweeps", lambda request: request.policy != "plain"
    ),
    "intervals": ALWAYS,
    "page_accesses": ALWAYS,
    "slow_path": ALWAYS,
    "mrc": ALWAYS,
    "tlb": Needs(
        "guests on hosts of their own, so leave out --host-memory, --placement, --scan-interval, --fragmentation, "
        "--align and --vcpus",
        lambda request: not _given_of_host(request),
    ),
    "guest_pages": _WITH_TLB,
    "paging_structures": _WITH_TLB,
    "bandwidth": ALWAYS,
    "downtime": ALWAYS,
    "host_memory": ALWAYS,
    "placement": ALWAYS,
    "scan_interval": ALWAYS,
    "fragmentation": Needs(
        "2 MB reservations, so leave out --placement identity",
        lambda request: request.placement != "identity",
    ),
    "align": ALWAYS,  # and needs several guests: OF_TRACES
    "swap_read": _WITH_LIMITED_MEMORY,
    "swap_write": _WITH_LIMITED_MEMORY,
    "vcpus": ALWAYS,
    "idle_gap": Needs(
        "--vcpus activity: otherwise no vCPU is taken to halt", lambda request: request.vcpus == "activity"
    ),
    "check_conservation": Needs(
        "a host that guests share: give --host-memory, or another option of the host, too",
        lambda request: bool(_given_of_host(request)),
    ),
    "on_bad_rows": ALWAYS,
    "jobs": ALWAYS,
    "open_page": ALWAYS,
}

OF_TRACES: Mapping[str, NeedsTraces] = {
    "align": NeedsTraces(
        "two guests or more: the times of one need not be put together", lambda traces: len(traces) > 1
    ),
    "idle_gap": NeedsTraces(
        "a guest whose guest.toml gives no idle gap of its own",
        lambda traces: any(trace.idle_gap_ns is None for trace in traces),
    ),
}

VECTORS = "vectors"
GOLDEN = "golden replays"
PAGEOUT = "page daemon replays"
TINY = "tiny scenarios"

CONFORM: Mapping[str, NeedsRecordings | None] = {
    "folder": ALWAYS,
    "traces": NeedsRecordings(frozenset({GOLDEN, PAGEOUT})),
    "sequence": NeedsRecordings(frozenset({VECTORS})),
    "slow_path": NeedsRecordings(frozenset({GOLDEN})),
    "tlb": NeedsRecordings(frozenset({GOLDEN})),
}

OTHERS: Mapping[str, frozenset[str]] = {
    "check": frozenset({"traces", "on_bad_rows"}),
    "report": frozenset({"run", "assume", "open_page"}),
    "compare": frozenset({"first", "second", "out", "overwrite", "assume", "open_page"}),
    "summary": frozenset({"run", "guest", "assume"}),
    "bench": frozenset({"traces", "runs", "as_json"}),
    "profiles list": frozenset(),
    "profiles show": frozenset({"name"}),
    "profiles from-msr": frozenset({"value"}),
}
"""By command, options that always have an effect."""


def given_names(context: typer.Context) -> frozenset[str]:
    """Return the parameters that stand on the command line, whether or not with the value they would have anyway."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source and source.name == "COMMANDLINE")


def option_of(name: str) -> str:
    """Return a parameter as it stands on the command line."""
    return f"--{name.replace('_', '-')}"


def refuse_without_effect(request: ReplayRequest) -> None:
    """Refuse an option that was given to `replay` and would change nothing.

    Raises:
        UsageError: there is one; names what it needs.
    """
    for name, needs in REPLAY.items():
        if name in request.given and needs is not None and not needs.met(request):
            raise UsageError(f"{option_of(name)} needs {needs.what}")


def refuse_without_effect_on(request: ReplayRequest, traces: Sequence[GuestTrace]) -> None:
    """Refuse an option that was given to `replay` and would change nothing for these traces.

    Raises:
        UsageError: there is one; names what it needs.
    """
    for name, needs in OF_TRACES.items():
        if name in request.given and not needs.met(traces):
            raise UsageError(f"{option_of(name)} needs {needs.what}")


def refuse_without_recordings(given: frozenset[str], folder: str, kinds: frozenset[str]) -> None:
    """Refuse an option that was given to `conform` and would change nothing for a folder with recordings of these kinds.

    Raises:
        UsageError: there is one; names what it needs.
    """
    for name, needs in CONFORM.items():
        if name in given and needs is not None and not needs.kinds & kinds:
            what = " or ".join(sorted(needs.kinds))
            raise UsageError(
                f"{option_of(name)} needs {what}; {folder} holds {' and '.join(sorted(kinds)) or 'none'}"
            )
