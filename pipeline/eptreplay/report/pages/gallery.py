"""The committed sample report: the sample traces replayed, rendered, and made small (`make gallery`).

Tables are left out but for the ones the pages link to, so that the gallery stays small; a run of one's own has
all of them. Rendered again it has the same bytes; pictures of it are made by a browser and are not compared.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from eptreplay.report.pages.screenshots import Shot, take

TRACES = ("full-2vcpu", "web-1vcpu", "boot-2vcpu")
OPTIONS = ("-p", "haswell", "-p", "nehalem", "-p", "zen2", "--policy", "harvest", "--every", "50ms")
GALLERY = Path("reports/gallery")
KEPT = ("index.html", "run.json", "guests", "assets", "tables/summary.csv")
MOST_BYTES = 3_000_000

SHOTS = (
    Shot("guests/full-2vcpu-11e0c2cf.html", "guest.png", 1440, 1500, "light"),
    Shot("guests/full-2vcpu-11e0c2cf.html", "guest-dark.png", 1440, 1500, "dark"),
    Shot("index.html", "index.png", 1440, 1000, "light"),
)


def main() -> int:
    """Write the gallery into the repository that is the current folder; return the exit code."""
    size = make(Path("traces"), GALLERY)
    sys.stdout.write(f"{GALLERY}: {size:,} bytes\n")
    if size > MOST_BYTES:
        sys.stderr.write(f"eptreplay: more than the {MOST_BYTES:,} bytes that the gallery may have\n")
        return 1
    return take(GALLERY, Path("docs/images"), SHOTS)


def make(samples: Path, gallery: Path) -> int:
    """Replay the sample traces, write the gallery in the place of an older one, and return its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "gallery"
        traces = [str(samples / f"{name}.parquet") for name in TRACES]
        command = [sys.executable, "-m", "eptreplay", "replay", *traces, *OPTIONS, "--out", str(run)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - the command is our own
        keep(run, gallery)
    return sum(path.stat().st_size for path in gallery.rglob("*") if path.is_file())


def keep(run: Path, gallery: Path) -> None:
    """Copy what pages need from a run's folder, in the place of an older gallery."""
    shutil.rmtree(gallery, ignore_errors=True)
    for name in KEPT:
        source, target = run / name, gallery / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)


if __name__ == "__main__":
    sys.exit(main())
