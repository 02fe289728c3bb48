"""What was replayed, and how, as run.json has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eptreplay import __version__
from eptreplay import profiles as cpu
from eptreplay.tables.files import slug

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.profiles import Profile
    from eptreplay.request.options import Options
    from eptreplay.run.failures import Failure


def configuration(profiles: Sequence[Profile], options: Options) -> dict[str, Any]:
    """Return how guests are replayed, for run.json: whatever decides what the tables hold."""
    return {
        "eptreplay": __version__,
        "options": {
            "policy": str(options.policy),
            "every": None if options.every is None else str(options.every),
            "intervals": options.intervals,
            "page_accesses": options.page_accesses,
            "mrc": str(options.mrc),
            "tlb": None
            if options.tlb is None
            else {"guest_large": options.tlb.guest_large, "structures": options.tlb.structures},
            "bandwidths": list(options.link.bandwidths),
            "downtime_ns": options.link.downtime_ns,
            "on_bad_rows": options.on_bad_rows,
        },
        "host": None if options.host is None else options.host.described(),
        "profiles": [
            {
                **cpu.described(profile),
                "slug": slug(profile.name),
                "title": profile.title,
                "vendor": profile.vendor,
                "assumptions": list(profile.assumptions),
                "costs": {
                    name: {"value": fact.value, "status": str(fact.status)}
                    for name, fact in profile.costs.items()
                    if isinstance(fact.value, (int, float))
                },
            }
            for profile in profiles
        ],
    }


def failed(failures: Sequence[Failure]) -> list[dict[str, str]]:
    """Return the guests that could not be replayed, for run.json."""
    return [{"guest": failure.guest, "error": failure.message()} for failure in failures]


def _read_as(trace: GuestTrace) -> dict[str, str]:
    """Return how a trace was taken that is not stored as the schema says."""
    return {"read_as": "; ".join(trace.taken)} if trace.taken else {}


def described(trace: GuestTrace, bad_rows: Mapping[str, int]) -> dict[str, Any]:
    """Return the description of one guest's trace."""
    known = ("kind", "workload", "kernel", "capture", "rows_are", "approximated")
    return {
        "name": trace.name,
        "slug": slug(trace.name),
        "files": [path.name for path in trace.files],
        "rows": trace.rows,
        "vcpus": trace.vcpus,
        "time_unit": trace.time_unit,
        "memory_pages": trace.ram_pages,
        "segments": [{"gpa": s.gpa, "bytes": s.bytes, "kind": s.kind} for s in trace.segments],
        "about": {key: trace.metadata[key] for key in known if key in trace.metadata} | _read_as(trace),
        "bad_rows": dict(bad_rows),
        "verified_by": str(trace.verified_by),
    }
