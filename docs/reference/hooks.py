"""What mkdocs calls while it builds the site: adds generated pages, and makes the pages of a forge read well here.

The pages in docs/ are plain Markdown, with links that work in a clone and on a forge. README.md and its neighbours lie outside
docs/, so they become pages of the site here, and their links are rewritten.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from pages import api_page, commands_page, configuration_page

ROOT = Path(__file__).parents[2]
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
GENERATED = {
    "reference/commands.md": commands_page,
    "reference/configuration.md": configuration_page,
    "reference/api.md": api_page,
}
TITLES = {
    "Commands": "reference/commands.md",
    "Configuration file": "reference/configuration.md",
    "Python API": "reference/api.md",
}
_TITLE = re.compile(rf"(?<=the page )(?:{'|'.join(TITLES)})\b")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_SOURCE = re.compile(r'((?:src|srcset|href)=")([^"]+)(")')
_MARK = re.compile(r"^```(bash|python) (?:run|check|install)$")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie outside docs/, and those that are made from the program."""
    for name, uri in OUTSIDE.items():
        files.append(File.generated(config, uri, content=(ROOT / name).read_text(encoding="utf-8")))
    for uri, make in GENERATED.items():
        files.append(File.generated(config, uri, content=make()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The text of a page with the links of the site, and without the marks by which tests find commands."""
    lines, is_code = [], False
    for line in markdown.splitlines():
        if line.startswith("```"):
            is_code = not is_code
            line = _MARK.sub(r"```\1", line)
        elif not is_code:
            line = with_plain_brackets(with_site_links(line, page.file.src_uri))
        lines.append(line)
    return "\n".join(lines)


def with_site_links(line: str, uri: str) -> str:
    """The line of page `uri` with links that lead to pages of the site; what is no page stays as text."""

    def link(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        inner = _LINK.sub(link, text)  # a picture that is a link
        there = site_target(target, uri)
        return inner if there is None else f"{mark}[{inner}]({there})"

    def source(match: re.Match[str]) -> str:
        return match[1] + (site_target(match[2], uri) or match[2]) + match[3]

    def title(match: re.Match[str]) -> str:  # a clone has no such page, so the text has no link
        return f"[{match[0]}]({posixpath.relpath(TITLES[match[0]], posixpath.dirname(uri) or '.')})"

    return _TITLE.sub(title, _SOURCE.sub(source, _LINK.sub(link, line)))


def with_plain_brackets(line: str) -> str:
    """The line with G[i][j] as text and with a|b in the code of a table, both as a forge shows them.

    No page has links of the form [text][name], which mkdocstrings would look up. Indented lines are code.
    """
    if line.startswith("    "):
        return line
    parts = line.split("`")
    return "`".join(part.replace("\\|", "|") if place % 2 else part.replace("][", "]\\[") for place, part in enumerate(parts))


def site_target(target: str, uri: str) -> str | None:
    """Where a link of page `uri` leads on the site, or None if the site has no such file."""
    path, mark, heading = target.partition("#")
    if not path or re.match(r"\w+:", target):
        return target
    repository = {page: name for name, page in OUTSIDE.items()}.get(uri, f"docs/{uri}")
    place = posixpath.normpath(posixpath.join(posixpath.dirname(repository), path))
    if place in OUTSIDE:
        there = OUTSIDE[place]
    elif place.startswith("docs/"):
        there = place.removeprefix("docs/")
    else:
        return None
    return posixpath.relpath(there, posixpath.dirname(uri) or ".") + mark + heading
