"""The prose of a Python file: docstrings, comments, and the texts that the program shows (errors, help, lines of a log)."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.language.sentences import Text

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SECTION = re.compile(r"\s*(?:Args|Returns|Raises|Yields|Attributes|Source|Example|Examples):\s*")
FIELD = re.compile(r"\s+\*{0,2}[\w, .*]+: ")  # an argument, an attribute, an exception
ITEM = re.compile(r"\s*(?:[-*]|\d+[.)]) ")
ROW = re.compile(r".*\S {2,}\S")  # of a table in plain text
CODE_LINE = re.compile(r"\s*(?:>>>|\.\.\. |\$ )|\s{4,}(?:hpcnas|python) ")  # of an example
PROSE = re.compile(r"[^\W\d_]{2,}(?:[,;:]? [^\W\d_]{1,}){3,}")  # four words in a row
NOT_PROSE = re.compile(r"(?i)\b(?:select|insert into|pragma|update \w+ set)\b|#include|\bdef \w+\(|[{};]\n|\bimport \w+\n")
WORDS_OF_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")  # of is_told, LeaseWatch
DIRECTIVE = re.compile(r"#\s*(?:noqa|type:|ruff|fmt|pragma|!|mypy)")


def docstrings(path: Path, source: str) -> Iterator[Text]:
    """Each paragraph and each field of every docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False):
            constant = node.body[0].value  # type: ignore[attr-defined]
            yield from _paragraphs(path, constant.lineno, constant.value)


def messages(path: Path, source: str) -> Iterator[Text]:
    """Each string of at least four words that is no docstring; a value that is put into it counts as one word."""
    tree = ast.parse(source)
    skipped = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, DOCUMENTED) and _begins_with_text(node)}
    for node in ast.walk(tree):
        if id(node) in skipped or not isinstance(node, ast.JoinedStr | ast.Constant):
            continue
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in ast.walk(node)}
            said = "".join(part.value if isinstance(part, ast.Constant) else "`x`" for part in node.values)
        else:
            said = node.value if isinstance(node.value, str) else ""
        if PROSE.search(said) and not NOT_PROSE.search(said):
            for part in re.split(r"\n\s*\n|\n(?=\s*[-*$#] )|\n(?=  )", said):
                yield Text(path, node.lineno, part.replace("\n", " "))


def names(path: Path, source: str) -> Iterator[Text]:
    """The words of each name that is defined: a class, a function, an argument, a variable, a field."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                pass
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                pass
            case _:
                continue
        yield Text(path, node.lineno, " ".join(WORDS_OF_NAME.findall(name)))


def comments(path: Path, source: str) -> Iterator[Text]:
    """Each comment; those of whole lines below each other are one."""
    begun, lines, last = 0, [], (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or DIRECTIVE.match(token.string):
            continue
        is_alone = not token.line[: token.start[1]].strip()
        if lines and not (is_alone and token.start == (last[0] + 1, last[1])):
            yield Text(path, begun, "\n".join(lines))
            lines = []
        begun = begun if lines else token.start[0]
        lines.append(token.string.lstrip("# "))
        last = token.start if is_alone else (0, 0)
    if lines:
        yield Text(path, begun, "\n".join(lines))


def _begins_with_text(node: ast.AST) -> bool:
    first = node.body[0] if getattr(node, "body", None) else None  # type: ignore[attr-defined]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _paragraphs(path: Path, line: int, text: str) -> Iterator[Text]:
    begun, lines, indent, is_example = 0, [], 0, False
    for number, shown in enumerate([*text.splitlines(), ""], start=line):
        depth = len(shown) - len(shown.lstrip())
        is_field = bool(FIELD.match(shown)) and (not lines or depth <= indent)
        is_example = bool(CODE_LINE.match(shown)) or (is_example and bool(shown.strip()))  # what it prints is no prose
        is_new = is_example or not shown.strip() or is_field or any(one.match(shown) for one in (SECTION, ITEM, ROW))
        if lines and is_new:
            yield Text(path, begun, "\n".join(lines))
            lines = []
        if is_example or not shown.strip() or SECTION.fullmatch(shown):
            continue
        if not lines:
            begun, indent = number, depth
        lines.append(FIELD.sub("", shown, count=1) if is_field else shown.strip())
