"""How every command is shown: its group in `hpcnas --help`, two examples below its own help, texts in brackets as they are."""

import re
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

RUN, LOOK, TAKE_AWAY, MEASURE = "Run", "Look", "Take away", "Measure"
_TAG = re.compile(r"(?<!\\)\[(?=[a-z#/@])")  # what rich takes for a style: [auto] would not be shown


class ShownCommand(TyperCommand):
    """A command whose help names no type for switches and shows [...] as it is."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options and arguments, --help among them."""
        return list(map(_shown, super().get_params(ctx)))


class ShownGroup(TyperGroup):
    """A group of commands that is shown like them; without a command it shows its help."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options, --help among them."""
        return list(map(_shown, super().get_params(ctx)))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As of any group; nothing given asks for help, which is no error."""
        return super().parse_args(ctx, args or ["--help"])


def add(app: typer.Typer, group: str | None, command: Callable[..., Any], *examples: str) -> None:
    """Add a command to `app`.

    Args:
        group: its heading in the help of `app`.
        examples: command lines, shown below its help.
    """
    told = "\n\n".join(["Examples:", *(f"  {example}" for example in examples)])
    app.command(cls=ShownCommand, rich_help_panel=group, epilog=told)(command)


def _shown(param: Any) -> Any:
    """The parameter, made ready for the help; it may be asked for many times."""
    if getattr(param, "is_flag", False) and param.metavar is None:
        param.metavar = ""
    if getattr(param, "help", None):
        param.help = _TAG.sub(r"\\[", param.help)
    return param
