"""No genotype is trained twice: what would be the same to the bit is taken over from the earlier row."""

from pathlib import Path
from typing import Any

import pytest

from hpcnas.config import RunConfig
from hpcnas.head.process import run_head
from hpcnas.population.invariants import check_invariants
from hpcnas.population.queries import Population
from hpcnas.population.sql_store import SQLStore
from hpcnas.report.status import read_status
from hpcnas.report.status_view import status_text
from hpcnas.run_folder import RunFolder

CONFIG = RunConfig.from_dict(
    {
        "search": {"steps": 120, "population": 10, "seed": 3},
        "recipe": {"fitness": "synthetic", "repeats": 2, "channels": 4},
        "cluster": {"workers": 1, "cluster": "debug"},
    }
)


def searched(path: Path) -> tuple[list[tuple[Any, ...]], int, tuple[int, float]]:
    """What one seeded search with one worker found, how many attempts it took, and what it reused."""
    folder = RunFolder(path)
    assert run_head(CONFIG, folder) == 0
    with Population.open(folder) as population:
        assert check_invariants(population) == []
        rows = [(one.id, one.genotype, one.parent_id, one.mutation, one.accuracies) for one in population.individuals()]
        return rows, len(population.attempts()), population.reused()


def test_a_search_with_and_without_reuse_ends_with_the_same_population(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, attempts, (reused, _) = searched(tmp_path / "with")
    with monkeypatch.context() as patch:
        patch.setattr(SQLStore, "find_twin", lambda *given: None)
        expected, all_attempts, nothing = searched(tmp_path / "without")
    assert rows == expected
    assert (all_attempts, nothing) == (120, (0, 0.0))
    repeated = len(rows) - len({genotype for _, genotype, *_ in rows})
    assert reused == repeated > 5  # about a seventh of all mutations draw the same operation again
    assert attempts == 120 - reused


def test_status_says_how_many_were_reused(tmp_path: Path) -> None:
    _, _, (reused, _) = searched(tmp_path / "run")
    status = read_status(RunFolder(tmp_path / "run"), has_head=False)
    assert (status.reused, status.to_json()["reused"]) == (reused, reused)
    assert f"{reused} of them" in status_text(status)
