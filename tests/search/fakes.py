"""A worker's queue that a test scripts, and an evaluator that does what it is told."""

from collections.abc import Callable, Iterator, Mapping

from hpcnas.errors import StoreUnavailable
from hpcnas.population.records import Claim, Failure, Final, Fitness, Lease, Verdict, WorkerInfo
from hpcnas.population.store import WorkQueue
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.presets import PUBLISHED

GENOTYPE = genotype_to_json(PUBLISHED)


def lease(done: tuple[int, ...] = (), expected_s: float | None = None) -> Lease:
    """A lease on the published cell."""
    return Lease(7, 3, GENOTYPE, "digest", 1, done, expected_s)


class FakeQueue(WorkQueue):
    """Remembers what was said; away while `is_away`."""

    def __init__(self) -> None:
        self.said: list[tuple[str, object]] = []
        self.is_away = False
        self.answer = Verdict.OK

    def _hear(self, what: str, detail: object) -> Verdict:
        if self.is_away:
            raise StoreUnavailable("away")
        self.said.append((what, detail))
        return self.answer

    def join(self, worker: WorkerInfo) -> str:
        raise NotImplementedError

    def claim(self, worker_id: str, claim_id: str) -> Claim:
        raise NotImplementedError

    def heartbeat(self, individual_id: int, token: int, progress: float) -> Verdict:
        return self._hear("heartbeat", progress)

    def record(self, individual_id: int, token: int, fitness: Fitness) -> Verdict:
        return self._hear("record", fitness)

    def fail(self, individual_id: int, token: int, failure: Failure) -> Verdict:
        return self._hear("fail", failure)

    def release(self, individual_id: int, token: int, reason: str) -> Verdict:
        return self._hear("release", reason)

    def leave(self, worker_id: str, reason: str) -> None:
        self._hear("leave", reason)

    def record_final(self, final: Final) -> Verdict:
        raise NotImplementedError

    def close(self) -> None:
        self.said.append(("close", None))

    def heard(self, what: str) -> list[object]:
        """Details of everything said of that kind."""
        return [detail for kind, detail in self.said if kind == what]


class ScriptedEvaluator:
    """Calls `act(repeat, progress)` for each repeat; its answer is the accuracy."""

    def __init__(self, act: Callable[[int, Callable[[float], None]], float]) -> None:
        self.act = act

    def evaluate(self, genotype: Genotype, seeds: Mapping[int, int], *, progress: Callable[[float], None]) -> Iterator[Fitness]:
        for repeat, seed in seeds.items():
            yield Fitness(repeat, self.act(repeat, progress), seed, 0, 0.0)
