"""The N-th fault loop for PostgreSQL: the connection breaks at call k, for k = 1, 2, 3, ..., before or after it is done."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hpcnas.config import RecipeConfig, RunConfig
from hpcnas.population import create_store, open_store
from hpcnas.population.invariants import check_invariants
from hpcnas.population.queries import Population
from hpcnas.records import State
from tests.population.conftest import make_folder
from tests.population.workload import EVALUATED, Workload

pytestmark = pytest.mark.timeout(600)  # some seconds alone; a busy machine must not make it a failure


class NthBreak:
    """Breaks the connection at call `k` of execute or commit."""

    def __init__(self, patch: pytest.MonkeyPatch, k: int, is_done: bool) -> None:
        self.calls, self.k, self.is_done = 0, k, is_done
        for name in ("execute", "commit"):
            patch.setattr(psycopg.Connection, name, self._wrap(getattr(psycopg.Connection, name)))

    def _wrap(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(connection: "psycopg.Connection[Any]", *arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls != self.k:
                return original(connection, *arguments, **options)
            if self.is_done:
                original(connection, *arguments, **options)
            connection.close()
            raise psycopg.OperationalError("the connection is lost")

        return call


def steps() -> Iterator[int]:
    """Every seventh call, which meets each statement of each message somewhere: the messages are of many lengths."""
    k = 1
    while True:
        yield k
        k += 7


@pytest.mark.parametrize("is_done", [False, True], ids=["fails", "is done and not told"])
def test_a_connection_that_breaks_at_any_call_neither_loses_nor_doubles_a_row(
    postgres: str, memory_path: Path, is_done: bool
) -> None:
    config = RunConfig(store=postgres, recipe=RecipeConfig(repeats=2))
    for k in steps():
        folder = make_folder(memory_path / f"run{k}", config)
        create_store(folder, config)
        head, workload = open_store(folder, config), Workload(folder)
        with pytest.MonkeyPatch.context() as patch:
            nth = NthBreak(patch, k, is_done)
            workload.run(head, head)
        head.close()
        with Population.open(folder) as population:
            assert check_invariants(population) == [], k
            accuracies = {(row.individual_id, row.repeat): row.accuracy for row in population.fitness_rows()}
            assert len(population.individuals(State.EVALUATED)) == EVALUATED, k
        assert workload.check(accuracies) + workload.check_copies(accuracies) == [], k
        if nth.calls < k:
            assert k > 100
            return
