"""Random messages, twice, late and out of order, against a model of dictionaries; head restarts and expiries between."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from hpcnas.config import RecipeConfig, RunConfig
from hpcnas.errors import UsageError
from hpcnas.population.invariants import check_invariants
from hpcnas.population.queries import Population
from hpcnas.records import Failure, FailureKind, State, Verdict
from tests.population.conftest import REPEATS, Rig, fitness, make_folder, offspring_record, worker
from tests.population.model import Models

WORKERS = {"w1": "h1", "w2": "h2"}
KINDS_OF_FAILURE = st.sampled_from([FailureKind.CRASH, FailureKind.OUT_OF_MEMORY, FailureKind.BUILD])
ACCURACIES = st.sampled_from([0.25, 0.5])


class StoreMachine(RuleBasedStateMachine):
    """Drives one store; every message that was ever sent may be sent again."""

    kind = "sqlite-wal"
    address = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(prefix="hpcnas-machine-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        config = RunConfig(recipe=RecipeConfig(repeats=REPEATS), store=self.address)
        self.rig = Rig(self.kind, make_folder(self.path / "run", config), config).start()
        self.models = Models()
        self.holder: dict[tuple[int, int], str] = {}
        self.claims = 0
        self.draining = False

    def teardown(self) -> None:
        self.rig.stop()
        shutil.rmtree(self.path)

    @initialize()
    def workers_join(self) -> None:
        for name, host in WORKERS.items():
            self.rig.queue.join(worker(name, host))

    @rule(number=st.integers(1, 3))
    @precondition(lambda self: len(self.models) < 6)
    def breed(self, number: int) -> None:
        for kind, individual_id in enumerate(self.rig.head.add([offspring_record(n) for n in range(number)])):
            self.models.add(individual_id, kind)

    @rule(which=st.integers(0, 50))
    @precondition(lambda self: 0 < len(self.models) < 9)
    def breed_a_twin(self, which: int) -> None:
        """One of the very same genotype as another: it takes a fitness over, waits for one, or is trained."""
        kind = self.models.pick(which, 0)[1].kind
        record, twin = offspring_record(kind), self.models.twin(kind)
        assert self.rig.head.find_twin(record.digest, record.genotype) == twin
        (number,) = self.rig.head.add([offspring_record(kind, copied_from=twin)])
        self.models.add(number, kind, twin)

    @rule(name=st.sampled_from(sorted(WORKERS)))
    def claim(self, name: str) -> None:
        self.claims += 1
        self._claim(name, f"claim{self.claims}")

    @rule(name=st.sampled_from(sorted(WORKERS)), which=st.integers(1, 50))
    @precondition(lambda self: self.claims)
    def claim_again(self, name: str, which: int) -> None:
        """A duplicated or delayed claim, perhaps long after its lease is over."""
        self._claim(name, f"claim{1 + which % self.claims}")

    def _claim(self, name: str, claim_id: str) -> None:
        answer = self.rig.queue.claim(name, claim_id)
        known = next((number for number, model in self.models.items() if claim_id in model.claims), None)
        if known is not None:
            model = self.models[known]
            current = model.state == "leased" and model.claims[claim_id] == model.token
            assert answer.verdict is (Verdict.OK if current else Verdict.WAIT)
            if answer.lease:
                assert (answer.lease.individual_id, answer.lease.token) == (known, model.token)
            return
        expected = None if self.draining else self.models.next(WORKERS[name])
        if expected is None:
            assert answer.verdict is (Verdict.DRAIN if self.draining else Verdict.WAIT)
            return
        model = self.models[expected]
        model.state, model.token, model.lapsed, model.front, model.beats = "leased", model.token + 1, False, False, 0
        model.claims[claim_id] = model.token
        self.holder[expected, model.token] = WORKERS[name]
        assert answer.lease is not None
        assert (answer.lease.individual_id, answer.lease.token) == (expected, model.token)
        assert answer.lease.done == tuple(sorted(model.rows))

    @rule(which=st.integers(0, 50), back=st.integers(0, 2), progress=st.floats(0, 1))
    @precondition(lambda self: self.models)
    def heartbeat(self, which: int, back: int, progress: float) -> None:
        number, model, token = self.models.pick(which, back)
        answer = self.rig.queue.heartbeat(number, token, progress)
        if not model.accepts(token):
            assert answer is Verdict.STALE
            return
        model.take_up()
        model.beats += 1
        assert answer is (Verdict.DRAIN if self.draining else Verdict.OK)

    @rule(
        which=st.integers(0, 50),
        back=st.integers(0, 2),
        repeat=st.integers(0, REPEATS - 1),
        accuracy=st.sampled_from([0.25, 0.5]),
    )
    @precondition(lambda self: self.models)
    def record(self, which: int, back: int, repeat: int, accuracy: float) -> None:
        number, model, token = self.models.pick(which, back)
        if token == 0:
            return
        answer = self.rig.queue.record(number, token, fitness(repeat, accuracy))
        if token < model.token:
            assert answer is Verdict.STALE
        elif repeat in model.rows:
            assert answer is (Verdict.OK if model.rows[repeat] == accuracy else Verdict.STALE)
        elif model.state in ("leased", "queued"):
            assert answer is Verdict.OK
            if model.accepts(token):
                model.take_up()
            model.rows[repeat] = accuracy
            if len(model.rows) == REPEATS:
                self.models.evaluate(number)
        else:
            assert answer is Verdict.STALE

    @rule(which=st.integers(0, 50), back=st.integers(0, 2), kind=KINDS_OF_FAILURE)
    @precondition(lambda self: self.models)
    def fail(self, which: int, back: int, kind: FailureKind) -> None:
        number, model, token = self.models.pick(which, back)
        if token == 0:
            return
        answer = self.rig.queue.fail(number, token, Failure(kind, "boom"))
        assert answer is (Verdict.STALE if token < model.token else Verdict.OK)
        if model.accepts(token):
            model.errors += 1
            if kind is FailureKind.BUILD or model.errors == 2:
                self.models.close(number, kind.value)
            else:
                model.give_back(self.holder[number, token])

    @rule(which=st.integers(0, 50), back=st.integers(0, 2))
    @precondition(lambda self: self.models)
    def release(self, which: int, back: int) -> None:
        number, model, token = self.models.pick(which, back)
        if token == 0:
            return
        answer = self.rig.queue.release(number, token, "time limit")
        assert answer is (Verdict.STALE if token < model.token else Verdict.OK)
        if model.accepts(token):
            model.preemptions += 1
            model.give_back() if model.preemptions < 20 else self.models.close(number, "preempted")

    @rule(which=st.integers(0, 50), stalled=st.booleans())
    def expire(self, which: int, stalled: bool) -> None:
        views = self.rig.head.leases()
        assert {(view.individual_id, view.token) for view in views} == {
            (number, model.token) for number, model in self.models.items() if model.state == "leased"
        }
        if not views:
            return
        view = views[which % len(views)]
        model = self.models[view.individual_id]
        assert self.rig.head.expire(view, "silent", blame_genotype=stalled)
        assert not self.rig.head.expire(view, "silent")
        host = self.holder[view.individual_id, view.token]
        if stalled:
            model.errors += 1
            self.models.close(view.individual_id, "stalled") if model.errors == 2 else model.give_back(host)
        else:
            model.losses += 1
            if model.losses == 3:
                self.models.close(view.individual_id, "lost")
            else:
                model.give_back(host)
                model.lapsed = True

    @rule(which=st.integers(0, 50))
    @precondition(lambda self: self.models)
    def retry(self, which: int) -> None:
        number, model, _ = self.models.pick(which, 0)
        if model.state != "failed":
            with pytest.raises(UsageError):
                self.rig.head.retry(number)
            return
        self.rig.head.retry(number)
        model.give_back()
        model.errors = model.losses = model.preemptions = 0
        model.reason = ""

    @rule()
    def head_restarts(self) -> None:
        self.rig.restart()

    @rule(draining=st.booleans())
    def drain(self, draining: bool) -> None:
        self.rig.head.set_draining(draining)
        self.draining = draining

    @invariant()
    def the_rows_are_the_models(self) -> None:
        with Population.open(self.rig.folder) as population:
            assert check_invariants(population) == []
            found = {row.id: row for row in population.individuals()}
            twins = population.twins()
        assert twins == {number: model.twin for number, model in self.models.items() if model.twin is not None}
        assert sorted(found) == sorted(self.models)
        for number, model in self.models.items():
            row = found[number]
            assert (row.state.value, row.token, row.reason) == (model.state, model.token, model.reason), number
            assert (row.errors, row.losses, row.preemptions) == (model.errors, model.losses, model.preemptions), number
            assert row.accuracies == tuple(model.rows[repeat] for repeat in sorted(model.rows))
        evaluated = [number for number, _ in self.rig.head.evaluated()]
        assert evaluated == self.models.order


@pytest.mark.timeout(600)  # some seconds alone; a busy machine must not make it a failure
@pytest.mark.parametrize(
    ("kind", "examples", "steps"),
    [("sqlite-wal", 60, 40), ("sqlite-journal", 5, 30), ("service", 8, 30), ("postgres", 3, 25)],
)
def test_random_messages_do_what_the_lease_table_says(
    kind: str, examples: int, steps: int, request: pytest.FixtureRequest
) -> None:
    class Machine(StoreMachine):
        pass

    Machine.kind = kind
    Machine.address = request.getfixturevalue("postgres") if kind == "postgres" else "sqlite"
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_states_are_the_four_of_the_schema() -> None:
    assert {state.value for state in State} == {"queued", "leased", "evaluated", "failed"}
