"""Patterns of lines, from templates that look like the lines they match."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.ingest.logs.text_numbers import NO_TABLE, slot_of_word
from eptreplay.ingest.logs.text_scan import Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_PART = re.compile(r"\{([^{}]+)\}|( +)|([^{} ]+)")
_NUMBERS = {
    "hex": Step.HEX,
    "dec": Step.DECIMAL,
    "number": Step.NUMBER,
    "last": Step.LAST_HEX,
    "before": Step.HEX_BEFORE,
}
_WITH_TEXT = {"find": Step.FIND, "stand": Step.STAND, "maybe": Step.MAYBE}
HEAD = ("time", "cpu", "thread")
"""What `{head}` takes."""


class Line(NamedTuple):
    """A pattern of lines.

    Args:
        template: what a line looks like. A blank stands for one or more blanks; in braces:
            `address:hex`, `size:dec`, `x:number` (hexadecimal after 0x), `time:fraction 9` (times 10^9): a number and its name;
            `op:word TABLE` a word of a table, `op:maybeword TABLE` one or nothing; `op=3` a value; `_` blanks or none; `find TEXT`, `stand TEXT` go behind, or to, the
            next TEXT; `maybe TEXT` TEXT or nothing; `quoted`; `skip C` up to the next character C (`blank`: a blank); `head` what
            perf and ftrace print before an event; `address:last` the last word, `address:before` the word before;
            `record` here is a record; `repeat`, `again` what is between repeats until the line ends; `rest` whatever follows.
        reason: why a line is no record; empty: a line without `record` is one.
    """

    template: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Grammar:
    """Patterns as the scan takes them; see `text_scan.scan_lines`.

    Args:
        lines: the patterns, in the order in which they are tried.
        names: of the numbers that they take; a number's place is its register.
        program: steps of all patterns.
        starts: first step of each.
        literals: bytes of all literals and words.
        places: of each literal in these.
        words: of all tables.
    """

    lines: tuple[Line, ...]
    names: tuple[str, ...]
    program: NDArray[np.int64]
    starts: NDArray[np.int64]
    literals: NDArray[np.uint8]
    places: NDArray[np.int64]
    words: NDArray[np.int64]


def grammar(lines: Sequence[Line], tables: Mapping[str, Mapping[str, int]] | None = None) -> Grammar:
    """Make patterns of templates.

    Args:
        lines: in the order in which they are tried.
        tables: by name, words in small letters and their codes.

    Raises:
        ValueError: a template means nothing: a fault of a format's file, or of what it put into a template.
    """
    maker = _Maker(tables or {})
    starts = []
    for line in lines:
        starts.append(len(maker.program))
        maker.add(line)
    return Grammar(
        tuple(lines),
        tuple(maker.names),
        np.array(maker.program, np.int64),
        np.array(starts, np.int64),
        np.frombuffer(bytes(maker.literals) or b" ", np.uint8),
        np.array(maker.places or [(0, 0)], np.int64),
        maker.slots(),
    )


class _Maker:
    """Steps as they come."""

    def __init__(self, tables: Mapping[str, Mapping[str, int]]) -> None:
        self.program: list[tuple[int, int, int]] = []
        self.names: list[str] = []
        self.literals = bytearray()
        self.places: list[tuple[int, int]] = []
        self.words: list[tuple[int, int, int, int]] = []
        self._tables = {name: number for number, name in enumerate(tables)}
        for name, number in self._tables.items():
            for word, code in tables[name].items():
                self.words.append((number, *self._keep(word), code))

    def slots(self) -> NDArray[np.int64]:
        """Return all words, each in the first free slot from where the scan looks for it."""
        size = 1 << (4 * len(self.words)).bit_length()
        slots = np.full((size, 4), (NO_TABLE, 0, 0, 0), np.int64)
        for table, low, high, code in self.words:
            at = slot_of_word(bytes(self.literals[low:high]), table, size)
            while slots[at, 0] != NO_TABLE:
                at = (at + 1) % size
            slots[at] = (table, low, high, code)
        return slots

    def add(self, line: Line) -> None:
        """Add the steps of a pattern."""
        start = repeat = len(self.program)
        records = bool(line.reason) or "{record}" in line.template
        for braced, blanks, literal in _PART.findall(line.template):
            if literal:
                self._step(Step.LITERAL, self._literal(literal))
            elif blanks:
                self._step(Step.BLANKS, 1)
            elif braced == "repeat":
                repeat = len(self.program)
            elif braced == "again":
                self._step(Step.AGAIN, repeat - start)
            else:
                self._braced(braced)
        if not records:
            self._step(Step.RECORD)
        self._step(Step.ACCEPT if line.template.endswith(("{rest}", "{again}")) else Step.END)

    def _braced(self, part: str) -> None:
        """Add the step that stands in braces."""
        word, _, rest = part.partition(" ")
        simple = {"_": (Step.BLANKS, 0), "quoted": (Step.QUOTED, 0), "record": (Step.RECORD, 0)}
        if part == "rest":
            return
        if part in simple:
            self._step(*simple[part])
        elif part == "head":
            registers = [self._register(name) for name in HEAD]
            assert registers == list(range(registers[0], registers[0] + len(HEAD)))  # noqa: S101 - the scan counts on it
            self._step(Step.HEAD, registers[0])
        elif word in _WITH_TEXT:
            self._step(_WITH_TEXT[word], self._literal(rest))
        elif word == "skip":
            self._step(Step.SKIP, ord(" " if rest == "blank" else rest))
        elif "=" in part:
            name, _, value = part.partition("=")
            self._step(Step.SET, self._register(name), int(value))
        else:
            self._number(part)

    def _number(self, part: str) -> None:
        """Add the step that takes a number or a word: `name:kind argument`."""
        name, _, kind = part.partition(":")
        kind, _, argument = kind.partition(" ")
        if kind == "word":
            self._step(Step.WORD, self._register(name), self._tables[argument])
        elif kind == "maybeword":
            self._step(Step.MAYBE_WORD, self._register(name), self._tables[argument])
        elif kind == "fraction":
            self._step(Step.FRACTION, self._register(name), int(argument))
        elif kind in _NUMBERS:
            self._step(_NUMBERS[kind], self._register(name))
        else:
            raise ValueError(f"'{part}' means nothing in a template")

    def _step(self, step: Step, a: int = 0, b: int = 0) -> None:
        self.program.append((int(step), a, b))

    def _register(self, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)

    def _literal(self, text: str) -> int:
        self.places.append(self._keep(text))
        return len(self.places) - 1

    def _keep(self, text: str) -> tuple[int, int]:
        begin = len(self.literals)
        self.literals += text.encode()
        return begin, len(self.literals)
