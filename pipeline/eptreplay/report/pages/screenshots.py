"""Pictures of pages, by a real browser without a window: needs Chromium, and playwright from the extra `dev`."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")


class Shot(NamedTuple):
    """A picture: the page, the file, the size of the window in CSS pixels, and the colour scheme."""

    page: str
    file: str
    width: int
    height: int
    scheme: Literal["light", "dark"]


def find_browser() -> str | None:
    """Return the path of a Chromium, if the machine has one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def take(folder: Path, out: Path, shots: Sequence[Shot]) -> int:
    """Take pictures of pages in a folder and return the exit code: 0, also where no browser is."""
    browser = find_browser()
    if browser is None:
        sys.stderr.write(f"eptreplay: no browser among {', '.join(BROWSERS)}: {out} is left as it was\n")
        return 0
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of the extra `dev`

    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=list(FLAGS))
        for shot in shots:
            page = chromium.new_page(
                viewport={"width": shot.width, "height": shot.height}, color_scheme=shot.scheme
            )
            page.goto((folder / shot.page).absolute().as_uri())
            page.screenshot(path=out / shot.file)
            page.close()
        chromium.close()
    return 0
