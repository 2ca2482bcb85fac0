"""Options that several commands share, and the one way to show the many of a command in groups."""

from typing import Annotated, Any

import typer

RunOption = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="The run folder (default $HPCNAS_RUN, else runs/default).")
]

AddressOption = Annotated[
    str,
    typer.Option(
        "--address",
        envvar="HPCNAS_ADDRESS",
        metavar="ADDR",
        help="Address or name of this machine that workers try first; else its name, then those of all interfaces.",
        rich_help_panel="Run",
        show_default=False,
    ),
]


def grouped(text: str, panel: str, *names: str, metavar: str | None = None) -> Any:
    """An option shown in one panel of the help; `text` says its default itself.

    Args:
        names: as --download; none takes the parameter's.
    """
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar, show_default=False)
