"""Columns of a text: what their names mean, what stands between them, and the pattern of a line that comes of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import UsageError
from eptreplay.ingest.logs.patterns import Line, grammar
from eptreplay.ingest.logs.trace_events import NO_ACCESS
from eptreplay.ingest.trace.schema import Op

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eptreplay.ingest.logs.patterns import Grammar

MODIFY = 254
"""Code of an access that reads and then writes."""

ACCESS = {
    **dict.fromkeys(("r", "read", "ld", "load", "l", "rd", "p_mem_rd", "false"), int(Op.READ)),
    **dict.fromkeys(("w", "write", "st", "store", "s", "wr", "p_mem_wr", "true"), int(Op.WRITE)),
    **dict.fromkeys(
        ("x", "fetch", "ifetch", "i", "exec", "e", "p_fetch", "instr", "instruction"), int(Op.FETCH)
    ),
    **dict.fromkeys(("m", "modify", "rw", "rmw"), MODIFY),
    **dict.fromkeys(("prefetch", "pf", "pfetch", "n/a"), NO_ACCESS),
    **{str(code): code for code in (*range(3), *range(16, 42))},
}
"""What an access is called, in small letters."""

NAMES: dict[str, str] = {
    **dict.fromkeys(("gpa", "phys", "paddr", "physical", "pa", "phys_addr", "physical_address"), "gpa"),
    **dict.fromkeys(("va", "virtual", "vaddr", "addr", "address", "virtual_address"), "va"),
    **dict.fromkeys(
        ("op", "type", "rw", "access", "kind", "is_write", "iswrite", "cmd", "operation", "access_type"), "op"
    ),
    **dict.fromkeys(("time", "timestamp", "cycle", "tick", "ts", "t"), "time"),
    **dict.fromkeys(("vcpu", "cpu", "core", "cpu_id"), "vcpu"),
    **dict.fromkeys(("size", "bytes", "length", "len"), "size"),
    **dict.fromkeys(("count", "accesses"), "count"),
    "arg": "arg",
    **dict.fromkeys(("pid", "process", "space"), "space"),
    **dict.fromkeys(("dsrc", "data_src"), "dsrc"),
}
"""Columns that mean something, by the names that they have, in small letters."""

UNREAD = "-"
SEPARATORS = ",\t;|"
_ADDRESSES = ("gpa", "va")
_NUMBER = re.compile(r"(0[xX])?[0-9a-fA-F.]+")


class Layout(NamedTuple):
    """How the lines of a text are made up.

    Args:
        columns: meaning of each column, a value of `NAMES`, or UNREAD.
        separator: what stands between them; a blank: any number of blanks.
        header: the line that names them; empty: there is none.
    """

    columns: tuple[str, ...]
    separator: str
    header: str = ""

    @property
    def virtual(self) -> bool:
        """Whether addresses are virtual."""
        return "va" in self.columns


def layout_of_names(names: str, first_line: str) -> Layout:
    """Return the layout that `--columns` gives.

    Args:
        names: of the columns, with commas between.
        first_line: of the text that holds data, to see what stands between columns.

    Raises:
        UsageError: a name means nothing, one stands twice, or there is no address.
    """
    columns = tuple(_meaning(name.strip()) for name in names.split(","))
    return Layout(_checked(columns, names), separator_of(first_line, len(columns)))


def layout_of_header(line: str) -> Layout | None:
    """Return the layout that the first line of a text gives; None where it names no columns.

    Raises:
        UsageError: it names columns, but not those of a trace.
    """
    bare = line.lstrip("#").strip()
    separator = next((each for each in SEPARATORS if each in bare), " ")
    names = [
        name.strip().strip('"') for name in (bare.split() if separator == " " else bare.split(separator))
    ]
    if len(names) < 2 or any(
        _NUMBER.fullmatch(name) and any(letter.isdigit() for letter in name) for name in names
    ):
        return None
    columns = tuple(NAMES.get(_plain(name), UNREAD) for name in names)
    if not any(column in _ADDRESSES for column in columns):
        return None
    if "gpa" in columns and "va" in columns:  # the physical one is nearer to what a trace needs
        columns = tuple(UNREAD if column == "va" else column for column in columns)
    return Layout(_checked(columns, bare), separator, line.strip())


def separator_of(line: str, columns: int) -> str:
    """Return what stands between so many columns of a line; a blank where nothing else does."""
    return next((each for each in SEPARATORS if line.count(each) >= columns - 1 > 0), " ")


def line_grammar(layout: Layout, *, scale: int, hexadecimal: bool) -> Grammar:
    """Return the pattern of the lines of a layout.

    Args:
        layout: columns, and what stands between them.
        scale: digits that are taken of a time's fraction.
        hexadecimal: whether addresses are hexadecimal without 0x, too.
    """
    kinds: Mapping[str, str] = {
        **dict.fromkeys(_ADDRESSES, "hex" if hexadecimal else "number"),
        "op": "word access",
        "time": f"fraction {scale}",
        "dsrc": "number",
        "arg": "number",
    }
    blank = layout.separator == " "
    plain, quoted = [], []
    for column in layout.columns:
        if column == UNREAD:
            plain.append(f"{{skip {'blank' if blank else layout.separator}}}")
            quoted.append(plain[-1])
        else:
            name = "address" if column in _ADDRESSES else column
            plain.append(f"{{{name}:{kinds.get(column, 'dec')}}}")
            quoted.append(f'{{maybe "}}{plain[-1]}{{maybe "}}')
    tab = layout.separator == "\t"  # which would count as a blank beside itself
    loose = " " if blank else layout.separator if tab else f"{{_}}{layout.separator}{{_}}"
    rest = "{rest}" if layout.columns[-1] == UNREAD else ""
    strict = ("{_}" if blank else "") + layout.separator.join(plain) + rest
    lines = [
        Line(strict),
        Line(("" if tab else "{_}") + loose.join(quoted) + rest),
        Line("{_}#{rest}", "comments"),
        Line("{_}", "empty lines"),
    ]
    if blank and "dsrc" in layout.columns:  # perf prints 0x016 before the 16 digits that it means
        lines.insert(0, Line(strict.replace("{address:", "0x016{address:")))
    if layout.header:
        lines.insert(0, Line(f"{_literal(layout.header)}", "the line that names the columns"))
    return grammar(lines, {"access": ACCESS})


def _literal(text: str) -> str:
    """Return a template for a line; what would mean something in one is left open."""
    head = re.split(r"[{}]", text)[0]
    return f"{head.strip()}{{rest}}"


def _meaning(name: str) -> str:
    if name == UNREAD:
        return UNREAD
    found = NAMES.get(_plain(name))
    if found is None:
        raise UsageError(
            f"--columns: '{name}' means nothing; there are {', '.join(dict.fromkeys(NAMES.values()))}, and - for one that is not read"
        )
    return found


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def _checked(columns: Sequence[str], given: str) -> tuple[str, ...]:
    """Return columns that make a trace."""
    known = [column for column in columns if column != UNREAD]
    twice = next((column for column in known if known.count(column) > 1), None)
    if twice:
        raise UsageError(
            f"columns '{given:.80}': '{twice}' stands twice; - stands for a column that is not read"
        )
    if sum(column in _ADDRESSES for column in known) != 1:
        raise UsageError(
            f"columns '{given:.80}': one has to be an address, gpa (guest-physical) or va (virtual)"
        )
    if "op" in known and "dsrc" in known:
        raise UsageError(f"columns '{given:.80}': op and dsrc say the same")
    return tuple(columns)
