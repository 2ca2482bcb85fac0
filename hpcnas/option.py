"""An option, written once: a field of a frozen dataclass that carries its default, help, bounds and, as its type, its choices.

The checks of `__post_init__`, the command line and its help are made from these fields.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hpcnas.errors import UsageError, check_at_least, check_number, check_one_of

_KEY = "option"
_WORDS = {int: ("a whole number", "whole numbers"), float: ("a number", "numbers"), str: ("a text", "texts")}


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        help: one sentence for `--help`.
        panel: of the help; "" is that of the other options of the dataclass.
        name: on the command line, without dashes in front; the field's, where none was given.
        shown: the default as the help shows it; None shows `default` itself.
        metavar: what stands for a value in the help.
        least, above, most, below: bounds; a number may not equal `above` and `below`.
        is_growing: each number of a list is above the one before.
        field, default, kind: of the dataclass; `kind` is without None.
    """

    help: str
    panel: str = ""
    name: str = ""
    shown: str | None = None
    metavar: str | None = None
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    is_growing: bool = False
    field: str = ""
    default: Any = None
    kind: Any = str

    @property
    def flag(self) -> str:
        """As a user writes it: --train-steps."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that are allowed; () where it is no choice."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def item(self) -> Any:
        """The type of one item of a list; None for what is no list."""
        return get_args(self.kind)[0] if get_origin(self.kind) is tuple else None

    @property
    def text(self) -> str:
        """The help with the default at its end."""
        default = shown_default(self.default) if self.shown is None else self.shown
        return f"{self.help} [{default}]" if default else self.help

    def parse(self, text: Any) -> Any:
        """The text of the command line as the field's value; numbers of a list have commas between them there.

        Raises:
            UsageError: a list holds something else.
        """
        if not isinstance(text, str) or self.item is None:
            return tuple(text) if isinstance(text, list) else text
        try:
            return tuple(self.item(part) for part in text.split(","))
        except ValueError:
            allowed = f"{_WORDS[self.item][1]} with commas between them, as in {shown_default(self.default)}"
            raise UsageError(f"{self.flag} {text[:80]} must be {allowed}") from None

    def check(self, value: Any) -> None:
        """Raise UsageError when `value` is out of bounds or no choice; it names what is allowed."""
        if self.choices:
            check_one_of(self.flag, value, self.choices)
        numbers = value if self.item else () if value is None else (value,)
        for number in numbers:
            if (self.item or self.kind) is float:
                check_number(self.flag, number, least=self.least, above=self.above, most=self.most, below=self.below)
            elif self.least is not None:
                check_at_least(self.flag, number, int(self.least))
        if self.is_growing and list(numbers) != sorted(set(numbers)):
            raise UsageError(f"{self.flag} {shown_default(value)} must grow, as in {shown_default(self.default)}")


def option(default: Any, help: str, **more: Any) -> Any:
    """A field of a dataclass that is an option; `more` as in Option."""
    return field(default=default, metadata={_KEY: Option(help, **more)})


@cache
def options_of(kind: type[Any]) -> tuple[Option, ...]:
    """The options among the fields of a dataclass, in its order."""
    hints = get_type_hints(kind)
    return tuple(
        replace(
            entry.metadata[_KEY],
            name=entry.metadata[_KEY].name or entry.name,
            field=entry.name,
            default=entry.default,
            kind=_without_none(hints[entry.name]),
        )
        for entry in dataclasses.fields(kind)
        if _KEY in entry.metadata
    )


def check_options(values: Any) -> None:
    """Raise UsageError when an option of a dataclass instance has a value that is not allowed."""
    for one in options_of(values.__class__):
        one.check(getattr(values, one.field))


def type_in_words(hint: Any) -> str:
    """A field's type in words, for a sentence: "a whole number"."""
    kind = _without_none(hint)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is tuple:
        return f"a list of {_WORDS[get_args(kind)[0]][1]}"
    return _WORDS[kind][0]


def _without_none(hint: Any) -> Any:
    if get_origin(hint) not in (Union, UnionType):
        return hint
    (kind,) = (part for part in get_args(hint) if part is not NoneType)
    return kind


def shown_default(default: Any) -> str:
    """A value as the help shows it; "" for what says nothing."""
    if isinstance(default, Sequence) and not isinstance(default, str):
        return ",".join(map(shown_default, default))
    if default is None or isinstance(default, bool):
        return ""
    return f"{default:g}" if isinstance(default, float) else str(default)
