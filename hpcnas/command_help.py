"""Shows every command: its group in `hpcnas --help`, two examples below its own help, texts in brackets as they are."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

Command = TypeVar("Command", bound=Callable[..., Any])

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


@dataclass(frozen=True, slots=True)
class _Place:
    """The group in which a command is listed, and the examples below its help."""

    group: str | None
    epilog: str


_PLACES: dict[Callable[..., Any], _Place] = {}


def shown(group: str | None, *examples: str) -> Callable[[Command], Command]:
    """Say of a command in which group it is listed, and give examples of its use."""

    def note(command: Command) -> Command:
        _PLACES[command] = _Place(group, "\n\n".join(["Examples:", *examples]))
        return command

    return note


def add(app: typer.Typer, command: Callable[..., Any]) -> None:
    """Add a command of this process to `app`, as it is to be shown."""
    place = _PLACES[command]
    app.command(cls=ShownCommand, rich_help_panel=place.group, epilog=place.epilog)(command)


def _shown(param: Any) -> Any:
    """The parameter, made ready for the help; it may be asked for many times."""
    if getattr(param, "is_flag", False) and param.metavar is None:
        param.metavar = ""
    if getattr(param, "help", None):
        param.help = _TAG.sub(r"\\[", param.help)
    return param
