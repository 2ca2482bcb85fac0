"""The reference pages that are made from the program while the site is built: commands, configuration, Python API."""

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args

import tomli_w
import typer

import hpcnas
from hpcnas.cli import build_app
from hpcnas.config import RunConfig

# Keys of the configuration whose option has another name.
OPTIONS = {"algorithm": "search", "kind": "space", "page_every_s": "page_every"}
GENERATED = "This page is made from the program.\n"


def commands_page() -> str:
    """Every command with its arguments and options, as Markdown."""
    parts = ["# Commands\n", GENERATED, "Every command takes `--debug`, which shows errors with their traceback.\n"]
    for name, command in _leaves(typer.main.get_command(build_app()), "hpcnas"):
        parts += [
            f"## {name}\n",
            f"```text\n{_usage(name, command)}\n```\n",
            f"{_escaped(inspect.cleandoc(command.help or ''))}\n",
        ]
        for panel, params in _panels(command).items():
            parts.append(
                f"**{panel}**\n\n| {'argument' if panel == 'Arguments' else 'option'} | meaning |\n|---|---|\n"
                + "\n".join(map(_option_row, params))
                + "\n"
            )
    return "\n".join(parts)


def configuration_page() -> str:
    """Every key of run.toml with its default in the paper's search, as Markdown."""
    parts = [
        "# Configuration file\n",
        GENERATED,
        "`run.toml` in the run folder holds these keys. A file of the same form can be given to `hpcnas head --config`;",
        "it needs only the keys that differ. The defaults are the paper's.\n",
        f"`store` stands before all sections; its default is `{_toml(RunConfig().store)}`.\n",
    ]
    helps = {param.name: param.help for param in typer.main.get_command(build_app()).commands["head"].params}
    for section in dataclasses.fields(RunConfig):
        defaults = getattr(RunConfig(), section.name)
        if dataclasses.is_dataclass(defaults):
            parts += [f"## [{section.name}]\n", f"{_escaped(inspect.getdoc(type(defaults)) or '').splitlines()[0]}\n"]
            parts += ["| key | default | meaning |", "|---|---|---|", *_key_rows(defaults, helps), ""]
    return "\n".join(parts)


def api_page() -> str:
    """The public names of the package, for mkdocstrings to fill in."""
    names = sorted(name for name in hpcnas.__all__ if not name.startswith("__"))
    objects = [f"{hpcnas._HOMES[name]}.{name}" for name in names]
    parts = ["# Python API\n", GENERATED, f"```python\nfrom hpcnas import {', '.join(names)}\n```\n"]
    return "\n".join([*parts, *(f"::: {path}\n" for path in objects)])


def _leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The commands under a group that do something, with their full names."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for child, inner in command.commands.items():
        yield from _leaves(inner, f"{name} {child}")


def _is_argument(param: Any) -> bool:
    return not param.opts[0].startswith("-")


def _usage(name: str, command: Any) -> str:
    arguments = [param.metavar or param.name.upper() for param in command.params if _is_argument(param)]
    return " ".join([name, *arguments, "[OPTIONS]"])


def _panels(command: Any) -> dict[str, list[Any]]:
    """The arguments, then the options by the panel of --help that shows them."""
    panels: dict[str, list[Any]] = {}
    for param in sorted(command.params, key=_is_argument, reverse=True):
        if not param.hidden and param.name != "help":
            title = "Arguments" if _is_argument(param) else getattr(param, "rich_help_panel", None) or "Options"
            panels.setdefault(title, []).append(param)
    return panels


def _option_row(param: Any) -> str:
    names = [] if _is_argument(param) else sorted([*param.opts, *param.secondary_opts], key=len, reverse=True)
    shown = " ".join([", ".join(names), _value(param)]).strip()
    text = _escaped(param.help or "")
    default = param.default
    if param.show_default and default not in (None, False, "", (), []) and not callable(default):
        text += f" Default: `{getattr(default, 'value', default)}`."
    return f"| `{shown}` | {text} |"


def _value(param: Any) -> str:
    """What is written behind an option, or for an argument; empty for a flag."""
    if getattr(param, "is_flag", False):
        return ""
    return param.metavar or "\\|".join(_choices(param)) or (param.name.upper() if _is_argument(param) else "VALUE")


def _choices(param: Any) -> list[str]:
    """The allowed words of a Literal or an enum; empty if any value may be given."""
    annotation = getattr(getattr(param, "type_descriptor", None), "annotation", None)
    if annotation is None:
        return [str(getattr(choice, "value", choice)) for choice in getattr(getattr(param, "type", None), "choices", ())]
    members = getattr(annotation, "__members__", None)
    if members:
        return [str(member.value) for member in members.values()]
    return [word for word in get_args(annotation) if isinstance(word, str)]


def _key_rows(defaults: Any, helps: dict[str, str]) -> Iterator[str]:
    comments = _comments(type(defaults))
    for field in dataclasses.fields(defaults):
        key = field.name
        option = next((name for name in (OPTIONS.get(key, key), re.sub("_s$", "_seconds", key)) if name in helps), None)
        meaning = comments.get(key, "")
        if option is not None:
            meaning = re.sub(r"\s*\[.*\]$", "", helps[option]) + f" Option `--{option.replace('_', '-')}`."
        value = getattr(defaults, key)
        default = "" if value is None else f"`{_toml(list(value) if isinstance(value, tuple) else value)}`"
        yield f"| `{key}` | {default} | {_escaped(meaning)} |"


def _comments(owner: type) -> dict[str, str]:
    """Field to the comment behind it in the source."""
    source = inspect.getsource(owner)
    lines = source.splitlines()
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    found = {}
    for node in body:
        if isinstance(node, ast.AnnAssign):
            _, mark, comment = lines[(node.end_lineno or 1) - 1][node.end_col_offset :].partition("#")
            found[ast.unparse(node.target)] = comment.strip() if mark else ""
    return found


def _toml(value: Any) -> str:
    return " ".join(tomli_w.dumps({"x": value}).partition(" = ")[2].split()).replace("[ ", "[").replace(", ]", "]")


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, but for `code`."""
    parts = text.split("`")
    plain = [
        re.sub(r"([*_<|\[\]\\])", r"\\\1", part) if place % 2 == 0 else part.replace("|", "\\|")
        for place, part in enumerate(parts)
    ]
    return "`".join(plain)
