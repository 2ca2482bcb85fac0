"""Prints constraints for the oldest dependencies that setup.py allows: `python -m tests.oldest_dependencies`.

Tools that only check or build (ruff, mypy, pytest, mkdocs, ...) keep the versions of constraints.txt: nobody who uses
hpcnas has them. It needs the standard library alone, since it runs before anything is installed.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
OF_USERS = ("install_requires", "postgres", "digits", "page", "weights", "examples")
LIMITED_BY_TORCH = {"setuptools"}  # torch 2.11 needs an older one than the newest torch does
LOWER_BOUND = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)(?:,<[\w.]+)?")


def requirements(setup: str) -> Iterator[str]:
    """The requirements in setup.py's text that an installation for users has."""
    for node in ast.walk(ast.parse(setup)):
        if isinstance(node, ast.Assign):
            name = ast.unparse(node.targets[0])
        elif isinstance(node, ast.keyword):
            name = node.arg or ""
        else:
            continue
        if name in OF_USERS:
            yield from ast.literal_eval(node.value)


def oldest(setup: str) -> dict[str, str]:
    """Package to its lower bound. Raises ValueError if a requirement has none."""
    bounds = {}
    for requirement in requirements(setup):
        match = LOWER_BOUND.fullmatch(requirement)
        if match is None:
            raise ValueError(f"{requirement} in setup.py has no lower bound; write it as NAME>=VERSION")
        bounds[match[1]] = match[2]
    return bounds


def tools(constraints: str, setup: str) -> list[str]:
    """The lines of constraints.txt for the direct test tools, which have no oldest version of their own."""
    named = set(re.findall(r'"([\w-]+)(?:\[\w+\])?>=', setup)) - set(oldest(setup)) - LIMITED_BY_TORCH
    return [line for line in constraints.splitlines() if line.partition("==")[0].lower() in {name.lower() for name in named}]


def main() -> None:
    """Print the constraints, one a line."""
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    for name, version in oldest(setup).items():
        print(f"{name}=={version}")
    print(*tools((ROOT / "constraints.txt").read_text(encoding="utf-8"), setup), sep="\n")


if __name__ == "__main__":
    main()
