"""The `hpcnas` command: parses, wires, exit codes; nothing else.

Each family of commands is a module of hpcnas/commands. It is imported when one of its commands is used or listed with its
help. Every HpcnasError becomes one sentence on stderr and its exit code.
"""

import importlib
import io
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, cast

import typer

from hpcnas import __version__
from hpcnas.command_help import ShownGroup
from hpcnas.errors import HpcnasError
from hpcnas.system.processes import end_process, is_kept_alive

# module of hpcnas/commands -> what it registers, in the order of the help; tests/test_cli.py compares the two
FAMILIES = {
    "search": ("head", "worker", "stop", "retry"),
    "population": ("status", "population", "failures", "runs"),
    "restore": ("restore",),
    "genotypes": ("show",),
    "final": ("final",),
    "report": ("report", "export"),
    "cluster": ("doctor", "jobs"),
    "train": ("count", "evaluate"),
    "simulate": ("simulate",),
    "bench": ("bench",),
}
WRONG_USAGE = 2
_NUMBERS = {"int": "a whole number", "float": "a number"}
INTERRUPTED = 130


class Commands(Mapping[str, Any]):
    """The commands by their names, in the order of the help; a family is imported with the first look at one of them."""

    def __init__(self) -> None:
        self._families = {name: family for family, names in FAMILIES.items() for name in names}
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded.update(_load(self._families[name]))
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._families

    def __iter__(self) -> Iterator[str]:
        return iter(self._families)

    def __len__(self) -> int:
        return len(self._families)


class Group(ShownGroup):
    """All commands, none of them imported yet."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = cast(MutableMapping[str, Any], Commands())  # nothing is added to it


def _load(family: str) -> Mapping[str, Any]:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    importlib.import_module(f"hpcnas.commands.{family}").register(app)
    return typer.main.get_group(app).commands


def build_app() -> typer.Typer:
    """The command line with all its commands."""
    app = typer.Typer(
        cls=Group,
        name="hpcnas",
        help="Hierarchical neural architecture search on a Slurm cluster, or on this machine.",
        epilog="Every command takes --debug: errors with their traceback. Start with: hpcnas head --preset smoke",
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    app.callback()(_common)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; default those of this process.
    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 3 run held, 4 cluster refused, 5 run damaged, 130 interrupted.
    """
    _accept_any_text()
    code = _run(list(sys.argv[1:] if arguments is None else arguments))
    if arguments is None and is_kept_alive():  # by what a fitness function left
        end_process(code)
    return code


def _run(given: list[str]) -> int:
    is_debugging = "--debug" in given
    try:
        code = typer.main.get_command(build_app()).main(
            args=[argument for argument in given if argument != "--debug"], prog_name="hpcnas", standalone_mode=False
        )
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        return _leave_pipe()
    except SystemExit as left:
        if isinstance(left.__context__, BrokenPipeError):  # while a command prints, typer makes exit code 1 of it
            return _leave_pipe()
        raise
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost frame: nothing is swallowed, all of it is said and counted as a failure
        if is_debugging:
            traceback.print_exc()
        code, sentence = _explain(error)
        print(f"hpcnas: {sentence}", file=sys.stderr)
        return code


def _accept_any_text() -> None:
    """Print "?" for what the terminal's encoding or UTF-8 cannot hold, such as a path of other bytes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _explain(error: Exception) -> tuple[int, str]:
    if isinstance(error, HpcnasError):
        return error.exit_code, str(error)
    if hasattr(error, "format_message"):  # typer's own errors; their module differs between its versions
        return WRONG_USAGE, f"{_why(error, _one_line(error.format_message()))}; see `{_command_path(error)} --help`"
    if isinstance(error, OSError) and error.strerror:
        return 1, f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return 1, f"unexpected {type(error).__name__}: {_one_line(str(error))}; with --debug it comes with its traceback"


def _why(error: Exception, text: str) -> str:
    """The sentence of one of typer's errors; a text that should be a number is named with what is allowed."""
    for wrong in getattr(error.__cause__, "errors", list)():  # pydantic's, of typer 0.29
        kind = _NUMBERS.get(wrong["type"].partition("_parsing")[0])
        if kind:
            text = text.replace(_one_line(wrong["msg"]), f"'{str(wrong['input'])[:80]}' is not {kind}")
    for name, kind in _NUMBERS.items():  # typer 0.28
        text = text.replace(f"is not a valid {name}.", f"is not {kind}")
    return text.replace("Value error, ", "").rstrip(".")


def _command_path(error: Exception) -> str:
    return str(getattr(getattr(error, "ctx", None), "command_path", "hpcnas"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _leave_pipe() -> int:
    """The reader closed the pipe (`hpcnas population | head -1`): no error, and none at interpreter exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"hpcnas {__version__}")
        raise typer.Exit


def _common(
    version: bool = typer.Option(
        False, "--version", help="Print the version and leave.", is_eager=True, callback=_print_version
    ),
) -> None:
    """Options of hpcnas itself."""


if __name__ == "__main__":
    sys.exit(main())
