"""The commands of README.md and docs/*.md, by the mark after `bash` or `python` of their code fence.

    ```bash run      every command is run, document by document, in an empty folder, in the order of reading
    ```bash check    needs a cluster, data or hours: every command is rehearsed (rehearsal.py), a script's HPCNAS_ARGS too
    ```bash install  make, pip and git: targets and extras must exist
    ```python run    a program, run in the same folder

Other languages (text, toml, json) are shown to readers and not run. A bash or python fence without a mark is an error.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")])
MARKS = {"bash": ("run", "check", "install"), "python": ("run",)}
# What a batch script runs with the words of HPCNAS_ARGS.
SCRIPTS = {
    "jobs/search.sh": ["head"],
    "jobs/final_cifar10.sh": ["final", "best", "--model", "cifar"],
    "jobs/final_imagenet.sh": ["final", "best", "--model", "imagenet"],
}
_FENCE = re.compile(r"^```(\w+)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fence:
    """One marked code fence. `line`: where its text begins in the document."""

    document: str
    line: int
    language: str
    mark: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.document}:{self.line}"


def fences(document: Path) -> list[Fence]:
    """The bash and python fences of a document, in its order."""
    text = document.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        language, mark, body = match.groups()
        if language in MARKS:
            found.append(Fence(document.name, text.count("\n", 0, match.start()) + 2, language, mark.strip(), body))
    return found


def commands(fence: Fence) -> list[list[str]]:
    """The commands of a bash fence as words, without variables set before them; each part of a pipe or list by itself.

    A batch script with HPCNAS_ARGS before it is followed by the command that gets them.
    """
    lines = fence.text.replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";&|"):
                given = []
                while words and re.match(r"\w+=", words[0]):
                    name, _, value = words.pop(0).partition("=")
                    given += value.split() if name == "HPCNAS_ARGS" else []
                if words:
                    found.append(words)
                if given:
                    found.append(["hpcnas", *SCRIPTS[words[-1]], *given])
                words = []
            else:
                words.append(word)
    return found
