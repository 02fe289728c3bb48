"""How a profile did with a guest, or with several: exits, IPIs, and the estimated cost with its range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.report.costs.cost_terms import Estimate, estimates
from eptreplay.report.costs.costs import Range
from eptreplay.report.costs.times import doubt
from eptreplay.report.read.numbers import percent, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eptreplay.report.costs.costs import Assumptions
    from eptreplay.report.read.run import Guest


class Standing(NamedTuple):
    """How a profile did with a guest."""

    profile: str
    exits: int
    ipis: int
    seconds: float
    share: float | None
    """Estimated share of the vCPUs' trace time; None where the time is not known."""
    base: int = 0
    """Number of the profile that this one is measured by."""
    compared: bool = False
    """Whether two runs are compared."""
    range: Range | None = None
    """The estimated seconds with their range."""
    estimates: tuple[Estimate, ...] = ()
    """What they are made of, guest by guest."""
    doubted: str = ""
    """Why the guest's times cannot be right, if they cannot; there is no share then."""

    def as_text(self) -> str:
        """Return the estimate with its range: a share of run time, or CPU time where that is not known."""
        known = self.range or Range(self.seconds, self.seconds, self.seconds)
        if self.share is None:
            return known.as_text(seconds)
        shares = known.times(self.share / self.seconds) if self.seconds else known
        return shares.as_text(lambda value: percent(value, 1))

    def estimated(self) -> str:
        """Return the same as a part of a sentence."""
        return f"an estimated {self.as_text()} of {'CPU' if self.share is None else 'its run'} time"


def standings(guest: Guest, profiles: Sequence[Mapping[str, Any]], assumed: Assumptions) -> list[Standing]:
    """Return how every profile did, in the order of the run."""
    found = []
    estimated = estimates(guest, profiles, assumed)
    doubted = doubt(guest, estimated)
    for profile, estimate in zip(profiles, estimated, strict=True):
        row = guest.summary[profile["name"]]
        cost = estimate.seconds()
        share = None if doubted else estimate.share(cost)
        found.append(
            Standing(
                profile["name"],
                exits(row),
                row["ipis"] + row["x86_ipis"],
                cost.value,
                None if share is None else share.value,
                profile.get("base", 0),
                "base" in profile,
                cost,
                (estimate,),
                doubted,
            )
        )
    return found


def total(guests: Sequence[Sequence[Standing]]) -> list[Standing]:
    """Return how every profile did with several guests together; shares of different times do not add up."""
    return [
        Standing(
            of[0].profile,
            sum(at.exits for at in of),
            sum(at.ipis for at in of),
            sum(at.seconds for at in of),
            None,
            of[0].base,
            of[0].compared,
            estimates=tuple(estimate for at in of for estimate in at.estimates),
        )
        for of in zip(*guests, strict=True)
    ]


def exits(row: Mapping[str, Any]) -> int:
    """Return the exits in a row of counters: accesses resolved by A/D emulation or by vm_fault."""
    names = ("ad_emulated_r", "ad_emulated_w", "vm_faults_r", "vm_faults_w", "vm_faults_x")
    return sum(int(row[name]) for name in names)
