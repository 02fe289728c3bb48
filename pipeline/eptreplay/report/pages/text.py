"""Pages as text: one per guest, and the index."""

from __future__ import annotations

import dataclasses
import json
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2

from eptreplay.errors import EptReplayError
from eptreplay.report.charts.csvs import each_once, name_in
from eptreplay.report.charts.lines import line_classes
from eptreplay.report.costs.cost_terms import cost_rows, estimates
from eptreplay.report.costs.costs import Assumptions, by_profile, described, exit_origin
from eptreplay.report.pages.guest import guest_page
from eptreplay.report.pages.pieces import PIECES
from eptreplay.report.read.run import open_run
from eptreplay.units import binary_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from eptreplay.report.pages.index import Line

GUESTS_FOLDER = "guests"


class Rendered(NamedTuple):
    """A guest whose page is written: its line of the index, and its rows of the table of costs."""

    number: int
    line: Line
    costs: list[dict[str, Any]]


class Unrendered(NamedTuple):
    """A guest whose page cannot be made.

    Args:
        number: of the guest in its run.
        guest: its name, as it was given: not to be trusted.
        why: what went wrong, in a line.
        traceback: where it did; empty for errors that are raised on purpose, and for processes that died.
    """

    number: int
    guest: str
    why: str
    traceback: str = ""

    def as_failure(self) -> dict[str, str]:
        """Return the guest and why it has no page, in the form of the guests that failed in run.json."""
        return {"guest": self.guest, "error": f"its tables are complete, but it has no page ({self.why})"}


class Pages:
    """What all pages of a run share; reads tables guest by guest."""

    def __init__(self, folder: Path, assumed: Assumptions) -> None:
        """Open a run.

        Raises:
            UsageError: the folder is not a run.
        """
        run = open_run(folder)
        self.folder = folder
        self.assumed = assumed
        self._run = run
        self._guests = list(run.guests())
        self._templates = environment()
        self._context = {
            "run": run.about,
            "profiles": run.profiles,
            "how": how(run.about),
            "basis": basis(run.profiles),
            "assumed": described(assumed),
            "origins": [
                (profile["name"], exit_origin(profile, each))
                for profile, each in zip(run.profiles, by_profile(run.profiles, assumed), strict=True)
            ],
        }

    @property
    def guests(self) -> int:
        """How many guests the run has."""
        return len(self._guests)

    def write_guest(self, number: int) -> Rendered | Unrendered:
        """Write the page of a guest, by its number in the run; or say why that cannot be done."""
        guest = self._guests[number]
        try:
            return self._write_guest(number)
        except Exception as error:  # noqa: BLE001 - whatever a guest's tables raise costs this page alone
            self.remove_guest(number)
            on_purpose = isinstance(error, EptReplayError)
            why = str(error) if on_purpose else f"{type(error).__name__}: {error}"
            return Unrendered(number, guest.name, why, "" if on_purpose else traceback.format_exc())

    def _write_guest(self, number: int) -> Rendered:
        guest = dataclasses.replace(self._guests[number])  # what it works out ends with its page
        costs = cost_rows(guest.name, estimates(guest, self._run.profiles, self.assumed))
        page = guest_page(guest, self._run.profiles, self.assumed)
        text = self._templates.get_template("guest.html.j2").render(
            self._context, page=page, title=guest.name, root="../", data=island(page["data"])
        )
        (self.folder / GUESTS_FOLDER / f"{guest.slug}.html").write_text(each_once(text), encoding="utf-8")
        return Rendered(number, page["line"], costs)

    def remove_guest(self, number: int) -> None:
        """Remove what was written of a guest."""
        slug = self._guests[number].slug
        (self.folder / GUESTS_FOLDER / f"{slug}.html").unlink(missing_ok=True)

    def lost(self, number: int, why: str) -> Unrendered:
        """Return a guest whose page was in the making when its process ended; what was written of it is removed."""
        self.remove_guest(number)
        return Unrendered(number, self._guests[number].name, why)

    def index(self, content: dict[str, Any], unrendered: Sequence[Mapping[str, str]]) -> str:
        """Return the first page, which names guests without a page beside those that failed."""
        about = self._run.about
        about = {**about, "failed": [*about["failed"], *unrendered]} if unrendered else about
        return self._templates.get_template("index.html.j2").render(
            {**self._context, "run": about}, index=content, title="eptreplay", root="", data=island({})
        )


def basis(profiles: Sequence[Mapping[str, Any]]) -> str:
    """Return what percentages compare with."""
    if any("base" in profile for profile in profiles):
        return "percentages compare a profile with its namesake in the other run."
    return f"percentages compare with {profiles[0]['name']}."


def how(about: Mapping[str, Any]) -> str:
    """Return how the run was made; of a comparison, how both were."""
    if "compared" not in about:
        return _options(about["options"]) + _host(about.get("host"))
    compared = about["compared"]
    runs = " with ".join(f"{run['name']} ({_options(run['options'])})" for run in compared["runs"])
    differ = ", ".join(compared["differ"])
    rest = (
        f"what does not depend on a profile ({differ}) is that of {compared['runs'][0]['name']}"
        if differ
        else "what does not depend on a profile is the same in both"
    )
    return f"comparison of {runs}; {rest}"


def _host(host: Mapping[str, Any] | None) -> str:
    if host is None:
        return ""
    memory = host["memory_bytes"]
    return f", on one host with {'enough' if memory is None else binary_size(memory)} memory"


def _options(options: Mapping[str, Any]) -> str:
    every = f", every {options['every']}" if options["policy"] != "plain" and options["every"] else ""
    return f"policy {options['policy']}{every}"


def environment() -> jinja2.Environment:
    """Return the templates, which escape whatever they are given."""
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("eptreplay.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["line_classes"] = line_classes
    pages.filters["name_in"] = name_in
    pages.globals |= PIECES
    return pages


def island(data: Mapping[str, Any]) -> str:
    """Return data as JSON in which nothing can end the script element that holds it."""
    text = json.dumps(data, separators=(",", ":"), sort_keys=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
