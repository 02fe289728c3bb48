"""The commands `profiles …`: their arguments and help."""

from typing import Annotated

import typer

from eptreplay.cli.command_table import typer_app

app = typer_app(help="List, explain and decode CPU feature profiles.", no_args_is_help=True)


@app.command("list", short_help="List all profiles.")
def profiles_list() -> None:
    """List all profiles: what bhyve would make of each CPU, and how sure the facts are."""
    from eptreplay.cli.profiles import show_all  # noqa: PLC0415 - help must wait for neither numba nor polars

    show_all()


@app.command(
    "show", short_help="Explain one profile.", epilog="Example:  eptreplay profiles show haswell:ad=off"
)
def profiles_show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Profile, with or without overrides.")],
) -> None:
    """Explain one profile: every fact with its source, and what follows for the page tables."""
    from eptreplay.cli.profiles import show  # noqa: PLC0415 - help must wait for neither numba nor polars

    raise typer.Exit(show(name))


@app.command(
    "from-msr",
    short_help="Decode a machine's EPT capabilities.",
    epilog="Example:  eptreplay profiles from-msr 0xf0106334141 --arch-capabilities 0x6b",
    context_settings={"ignore_unknown_options": True},  # -1 is a value, though a wrong one
)
def profiles_from_msr(
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="IA32_VMX_EPT_VPID_CAP (MSR 48CH), hexadecimal.")
    ],
    arch_capabilities: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE",
            help="IA32_ARCH_CAPABILITIES (MSR 10AH), hexadecimal; its bit 6 decides about superpages from 14.0 on.",
        ),
    ] = None,
) -> None:
    """Decode a real machine's IA32_VMX_EPT_VPID_CAP and say what bhyve would make of it."""
    from eptreplay.cli.profiles import from_msr  # noqa: PLC0415 - help must wait for neither numba nor polars

    raise typer.Exit(from_msr(value, arch_capabilities))
