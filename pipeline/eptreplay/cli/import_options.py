"""The options of `import` as typer takes them: those of all formats, and those that only some know."""

from __future__ import annotations

from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from eptreplay.cli.options import ON_BAD_ROWS, given_names
from eptreplay.errors import UsageError
from eptreplay.ingest.importing.options import IMPORT_OPTIONS
from eptreplay.request.choices import OnBadRows
from eptreplay.request.values import path
from eptreplay.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PAGE_SIZES = {"4K": 4 << 10, "2M": 2 << 20}


class ImportRequest(NamedTuple):
    """What an import was asked for.

    Args:
        format: its name, or `auto`.
        inputs: files, or `-`.
        out: the trace to write.
        overwrite: whether one that is there is replaced.
        on_bad_rows: what becomes of bad records.
        page_bytes: bytes of the pages that are numbered, or of those of the page map; None: it is not given.
        dense: whether physical pages are numbered, too.
        page_map: file with the physical pages of virtual ones.
        options: by name, those that only some formats know, as far as they are given.
        list_formats: whether only the formats are to be printed.
    """

    format: str | None
    inputs: tuple[str, ...]
    out: Path | None
    overwrite: bool
    on_bad_rows: OnBadRows
    page_bytes: int | None
    dense: bool
    page_map: Path | None
    options: Mapping[str, str]
    list_formats: bool


def page_bytes(text: str | int) -> int:
    """Read the bytes of a page.

    Raises:
        UsageError: there are no such pages.
    """
    found = text if isinstance(text, int) else PAGE_SIZES.get(text.upper()) or parse_size(text)
    if found not in PAGE_SIZES.values():
        raise UsageError(f"'{text}' is no size of a page; give {' or '.join(PAGE_SIZES)}")
    return found


_COMMON: dict[str, tuple[Any, Any, Any]] = {
    "format": (
        str | None,
        typer.Argument(
            metavar="FORMAT", help="Format of the inputs (--list), or auto to tell it from their content."
        ),
        None,
    ),
    "inputs": (
        list[str] | None,
        typer.Argument(
            metavar="IN...",
            help="Files in the order of the accesses, or - for standard input; .gz, .zst, .xz, .lz4, .bz2 and .zip are unpacked.",
        ),
        None,
    ),
    "out": (
        Path | None,
        typer.Option("--out", "-o", parser=path, metavar="OUT", help="The trace to write, a Parquet file."),
        None,
    ),
    "overwrite": (bool, typer.Option("--overwrite", help="Replace OUT if it exists."), False),
    "on_bad_rows": (
        OnBadRows,
        typer.Option(help="At a damaged or impossible record: fail, or skip it and count it by reason."),
        ON_BAD_ROWS,
    ),
    "page_bytes": (
        int | None,
        typer.Option(
            parser=page_bytes,
            metavar="SIZE",
            help="Bytes of the pages that become guest-physical pages as they are first touched, 4K or 2M; or of a page map's.",
        ),
        None,
    ),
    "dense": (
        bool,
        typer.Option(
            "--dense", help="Number physical pages by first touch, too, so that memory has no gaps."
        ),
        False,
    ),
    "page_map": (
        Path | None,
        typer.Option(
            parser=path,
            metavar="FILE",
            help="Physical pages of virtual ones: lines of two addresses, or DynamoRIO's v2p.textproto.",
        ),
        None,
    ),
    "list_formats": (
        bool,
        typer.Option("--list", help="List the formats and their options, and exit."),
        False,
    ),
}
"""Type, description and default of the options of every format."""


def takes_import_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes `context` and any keywords the signature from which typer makes the options of `import`."""
    parameters = [Parameter("context", Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)]
    for name, (kind, description, default) in _COMMON.items():
        parameters.append(_parameter(name, kind, description, default))
    for option in IMPORT_OPTIONS:
        flag = f"--{option.name}"
        if option.metavar:
            choices = f"{option.metavar}" if not option.choices else "|".join(option.choices)
            described = typer.Option(flag, metavar=choices, help=option.help)
            parameters.append(_parameter(option.name.replace("-", "_"), str | None, described, None))
        else:
            described = typer.Option(flag, help=option.help)
            parameters.append(_parameter(option.name.replace("-", "_"), bool, described, False))
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined] # what inspect.signature looks for first
    return command


def import_request(context: typer.Context, values: Mapping[str, Any]) -> ImportRequest:
    """Return what the command line asks for."""
    given = given_names(context)
    named = {option.name: option.name.replace("-", "_") for option in IMPORT_OPTIONS}
    own = {
        name: "" if values[parameter] is True else str(values[parameter])
        for name, parameter in named.items()
        if parameter in given and values[parameter] is not False
    }
    common = {name: values[name] for name in _COMMON}
    return ImportRequest(**{**common, "inputs": tuple(values["inputs"] or ())}, options=own)


def _parameter(name: str, kind: Any, described: Any, default: Any) -> Parameter:  # noqa: ANN401 - as typer has it
    return Parameter(
        name, Parameter.POSITIONAL_OR_KEYWORD, annotation=Annotated[kind, described], default=default
    )
