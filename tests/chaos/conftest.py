"""Arenas that are closed whatever happens, and one check at their end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.arena import Arena
from tests.chaos.checker import Verdict, check

Build = Callable[..., Arena]


@pytest.fixture
def arena_of(tmp_path: Path) -> Iterator[Build]:
    """Build and start an arena: four workers, thirty genotypes, unless told otherwise."""
    built: list[Arena] = []

    def build(**words: Any) -> Arena:
        arena = Arena(tmp_path / f"arena{len(built)}", **{"seed": 1, "steps": 30, "workers": 4, **words})
        built.append(arena)
        arena.start()
        return arena

    yield build
    for arena in built:
        arena.close()


def end_and_check(arena: Arena, timeout_s: float = 120.0) -> Verdict:
    """The run ends by itself, and every promise has held."""
    assert arena.wait_finished(timeout_s), arena.heads_said()[-3000:]
    verdict = check(arena.run, arena.history, steps=arena.steps)
    assert verdict.problems == []
    return verdict
