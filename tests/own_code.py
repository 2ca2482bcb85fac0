"""What tests of a user's own code share: a module that is found, and forgotten again."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcnas.networks.own_primitives import load_primitives, use_primitives
from tests.processes import ROOT

EXAMPLES = ROOT / "docs/examples"


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes a module that can be imported; returns its name."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def write(text: str) -> str:
        made.append(f"written_{tmp_path.name.replace('-', '_')}_{len(made)}")
        (tmp_path / f"{made[-1]}.py").write_text(text)
        importlib.invalidate_caches()
        return made[-1]

    yield write
    use_primitives("")
    load_primitives.cache_clear()
    for name in made:
        sys.modules.pop(name, None)


@pytest.fixture
def own_primitives(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The example's module, used by this process."""
    monkeypatch.syspath_prepend(EXAMPLES)
    use_primitives("own_primitives")
    yield "own_primitives"
    use_primitives("")
