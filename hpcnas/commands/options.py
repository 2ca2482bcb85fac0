"""Adds options to a command: those of dataclasses, and those that several commands share; sets how they are shown."""

import inspect
import shutil
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import typer

from hpcnas.option import Option

Command = TypeVar("Command", bound=Callable[..., Any])

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


def grouped(text: str, panel: str | None, *names: str, metavar: str | None = None) -> Any:
    """An option shown in one panel of the help; `text` says its default itself.

    Args:
        names: as --download; none takes the parameter's.
    """
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar, show_default=False)


def offering(options: Iterable[tuple[Option, str | None]]) -> Callable[[Command], Command]:
    """Give a command these options, each in its panel, in place of its `**given`; what was not given is None.

    They come before the command's own keyword-only options.
    """

    def offer(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = list(signature.parameters.values())
        first = [one for one in own if one.kind is one.POSITIONAL_OR_KEYWORD]
        last = [one for one in own if one.kind is one.KEYWORD_ONLY]
        made = [_parameter(option, panel) for option, panel in options]
        command.__signature__ = signature.replace(parameters=[*first, *made, *last])  # type: ignore[attr-defined]
        return command

    return offer


def _parameter(option: Option, panel: str | None) -> inspect.Parameter:
    """The parameter from which typer makes the option; lists of numbers are one text."""
    kind: Any = option.kind if option.item is None else list[str] if option.item is str else str
    shown = grouped(option.text, panel, option.flag, metavar=option.metavar)
    default = False if kind is bool else None
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind | None, shown]
    )


def terminal_width() -> int:
    """The terminal's width; 0 for a file or pipe, in which lines may have any length.

    $COLUMNS counts for a terminal alone: where a shell exports it, what is piped into `grep` would have broken cells.
    """
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
