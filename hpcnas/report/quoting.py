"""Quotes a text of a run for other languages, so that it stays a text: spreadsheets, DOT, LaTeX, Markdown, terminals."""

import re
from typing import TypeVar

T = TypeVar("T")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# LaTeX reads these characters as commands, or prints others for them in its usual encoding OT1.
_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after the line break of a table it would begin an argument, and a star would be taken for its form
    "*": "{*}",
    "±": r"$\pm$",
}


def one_line(text: str) -> str:
    """`text` with a space for every control character, line breaks included."""
    return _CONTROL.sub(" ", text)


def printable(text: str) -> str:
    """`text` with its lines and tabs; every other control character, which a terminal would obey, becomes a question mark."""
    return _CONTROL_IN_LINES.sub("?", text)


def csv_cell(value: T) -> T | str:
    """A cell; an apostrophe keeps a text that begins like a formula from being run by a spreadsheet."""
    if not isinstance(value, str):
        return value
    text = value.replace("\r", "\n")  # csv quotes a carriage return only where it ends lines; bare, it would begin a row
    return "'" + text if text[:1] in tuple("=+-@\t\n") else text


def dot_quoted(text: str) -> str:
    """A quoted string of DOT whose label shows `text`: no escape sequence or HTML entity is read in it."""
    escaped = text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def latex_escape(text: str) -> str:
    """`text` on one line such that LaTeX prints it as it is."""
    escaped = "".join(_LATEX_SPECIAL.get(character, character) for character in one_line(text))
    return re.sub("-(?=-)", "-{}", escaped)  # two hyphens would become a dash


def markdown_escape(text: str) -> str:
    """`text` on one line without markup, HTML or mathematics."""
    escaped = one_line(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[|*_`\[$~]", r"\\\g<0>", escaped)
