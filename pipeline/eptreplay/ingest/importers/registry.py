"""Every format that can be imported: a format is a file beside this one and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.errors import UsageError
from eptreplay.ingest.importers import (
    bhyve,
    champsim,
    damon,
    drmemtrace,
    drmemtrace_view,
    gem5,
    kvm,
    lackey,
    lcs,
    oracle_general,
    page_faults,
    perf_mem,
    pinatrace,
    qemu_execlog,
    qemu_hotpages,
    qemu_mem,
    qemu_memory_region_ops,
    qemu_plugin,
    text,
)

if TYPE_CHECKING:
    from eptreplay.ingest.importing.format import Format

AUTO = "auto"
"""What stands for a format that is to be guessed."""

FORMATS: tuple[Format, ...] = (
    text.FORMAT,
    pinatrace.FORMAT,
    perf_mem.FORMAT,
    drmemtrace.FORMAT,
    drmemtrace_view.FORMAT,
    champsim.FORMAT,
    gem5.FORMAT,
    lackey.FORMAT,
    qemu_plugin.FORMAT,
    qemu_mem.FORMAT,
    qemu_execlog.FORMAT,
    qemu_memory_region_ops.FORMAT,
    qemu_hotpages.FORMAT,
    kvm.FORMAT,
    page_faults.FORMAT,
    bhyve.FORMAT,
    damon.FORMAT,
    oracle_general.FORMAT,
    lcs.FORMAT,
)
"""In the order of the help."""


def format_named(name: str) -> Format:
    """Return a format.

    Raises:
        UsageError: there is none of this name, or it can be no trace.
    """
    for each in FORMATS:
        if each.name == name:
            return _usable(each)
    raise UsageError(
        f"there is no format '{name}'; 'eptreplay import --list' shows them: {AUTO}, {', '.join(each.name for each in FORMATS)}"
    )


def format_of(head: bytes, name: str) -> Format:
    """Return the format that an input can only have.

    Args:
        head: its first bytes, unpacked.
        name: of the input, for messages.

    Raises:
        UsageError: it has none, or may have several.
    """
    found = [each for each in FORMATS if each.guess is not None and each.guess(head)]
    if len(found) == 1:
        return _usable(found[0])
    may = (
        f"it may be {' or '.join(each.name for each in found)}" if found else "nothing in its content says so"
    )
    raise UsageError(
        f"{name}: the format cannot be told from its content ({may}); name it, as in 'eptreplay import text {name} -o OUT'; "
        "'eptreplay import --list' shows the formats"
    )


def _usable(found: Format) -> Format:
    if found.refused:
        raise UsageError(f"{found.title}: {found.refused}")
    return found
