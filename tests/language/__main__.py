"""Checks the language of the project: `python -m tests.language [FILE...]`, part of `make lint`.

Without a file it reads the pages, the package and the tests. It prints each sentence that breaks a rule, and exits with 1
if there is one. Sentences above 25 words are printed too, when they are too many.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.language import markdown, python
from tests.language.rules import LIMIT, MOST_LONG_SHARE, Finding, findings, long_sentences, long_share
from tests.language.sentences import Text, sentences

ROOT = Path(__file__).parents[2]


def files() -> Iterator[Path]:
    """The pages and Python files that are checked, by paths relative to the repository."""
    yield from sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    for folder in ("hpcnas", "tests", "docs"):
        paths = (ROOT / folder).rglob("*.py")
        yield from sorted(path.relative_to(ROOT) for path in paths if not any(part.is_symlink() for part in path.parents))


def texts(path: Path) -> Iterator[Text]:
    """The prose of a file; of the package also its messages and names. Strings of tests are data."""
    content = (ROOT / path).read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from markdown.texts(path, content)
        return
    yield from python.docstrings(path, content)
    yield from python.comments(path, content)
    if path.parts[0] == "hpcnas":
        yield from python.messages(path, content)
        yield from python.names(path, content)


def check(paths: Iterable[Path]) -> tuple[str, list[Finding]]:
    """A summary of these files, and the sentences that break a rule."""
    found = [sentence for path in paths for text in texts(path) for sentence in sentences(text)]
    broken, share = list(findings(found)), long_share(found)
    if share > MOST_LONG_SHARE:
        broken += long_sentences(found)
    return f"{len(found)} sentences, {100 * share:.1f} % above {LIMIT} words, {len(broken)} findings", broken


def main(arguments: list[str]) -> int:
    """Check the files of these names, else all: pages by themselves, and code by itself. Returns the exit code."""
    paths = [Path(name).resolve().relative_to(ROOT) for name in arguments] or list(files())
    code = 0
    for name, group in (("pages", ".md"), ("code", ".py")):
        summary, broken = check(path for path in paths if path.suffix == group)
        print(*broken, f"{name}: {summary}", sep="\n")
        code = code or int(bool(broken))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
