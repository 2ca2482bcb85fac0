"""Options that several commands share, and the one way to show the many of a command in groups."""

from typing import Annotated, Any

import typer

RunOption = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="The run folder (default $HPCNAS_RUN, else runs/default).")
]


def grouped(text: str, panel: str, *names: str, metavar: str | None = None) -> Any:
    """An option shown in one panel of the help; `text` says its default itself.

    Args:
        names: as --download; none takes the parameter's.
    """
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar, show_default=False)
