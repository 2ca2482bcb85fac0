"""An extension of griffe, which reads docstrings for the site: examples become code blocks, sections stand apart."""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"(?:^>>> .*\n?(?:^(?!>>>)\S.*\n?)*)+", re.MULTILINE)
_SECTION = re.compile(r"\n+(?=(?:Args|Attributes|Returns|Raises|Yields):\n|Source: )")


class Doctests(griffe.Extension):
    """Fences the examples of each docstring, and puts an empty line before each section, which griffe needs."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object once it is read."""
        if obj.docstring is not None:
            obj.docstring.value = _SECTION.sub("\n\n", fenced(obj.docstring.value))


def fenced(docstring: str) -> str:
    """The docstring with each run of examples in a code block."""
    return _EXAMPLE.sub(lambda match: f"```pycon\n{match[0].rstrip()}\n```\n", docstring)
