"""A small search by hand, with every kind of message and a memory of what was acknowledged."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from hpcnas.errors import StoreUnavailable
from hpcnas.population.protocol.messages import RecordMessage
from hpcnas.population.protocol.outbox import merge_outbox, write_outbox
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.population.store import Store, WorkQueue
from hpcnas.records import Claim, Failure, FailureKind, OffspringRecord, Verdict
from hpcnas.run_folder import RunFolder
from tests.population.conftest import fitness, offspring_record, worker

T = TypeVar("T")
# The first six are trained; two wait for the first of them; the ninth fails for good, for which two more wait: the first of
# them is trained for the other.
TWINS = {7: 1, 8: 1, 10: 9, 11: 9}
FAILING = 9
GENOTYPES = 11
EVALUATED = GENOTYPES - 1
TRAINED = EVALUATED - 3


@dataclass
class Workload:
    """Runs to the end whatever fails on the way.

    Attributes:
        acknowledged: (individual, repeat) -> accuracy of every record that was answered OK.
        tries: how often a refused call is repeated.
    """

    folder: RunFolder
    tries: int = 5
    acknowledged: dict[tuple[int, int], float] = field(default_factory=dict)

    def run(self, head: Store, queue: WorkQueue) -> None:
        self._insist(head.begin_epoch)
        self._insist(lambda: queue.join(worker()))
        while (born := self._insist(head.counts).born) < GENOTYPES:
            # As a head does: what to add follows from what is there, so that a repeated call adds nothing twice.
            self._insist(
                lambda: head.add([_offspring(number) for number in range(self._born(head) + 1, GENOTYPES + 1)]), again=False
            )
            assert self._insist(head.counts).born >= born
        for turn in range(GENOTYPES * 4):
            claim = self._insist(lambda turn=turn: queue.claim("w1", f"c{turn}-{self.folder.path.name}"))
            if claim.verdict is not Verdict.OK:
                break
            self._train(head, queue, claim, turn)
        self._insist(lambda: merge_outbox(self.folder, head))
        if isinstance(head, SQLiteStore):
            self._insist(head.make_backup)

    def check_copies(self, accuracies: dict[tuple[int, int], float]) -> list[str]:
        """After the end: what was trained in vain, or is not the twin's."""
        wanted = {key: accuracies.get((TWINS[key[0]], key[1])) for key in accuracies if key[0] in (7, 8)}
        wanted |= {(11, repeat): accuracies.get((10, repeat)) for repeat in range(2)}
        trained = {number for number, _ in self.acknowledged}
        return [f"{key} is not {value}" for key, value in wanted.items() if accuracies.get(key) != value] + (
            [f"trained were {sorted(trained)}"] if len(trained) != TRAINED else []
        )

    def check(self, accuracies: dict[tuple[int, int], float]) -> list[str]:
        """What was acknowledged and is not there, or not with that value."""
        return [f"{key}: {value} is lost" for key, value in self.acknowledged.items() if accuracies.get(key) != value]

    def _train(self, head: Store, queue: WorkQueue, claim: Claim, turn: int) -> None:
        lease = claim.lease
        assert lease is not None
        if turn == 1:
            self._insist(lambda: queue.fail(lease.individual_id, lease.token, Failure(FailureKind.CRASH, "boom", "trace")))
            return
        if turn == 2:
            self._insist(lambda: queue.release(lease.individual_id, lease.token, "time limit"))
            return
        if turn == 3:
            view = next(view for view in self._insist(head.leases) if view.individual_id == lease.individual_id)
            self._insist(lambda: head.expire(view, "silent"))
            return
        if lease.individual_id == FAILING:
            self._insist(lambda: queue.fail(lease.individual_id, lease.token, Failure(FailureKind.BUILD, "cannot")))
            return
        self._insist(lambda: queue.heartbeat(lease.individual_id, lease.token, 0.5))
        for repeat in range(2):
            accuracy = (10 * lease.individual_id + repeat) / 1000
            if turn == 4 and repeat == 1:
                message = RecordMessage(lease.individual_id, lease.token, fitness(repeat, accuracy))
                self._insist(lambda message=message: write_outbox(self.folder, message))
                self._insist(lambda: merge_outbox(self.folder, head))
            else:
                answer = self._insist(
                    lambda repeat=repeat, accuracy=accuracy: queue.record(
                        lease.individual_id, lease.token, fitness(repeat, accuracy)
                    )
                )
                assert answer is Verdict.OK
            self.acknowledged[lease.individual_id, repeat] = accuracy

    def _born(self, head: Store) -> int:
        return self._insist(head.counts).born

    def _insist(self, call: Callable[[], T], again: bool = True) -> T:
        for _ in range(self.tries):
            try:
                return call()
            except (StoreUnavailable, OSError):
                if not again:
                    return []  # type: ignore[return-value]
        return call()


def _offspring(number: int) -> OffspringRecord:
    return offspring_record(TWINS.get(number, number), copied_from=TWINS.get(number))
