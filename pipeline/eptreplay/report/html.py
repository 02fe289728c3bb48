"""Pages: an index that compares guests and profiles, and a page a guest, from the tables of a run alone."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files as resources
from typing import TYPE_CHECKING, Any

import jinja2

from eptreplay.report.charts import look
from eptreplay.report.cost_tables import COSTS
from eptreplay.report.cost_terms import cost_rows, estimates
from eptreplay.report.costs import Assumptions, by_profile, described, exit_origin
from eptreplay.report.files import TABLES_FOLDER, TableWriter
from eptreplay.report.guestpage import guest_page
from eptreplay.report.indexpage import index_page
from eptreplay.report.run import open_run
from eptreplay.units import binary_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from eptreplay.report.run import Run

GUESTS_FOLDER = "guests"
CSV_FOLDER = "csv"
ASSETS_FOLDER = "assets"
ASSETS = ("report.css", "report.js")


def render(folder: Path, assumed: Assumptions | None = None) -> None:
    """Write `index.html`, a page a guest and the table of costs into the folder of a run.

    Args:
        folder: of the run.
        assumed: parameters of the estimates; None: the defaults.

    Raises:
        UsageError: the folder is not a run.
        OutputError: a table is missing or damaged.
    """
    assumed = assumed or Assumptions()
    run = open_run(folder)
    remove_pages(folder)
    for name in (GUESTS_FOLDER, CSV_FOLDER, ASSETS_FOLDER):
        (folder / name).mkdir()
    for name in ASSETS:
        asset = resources("eptreplay.report").joinpath("static", name).read_bytes()
        (folder / ASSETS_FOLDER / name).write_bytes(asset)
    pages = environment()
    context = {
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
    _write_costs(run, assumed)
    lines = []
    for guest in run.guests():
        page = guest_page(folder, guest, run.profiles, assumed)
        text = pages.get_template("guest.html.j2").render(
            context, page=page, title=guest.name, root="../", data=island(page["data"])
        )
        (folder / GUESTS_FOLDER / f"{guest.slug}.html").write_text(text, encoding="utf-8")
        lines.append(page["line"])
    text = pages.get_template("index.html.j2").render(
        context, index=index_page(run, lines), title="eptreplay", root="", data=island({})
    )
    (folder / "index.html").write_text(text, encoding="utf-8")


def _write_costs(run: Run, assumed: Assumptions) -> None:
    """Write the table of costs, as they are by these assumptions."""
    writer = TableWriter(run.folder / TABLES_FOLDER, COSTS)
    for guest in run.guests():
        rows = cost_rows(guest.name, estimates(guest, run.profiles, assumed))
        writer.write({name: [row[name] for row in rows] for name in COSTS.names()})
    writer.close()


def remove_pages(folder: Path) -> None:
    """Remove all that `render` writes from the folder of a run."""
    for name in (GUESTS_FOLDER, CSV_FOLDER, ASSETS_FOLDER):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "index.html").unlink(missing_ok=True)


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
    pages.filters["look"] = look
    return pages


def island(data: Mapping[str, Any]) -> str:
    """Return data as JSON in which nothing can end the script element that holds it."""
    text = json.dumps(data, separators=(",", ":"), sort_keys=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
