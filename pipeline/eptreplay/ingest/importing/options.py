"""Options of `eptreplay import` that only some formats know: declared once, for the command line and for the formats."""

from __future__ import annotations

from typing import NamedTuple


class ImportOption(NamedTuple):
    """An option of some formats.

    Args:
        name: on the command line after `--`, and in what `Format.open` is given.
        metavar: what its value is called; empty: it takes none, and `Format.open` gets an empty text.
        help: one sentence, with units.
        choices: the values that it may have; empty: the format checks them.
    """

    name: str
    metavar: str
    help: str
    choices: tuple[str, ...] = ()


IMPORT_OPTIONS: tuple[ImportOption, ...] = (
    ImportOption(
        "columns",
        "NAMES",
        "Columns of a text, in order, as in 'time,op,gpa': time, vcpu, op, gpa (guest-physical) or va (virtual), size, count; "
        "- for one that is not read.",
    ),
    ImportOption("hex", "", "Addresses of a text are hexadecimal without 0x, too."),
    ImportOption("time-unit", "UNIT", "Unit of a text's times.", ("ns", "us", "ms", "s", "cycles")),
    ImportOption("event", "NAME", "The event whose records are the accesses, where a log has several."),
    ImportOption(
        "qemu-version",
        "X.Y",
        "Version of the QEMU that wrote the log: before 8.2 addresses are offsets in its RAM.",
    ),
    ImportOption(
        "pci-hole",
        "SIZE",
        "Where memory below 4 GiB ends, bytes or as in 3G: what lies above it in an older QEMU's RAM is moved to 4 GiB.",
    ),
    ImportOption("vcpu-per", "WHAT", "What becomes a vCPU.", ("thread", "core")),
    ImportOption(
        "addresses",
        "KIND",
        "Which addresses of a trace that has both are taken.",
        ("virtual", "physical"),
    ),
    ImportOption(
        "record-bytes", "BYTES", "Length of a record, where the content does not tell it.", ("64", "72", "96")
    ),
    ImportOption(
        "objects",
        "WHAT",
        "What the number of a cache trace's object is: that of a 4 KB page, or a name.",
        ("pages", "names"),
    ),
)
"""Every such option, in the order of the help."""
