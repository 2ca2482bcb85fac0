"""A worker's queue that a test scripts, an evaluator that a test controls, and a head with a cluster of names."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from hpcnas.cluster import Launcher
from hpcnas.cluster.signals import StopFlag
from hpcnas.config import RunConfig
from hpcnas.errors import ClusterError, StoreUnavailable
from hpcnas.head.breeder import Breeder
from hpcnas.head.display import Display, Snapshot
from hpcnas.head.loop import Head
from hpcnas.head.refill import RefillThread
from hpcnas.head.start import OpenRun
from hpcnas.population.store import Store, WorkQueue
from hpcnas.records import Claim, Failure, Final, Fitness, Lease, Verdict, WorkerInfo
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.presets import PUBLISHED
from hpcnas.run_folder import RunFolder
from hpcnas.system.lock_file import head_lock

GENOTYPE = genotype_to_json(PUBLISHED)


def lease(done: tuple[int, ...] = (), expected_s: float | None = None) -> Lease:
    """A lease on the published cell."""
    return Lease(7, 3, GENOTYPE, "digest", 1, done, expected_s)


class FakeQueue(WorkQueue):
    """Keeps the messages; away while `is_away`."""

    def __init__(self) -> None:
        self.said: list[tuple[str, object]] = []
        self.is_away = False
        self.answer = Verdict.OK

    def _note(self, what: str, detail: object) -> Verdict:
        if self.is_away:
            raise StoreUnavailable("away")
        self.said.append((what, detail))
        return self.answer

    def join(self, worker: WorkerInfo) -> str:
        raise NotImplementedError

    def claim(self, worker_id: str, claim_id: str) -> Claim:
        raise NotImplementedError

    def heartbeat(self, individual_id: int, token: int, progress: float) -> Verdict:
        return self._note("heartbeat", progress)

    def record(self, individual_id: int, token: int, fitness: Fitness) -> Verdict:
        return self._note("record", fitness)

    def fail(self, individual_id: int, token: int, failure: Failure) -> Verdict:
        return self._note("fail", failure)

    def release(self, individual_id: int, token: int, reason: str) -> Verdict:
        return self._note("release", reason)

    def leave(self, worker_id: str, reason: str) -> None:
        self._note("leave", reason)

    def record_final(self, final: Final) -> Verdict:
        raise NotImplementedError

    def close(self) -> None:
        self.said.append(("close", None))

    def heard(self, what: str) -> list[object]:
        """Details of everything said of that kind."""
        return [detail for kind, detail in self.said if kind == what]


class ScriptedEvaluator:
    """Calls `act(repeat, progress)` for each repeat; its answer is the accuracy."""

    at_once = 1

    def __init__(self, act: Callable[[int, Callable[[float], None]], float]) -> None:
        self.act = act

    def evaluate(self, genotype: Genotype, seeds: Mapping[int, int], *, progress: Callable[[float], None]) -> Iterator[Fitness]:
        for repeat, seed in seeds.items():
            yield Fitness(repeat, self.act(repeat, progress), seed, 0, 0.0)


class FakeCluster(Launcher):
    """A cluster of names: tasks are there until they are cancelled or a test takes them away.

    Attributes:
        is_silent: no question is answered. hang: a cancellation is answered only once this is set.
        orders: every cancellation that was done: the tasks, None for all.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, str] = {}
        self.is_silent = False
        self.refusal = ""
        self.hang: threading.Event | None = None
        self.orders: list[list[str] | None] = []
        self.excluded: list[str] = []
        self._count = 0

    def submit(self, count: int) -> list[str]:
        if self.refusal:
            raise ClusterError(self.refusal)
        if self.is_silent:
            return []
        names = [f"9_{self._count + index}" for index in range(count)]
        self._count += count
        self.tasks.update(dict.fromkeys(names, "RUNNING"))
        return names

    def alive(self) -> dict[str, str] | None:
        return None if self.is_silent else dict(self.tasks)

    def cancel(self, tasks: Iterable[str] | None = None, *, waiting_only: bool = False) -> int:
        if self.hang is not None:
            self.hang.wait(20)
        if self.is_silent:
            raise ClusterError("Slurm does not answer squeue: nothing was cancelled")
        named = None if tasks is None else list(tasks)
        self.orders.append(named)
        ended = [task for task in self.tasks if named is None or task in named]
        for task in ended:
            del self.tasks[task]
        return len(ended)

    def forget(self, task: str) -> None:
        self.tasks.pop(task, None)

    def exclude(self, hosts: Iterable[str]) -> None:
        self.excluded += hosts


class Lines(Display):
    """A display that keeps what was said and shown."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[Snapshot] = []

    def show(self, snapshot: Snapshot) -> None:
        self.shown.append(snapshot)

    def log(self, line: str) -> None:
        self.said.append(line)


class HeadInProcess(Head):
    """A head over a real store whose sleep is a test's turn: `between(round)` is called, then half a second is over.

    Its lock is taken for it. A test that goes on for a thousand rounds has hung.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: RunConfig,
        store: Store,
        clock: Callable[[], float],
        between: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.cluster, self.lines = FakeCluster(), Lines()
        lock = head_lock(folder.lock)
        lock.acquire()
        breeder = Breeder(store, config)
        run = OpenRun(folder, config, lock, store, breeder, self.cluster, RefillThread(store, breeder.breed))
        super().__init__(run, StopFlag(exit_on_second=False), self.lines, clock)
        self.between, self.rounds = between, 0

    def _sleep(self) -> None:
        self.rounds += 1
        assert self.rounds < 1000, self.lines.said[-5:]
        self.between(self.rounds)
        self.clock.advance(0.5)  # type: ignore[attr-defined]

    def signal(self, number: int) -> None:
        """As if this process had got a signal."""
        self.flag._handle(number, None)


class Hand:
    """A worker that a test leads by the hand, one message after the other."""

    def __init__(self, store: Store, name: str = "w", host: str = "host", task: str = "") -> None:
        self.store, self.name = store, name
        self.held: Lease | None = None
        self._claims = 0
        store.join(WorkerInfo(name, host, 1, slurm_task=task))

    def claim(self) -> Verdict:
        self._claims += 1
        claim = self.store.claim(self.name, f"{self.name} {self._claims}")
        self.held = claim.lease
        return claim.verdict

    def evaluate(self, repeats: int = 2) -> None:
        """Record every repeat of the lease."""
        assert self.held is not None
        for repeat in range(repeats):
            self.store.record(self.held.individual_id, self.held.token, Fitness(repeat, 0.5, 0, 0, 0.0))
        self.held = None

    def fail(self, failure: Failure) -> None:
        assert self.held is not None
        self.store.fail(self.held.individual_id, self.held.token, failure)
        self.held = None
