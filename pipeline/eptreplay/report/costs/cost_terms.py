"""What a guest is estimated to have cost, term by term: events from the tables times what each is assumed to cost.

Formulae: docs/costs.md. Every term is a count times a sum of parameters, so a range of the parameters gives that of the cost
by its ends: all at their low ends, all at their high ends. Terms share parameters, so their bounds add up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eptreplay.report.costs.costs import CLOCK, EXIT, ZERO, Assumptions, Range, by_profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from eptreplay.report.read.run import Guest

TOTAL: Final = "total"
CPU, WAITING, DEVICE = "cpu", "waiting", "device"
NANOSECONDS_PER_MICROSECOND = 1000

MOST_KNOWN = 16
"""Assumptions that estimates of many guests are looked for among, at the most: each guest may have its own swap times."""


class Term(NamedTuple):
    """What is counted: its title, its meaning, the parameters whose sum an event costs, and whose time that is."""

    title: str
    meaning: str
    parameters: tuple[str, ...]
    spent: str = CPU


TERMS: Final[Mapping[str, Term]] = {
    "ad_emulation": Term(
        "emulated A/D",
        "exits that were resolved by setting an emulated accessed or dirty bit",
        (EXIT, "emulation_cycles"),
    ),
    "vm_fault": Term("vm_fault", "exits that went to vm_fault", (EXIT, "vm_fault_cycles")),
    "pml_full": Term(
        "PML full",
        "exits because a page-modification log was full",
        (EXIT, "pml_full_cycles"),
    ),
    "ipis": Term("IPIs sent", "interrupts sent to CPUs in the guest, by cause", ("ipi_cycles",)),
    "forced_exits": Term("forced exits", "exits that those made, by cause", (EXIT, "interrupt_cycles")),
    "invepts": Term("INVEPTs", "flushes on entry to the guest, by cause", ("invept_cycles",)),
    "shootdowns": Term(
        "shootdowns",
        "TLB shootdowns of x86-format tables at CPUs in the guest, with the exits they make, by cause",
        (EXIT, "ipi_cycles", "interrupt_cycles", "shootdown_cycles"),
    ),
    "host_shootdowns": Term(
        "host's shootdowns",
        "TLB shootdowns of the hypervisor process's own mapping of the guest",
        ("ipi_cycles", "interrupt_cycles", "shootdown_cycles"),
    ),
    "sweeps": Term(
        "sweeps",
        "pages that aging and harvest sweeps examined: sweeps of each interval times pages mapped at its end",
        ("sweep_page_cycles",),
    ),
    "demotions": Term("demotions", "superpages split, in harvests and elsewhere", ("demotion_cycles",)),
    "walks": Term(
        "page walks",
        "memory references of page walks to the guest's and the host's tables, where TLBs were modelled (--tlb)",
        ("walk_reference_cycles",),
    ),
    "swap_reads": Term("swap reads", "pages read from swap", ("swap_read_us",), WAITING),
    "swap_writes": Term(
        "swap writes",
        "writes to swap; not in the total, as nobody waits for them",
        ("swap_write_us",),
        DEVICE,
    ),
}


_PLACES: Final = {term: place for place, term in enumerate(TERMS)}


class Item(NamedTuple):
    """One row of an estimate: how often something happened, and what that cost."""

    term: str
    kind: str
    events: int
    cycles: Range
    seconds: Range


@dataclass(frozen=True)
class Estimate:
    """What a guest is estimated to have cost under a profile.

    Args:
        profile: its name.
        items: what it is made of, in the order of TERMS; nothing that never occurred.
        vcpu_seconds: run time of all vCPUs together; None where time is not known.
        assumed: what events cost.
    """

    profile: str
    items: tuple[Item, ...]
    vcpu_seconds: float | None
    assumed: Assumptions

    def cycles(self, term: str = TOTAL) -> Range:
        """Return the cycles of a term, all its kinds together, or of all terms but those of devices."""
        return self._sums.get(term, (ZERO, ZERO))[0]

    def seconds(self, term: str = TOTAL) -> Range:
        """Return the same as time of one CPU."""
        return self._sums.get(term, (ZERO, ZERO))[1]

    @cached_property
    def uses(self) -> Counter[str]:
        """Of how many events in the total each parameter is a cost."""
        found: Counter[str] = Counter()
        for item in self.items:
            if TERMS[item.term].spent != DEVICE:
                for parameter in TERMS[item.term].parameters:
                    found[parameter] += item.events
        return found

    @cached_property
    def _sums(self) -> dict[str, tuple[Range, Range]]:
        """Cycles and seconds by term, and of all terms but those of devices."""
        found: dict[str, tuple[Range, Range]] = {}
        for item in self.items:
            total = [TOTAL] if TERMS[item.term].spent != DEVICE else []
            for term in (item.term, *total):
                cycles, seconds = found.get(term, (ZERO, ZERO))
                found[term] = cycles.plus(item.cycles), seconds.plus(item.seconds)
        return found

    def sharing(self, known: list[Assumptions]) -> Estimate:
        """Return the same with assumptions that are among the known ones, to which new ones are added."""
        assumed = next((of for of in known if of == self.assumed), self.assumed)
        if assumed is self.assumed and len(known) < MOST_KNOWN:
            known.append(assumed)
        return replace(self, assumed=assumed)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process cannot work out: the fields alone."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def impossible(self) -> bool:
        """Whether it is more than the run time of the guest's vCPUs, so that this cannot be right."""
        return bool(self.vcpu_seconds) and self.seconds().value > (self.vcpu_seconds or 0.0)

    def share(self, seconds: Range) -> Range | None:
        """Return a time as a share of the run time of the guest's vCPUs; None where that is not known, or cannot be."""
        return seconds.times(1 / self.vcpu_seconds) if self.vcpu_seconds and not self.impossible else None


def estimates(guest: Guest, profiles: Sequence[Mapping[str, Any]], assumed: Assumptions) -> list[Estimate]:
    """Return what a guest cost under each profile, in the order of the run.

    Where runs are compared, shares are of the run time of the profile that each is measured by: two shares of different
    times would not compare.
    """
    known: list[tuple[Sequence[Mapping[str, Any]], Assumptions, list[Estimate]]] = guest.once(
        "estimates", lambda _: []
    )
    for of, by, found in known:
        if by is assumed and of == profiles:
            return found
    made = _estimates(guest, profiles, assumed)
    known.append((profiles, assumed, made))
    return made


def _estimates(guest: Guest, profiles: Sequence[Mapping[str, Any]], assumed: Assumptions) -> list[Estimate]:
    counted = guest.once("counts of events", _Counts)
    return [
        _estimate(guest, str(profile["name"]), str(profiles[profile.get("base", 0)]["name"]), counted, each)
        for profile, each in zip(profiles, by_profile(profiles, assumed), strict=True)
    ]


def _estimate(guest: Guest, profile: str, base: str, counted: _Counts, assumed: Assumptions) -> Estimate:
    assumed = counted.with_swap_times(profile, assumed)
    span = guest.seconds_under(base)
    items = [
        _item(term, kind, events, assumed) for term, kind, events in counted.events(profile) if events > 0
    ]
    items.sort(key=lambda item: _PLACES[item.term])
    whole = span * guest.summary[base]["vcpus"] if span else None
    return Estimate(profile, tuple(items), whole, assumed)


def _item(term: str, kind: str, events: int, assumed: Assumptions) -> Item:
    """Return what so many events cost, as cycles and as time."""
    clock = assumed.cost(CLOCK)
    cost = assumed.cost(*TERMS[term].parameters).times(events)
    if TERMS[term].spent == CPU:
        time = Range(cost.value / clock.value, cost.low / clock.high, cost.high / clock.low)
        return Item(term, kind, events, cost, time.times(1e-6))
    cycles = Range(cost.value * clock.value, cost.low * clock.low, cost.high * clock.high)
    return Item(term, kind, events, cycles, cost.times(1e-6))


def difference(base: Estimate, other: Estimate) -> Range:
    """Return how much more time a guest costs under another profile than under a base, and the range of that."""
    return sum_of_differences([(base, other)])


def sum_of_differences(pairs: Sequence[tuple[Estimate, Estimate]]) -> Range:
    """Return how much more time several guests together cost under other profiles than under bases, and the range of that.

    A parameter that both of a pair share has one value for both, unknown as it is, and for all guests: the ends of the
    range are those of its count's difference. One that differs (a CPU's own figure for an exit) may be anywhere under each.
    """
    shared: Counter[tuple[str, Range]] = Counter()
    cycles, waited = ZERO, ZERO
    for base, other in pairs:
        before, after = base.uses, other.uses
        for name, parameter in base.assumed.parameters.items():
            ours, theirs = base.assumed.ranges[name], other.assumed.ranges[name]
            if ours == theirs:
                shared[name, ours] += after[name] - before[name]
                continue
            part = _signed(theirs, after[name]).plus(_signed(ours, -before[name]))
            if parameter.unit == "us":
                waited = waited.plus(part.times(1e-6))
            else:
                cycles = cycles.plus(part)
    assumed = pairs[0][0].assumed
    for (name, cost), events in shared.items():
        if not events:
            continue
        part = _signed(cost, events)
        if assumed.parameters[name].unit == "us":
            waited = waited.plus(part.times(1e-6))
        else:
            cycles = cycles.plus(part)
    clock = assumed.cost(CLOCK).times(1e6)
    ends = [end / at for end in (cycles.low, cycles.high) for at in (clock.low, clock.high)]
    return Range(cycles.value / clock.value, min(ends), max(ends)).plus(waited)


def _signed(cost: Range, events: int) -> Range:
    """Return the cost of a number of events that may be below 0."""
    ends = (cost.low * events, cost.high * events)
    return Range(cost.value * events, min(ends), max(ends))


class _Counts:
    """Events of a guest by profile, from its tables."""

    def __init__(self, guest: Guest) -> None:
        self._summary = guest.summary
        self._causes = _by_profile(guest.frame("ipis"))
        self._dirty = _sums(guest, "dirty", "pml_exits", "harvest_demotions")
        self._wiring = _sums(guest, "wiring", "host_ipis")
        self._walks = _sums(guest, "translations", *_WALKS)
        self._swap = _sums(guest, "swap_activity", "swap_ins", "pageouts", "read_ns", "write_ns")
        self._sweeps = _sweeps(guest)

    def events(self, profile: str) -> Iterator[tuple[str, str, int]]:
        """Yield term, kind and number of events."""
        yield from _exits(self._summary[profile])
        dirty = self._dirty.get(profile, {})
        yield "pml_full", "", dirty.get("pml_exits", 0)
        for row in self._causes.get(profile, ()):
            for name in ("ipis", "forced_exits", "invepts"):
                yield name, row["cause"], row[name]
            yield "shootdowns", row["cause"], row["x86_ipis"]
        yield "host_shootdowns", "", self._wiring.get(profile, {}).get("host_ipis", 0)
        for kind, pages in self._sweeps.get(profile, {}).items():
            yield "sweeps", kind, pages
        harvested = dirty.get("harvest_demotions", 0)
        yield "demotions", "harvest", harvested
        yield "demotions", "other", self._summary[profile]["demotions"] - harvested
        walks = self._walks.get(profile, {})
        for tables in ("guest", "host"):
            yield (
                "walks",
                f"{tables} tables",
                sum(walks[name] for name in walks if name.startswith(tables)),
            )
        swap = self._swap.get(profile, {})
        yield "swap_reads", "", swap.get("swap_ins", 0)
        yield "swap_writes", "", swap.get("pageouts", 0)

    def with_swap_times(self, profile: str, assumed: Assumptions) -> Assumptions:
        """Return the assumptions with the swap times that were given to the replay, where they are not the default."""
        swap = self._swap.get(profile, {})
        for name, events, time in (
            ("swap_read", "swap_ins", "read_ns"),
            ("swap_write", "pageouts", "write_ns"),
        ):
            if not swap.get(events) or f"{name}_us" in assumed.given:
                continue
            given = swap[time] / swap[events] / NANOSECONDS_PER_MICROSECOND
            if given != assumed.parameters[f"{name}_us"].value:
                option = f"--{name.replace('_', '-')} of the replay"
                assumed = assumed.with_value(f"{name}_us", option, Range(given, given, given))
        return assumed


_WALKS = tuple(f"{tables}_refs_l{level}" for tables in ("guest", "host") for level in range(1, 5))


def _exits(row: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Yield the exits in a row of counters; an access may be refused again, which emulation resolves."""
    emulated = {"read": row["ad_emulated_r"], "write": row["ad_emulated_w"]}
    resolved = {"read": row["vm_faults_r"], "write": row["vm_faults_w"], "fetch": row["vm_faults_x"]}
    for kind, events in emulated.items():
        yield "ad_emulation", kind, events
    yield "ad_emulation", "again", row["traps"] - sum(emulated.values()) - sum(resolved.values())
    for kind, events in resolved.items():
        yield "vm_fault", kind, events


def _sweeps(guest: Guest) -> dict[str, dict[str, int]]:
    """Return the pages that sweeps examined, by profile and kind of sweep."""
    found = {}
    for profile, part in guest.by_profile("intervals").items():
        if not part["sweeps"].sum():
            continue
        dirty = guest.by_profile("dirty").get(profile)
        harvests = {} if dirty is None else dict(zip(dirty["interval"], dirty["harvests"], strict=True))
        rows = zip(part["interval"], part["sweeps"], part["resident"], strict=True)
        swept = [(sweeps, harvests.get(at, 0), resident) for at, sweeps, resident in rows if sweeps > 0]
        found[profile] = {
            "aging": sum((sweeps - of) * resident for sweeps, of, resident in swept),
            "harvest": sum(of * resident for _, of, resident in swept),
        }
    return found


def _by_profile(frame: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in frame.iter_rows(named=True):
        found.setdefault(row["profile"], []).append(row)
    return found


def _sums(guest: Guest, table: str, *names: str) -> dict[str, dict[str, int]]:
    """Return sums of columns by profile."""
    parts = guest.by_profile(table)
    return {profile: {name: int(part[name].sum()) for name in names} for profile, part in parts.items()}


def cost_rows(guest: str, found: Sequence[Estimate]) -> list[dict[str, Any]]:
    """Return the rows of the table `costs` for one guest."""
    return [row for estimate in found for row in _rows(guest, estimate)]


def _rows(guest: str, estimate: Estimate) -> Iterator[dict[str, Any]]:
    parts = [
        (item.term, item.kind, TERMS[item.term].spent, item.events, item.cycles, item.seconds)
        for item in estimate.items
    ]
    for term, kind, spent, events, cycles, seconds in (
        *parts,
        (TOTAL, "", "", None, estimate.cycles(), estimate.seconds()),
    ):
        row: dict[str, Any] = {
            "guest": guest,
            "profile": estimate.profile,
            "term": term,
            "kind": kind,
            "spent": spent,
            "events": events,
        }
        share = estimate.share(seconds)
        for name, of in (("cycles", cycles), ("seconds", seconds), ("share", share)):
            row[name], row[f"{name}_low"], row[f"{name}_high"] = of or (None, None, None)
        yield row
