"""Arenas that are closed whatever happens, single faults for them, and one check at their end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcnas.population.queries import Population
from tests.chaos.arena import Arena
from tests.chaos.checker import Verdict, check
from tests.chaos.nemesis import Fault, Nemesis, Undo

Build = Callable[..., Arena]


@pytest.fixture
def arena_of(tmp_path: Path) -> Iterator[Build]:
    """Build and start an arena: four workers, thirty genotypes, unless the test passes others."""
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


def inject(arena: Arena, kind: str, *, choice: float = 0.5, lasts_s: float = 0.0) -> Undo:
    """One fault of the nemesis, now; answers how to undo it."""
    method = getattr(Nemesis(arena, 0), "_" + kind.replace(" ", "_").replace(".", "_"))
    undo = method(Fault(1, kind, 0.0, choice, lasts_s))
    assert undo is not None, f"{kind}: no victim"
    return undo  # type: ignore[no-any-return]


def population_of(arena: Arena) -> Population:
    """What its run has so far."""
    return Population.open(arena.run)
