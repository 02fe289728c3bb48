"""The page of the documentation that lists every option of a replay, made from their declarations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.request.replay import REPLAY

if TYPE_CHECKING:
    from eptreplay.request.option import Option

_HEAD = """# Options of a replay

This page is made from `pipeline/eptreplay/request/replay.py`, where every option is declared once; a test compares them.
An option that needs another is refused without it: it would change nothing.

| Option | Values | Default | Meaning | Needs |
|---|---|---|---|---|
"""


def documentation() -> str:
    """Return the page."""
    return _HEAD + "".join(map(_row, REPLAY.values()))


def _row(option: Option) -> str:
    needs = option.declared.needs
    cells = (
        _names(option),
        _values(option),
        _default(option),
        option.declared.help,
        needs.what if needs else "",
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _names(option: Option) -> str:
    declared = option.declared
    if declared.positional:
        return f"`{declared.metavar}`"
    return ", ".join(f"`{flag}`" for flag in (declared.short, option.flag) if flag)


def _values(option: Option) -> str:
    """Return which values an option may have."""
    declared = option.declared
    if option.type is bool:
        return "given or not"
    several = ", several" if option.several else ""
    if option.choices:
        return " or ".join(f"`{choice}`" for choice in option.choices)
    if declared.unit:
        bounds = (
            f"{declared.minimum:,} to {declared.maximum:,}"
            if declared.maximum
            else f"from {declared.minimum:,}"
        )
        return f"{bounds} {declared.unit}{several}"
    return f"`{declared.metavar}`{several}"


def _default(option: Option) -> str:
    if option.required:
        return "required"
    if option.declared.unset:
        return option.declared.unset
    if isinstance(option.default, tuple):
        return ", ".join(map(str, option.default))
    return "not given" if option.default is False else str(option.default)
