"""One suite for every store, SQLite on local and on network disks, the head's service, PostgreSQL: what is kept of a run."""

import json
import math
from dataclasses import replace

import pytest
from msgspec import structs

from hpcnas.config import ClusterConfig, RunConfig
from hpcnas.errors import RunHeldError, StoreUnavailable
from hpcnas.population.queries import Population
from hpcnas.records import Failure, FailureKind, Final, State, Verdict
from tests.population.conftest import Rig, claim, fitness, individual, offspring_record, ready, worker

pytestmark = pytest.mark.usefixtures("invariants")


def test_a_join_gives_the_configuration(rig: Rig) -> None:
    assert RunConfig.from_dict(json.loads(rig.queue.join(worker()))) == rig.config


def test_a_life_from_breeding_to_evaluation(rig: Rig) -> None:
    ready(rig)
    lease = claim(rig)
    assert (lease.individual_id, lease.token, lease.done, lease.digest, lease.parameters) == (1, 1, (), "digest0", 7)
    assert rig.queue.heartbeat(1, 1, 0.5) is Verdict.OK
    assert rig.queue.record(1, 1, fitness(0, 0.25)) is Verdict.OK
    assert individual(rig).state is State.LEASED
    assert rig.queue.record(1, 1, fitness(1, 0.75)) is Verdict.OK
    assert (individual(rig).state, individual(rig).fitness, individual(rig).accuracies) == (State.EVALUATED, 0.5, (0.25, 0.75))
    assert rig.head.evaluated() == [(1, 0.5)]
    assert rig.head.evaluated(1) == []


def test_ids_are_dense_steps_over_restarts(rig: Rig) -> None:
    assert rig.head.add([offspring_record(1), offspring_record(2)]) == [1, 2]
    rig.restart()
    assert rig.head.add([offspring_record(3)]) == [3]


def test_a_reader_sees_one_moment_of_a_run_that_goes_on(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.queue.record(1, 1, fitness(0, 0.25))

    def read() -> tuple[int, int, State]:
        before = len(population.fitness_rows())
        if rig.kind != "sqlite-journal":  # there the writer waits until the reader has done
            rig.queue.record(1, 1, fitness(1, 0.75))
        return before, len(population.fitness_rows()), population.individual(1).state

    with Population.open(rig.folder) as population:
        assert population.together(read) == (1, 1, State.LEASED)
        rig.queue.record(1, 1, fitness(1, 0.75))
        assert population.individual(1).state is State.EVALUATED


def test_the_same_fitness_twice_is_one_row(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    assert [rig.queue.record(1, 1, fitness(0)) for _ in range(2)] == [Verdict.OK, Verdict.OK]
    rig.queue.record(1, 1, fitness(1))
    assert rig.queue.record(1, 1, fitness(1)) is Verdict.OK  # after it was evaluated, too


def test_another_value_for_a_repeat_is_refused_and_noted(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.queue.record(1, 1, fitness(0, 0.5))
    assert rig.queue.record(1, 1, fitness(0, 0.6)) is Verdict.STALE
    with Population.open(rig.folder) as population:
        assert [event.details["kept"] for event in population.events("refused")] == [0.5]


@pytest.mark.parametrize("accuracy", [math.nan, math.inf, -0.1, 1.1])
def test_no_accuracy_outside_0_and_1(rig: Rig, accuracy: float) -> None:
    ready(rig)
    claim(rig)
    with pytest.raises(ValueError):
        rig.queue.record(1, 1, fitness(0, accuracy))
    with pytest.raises(ValueError):
        rig.queue.record(1, 1, fitness(rig.config.recipe.repeats))


def test_a_copy_of_an_evaluated_genotype_is_evaluated_at_once(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.queue.record(1, 1, fitness(0, 0.25))
    rig.queue.record(1, 1, fitness(1, 0.75))
    assert rig.head.find_digest("digest0") == 1
    assert rig.head.find_digest("nothing") is None
    assert rig.head.add([offspring_record(0, copied_from=1), offspring_record(2)]) == [2, 3]
    assert rig.head.evaluated() == [(1, 0.5), (2, 0.5)]
    assert rig.head.counts().queued == 1


def test_the_very_same_genotype_is_found_while_it_is_queued_trained_and_evaluated(rig: Rig) -> None:
    ready(rig)
    same = offspring_record(0)
    assert rig.head.find_twin(same.digest, same.genotype) == 1
    claim(rig)
    assert rig.head.find_twin(same.digest, same.genotype) == 1
    rig.head.add([offspring_record(0, copied_from=1)])
    assert rig.head.find_twin(same.digest, same.genotype) == 1, "not the one that waits"
    rig.queue.record(1, 1, fitness(0, 0.25))
    rig.queue.record(1, 1, fitness(1, 0.75))
    assert rig.head.find_twin(same.digest, same.genotype) == 1, "the one that was trained"
    assert rig.head.find_twin(same.digest, same.genotype + " ") is None, "the same network, written differently: other seeds"


def test_offspring_are_one_transaction(rig: Rig) -> None:
    rig.head.add([offspring_record(1)])
    with pytest.raises(ValueError, match="genotype 9 is not there"):
        rig.head.add([offspring_record(2), offspring_record(3, copied_from=9)])
    rig.restart()
    assert rig.head.counts().born == 1


def test_an_overtaken_head_writes_nothing(rig: Rig) -> None:
    ready(rig)
    old = rig.head
    new = rig._open()
    try:
        new.begin_epoch()
        for write in (
            lambda: old.add([offspring_record()]),
            lambda: old.set_finished(True),
            lambda: old.retry(1),
            lambda: old.note("x"),
        ):
            with pytest.raises(RunHeldError):
                write()
        if rig.kind == "postgres":
            claim(rig)  # a worker's own connection does not care who the head is
        else:  # the service of an overtaken head hangs up: its workers look for the new one
            with pytest.raises(StoreUnavailable if rig.kind == "service" else RunHeldError):
                rig.queue.claim("w1", "c1")
        assert new.counts().born == 1
        with Population.open(rig.folder) as population:
            assert population.events() == []
    finally:
        new.close()


def test_finals_are_written_once(rig: Rig) -> None:
    final = Final(None, "d", "cifar", 64, "cifar10", 0, 3.75, None, 15543498, 10.0, "1 x H100", {"epochs": 2})
    assert [rig.queue.record_final(final) for _ in range(2)] == [Verdict.OK, Verdict.OK]
    assert rig.queue.record_final(structs.replace(final, error_top1=3.0)) is Verdict.STALE
    with Population.open(rig.folder) as population:
        assert population.finals() == [final]


def test_a_final_is_of_the_individual_that_has_its_network_whatever_id_it_names(rig: Rig) -> None:
    """A result file of another run, or of a genotype that a restore could not bring back, has an id of no meaning here."""
    rig.head.add([offspring_record(number) for number in range(2)])
    final = Final(2, "digest1", "cifar", 64, "cifar10", 0, 3.75, None, 15543498, 10.0, "1 x H100", {})
    named = {0: (2, "digest1"), 1: (999, "digest0"), 2: (1, "digest1"), 3: (999, "of no genotype here")}
    for run, (individual_id, digest) in named.items():
        one = structs.replace(final, run=run, individual_id=individual_id, digest=digest)
        assert rig.queue.record_final(one) is Verdict.OK
    with Population.open(rig.folder) as population:
        assert {row.run: row.individual_id for row in population.finals()} == {0: 2, 1: 1, 2: 2, 3: None}


def test_events_and_configuration_are_kept(rig: Rig) -> None:
    rig.head.note("submitted", jobs=["12_0"], count=2)
    changed = replace(rig.config, cluster=ClusterConfig(workers=3))
    rig.head.set_config(changed)
    with Population.open(rig.folder) as population:
        assert [(event.kind, event.details) for event in population.events()] == [("submitted", {"jobs": ["12_0"], "count": 2})]
        assert population.config == changed


def test_texts_that_no_database_keeps_are_mended(rig: Rig) -> None:
    ready(rig)
    claim(rig)
    rig.queue.fail(1, 1, Failure(FailureKind.CRASH, "nul \0 and \ud800", "x" * 300_000))
    with Population.open(rig.folder) as population:
        [attempt] = population.attempts()
    assert attempt.error.startswith("nul")
    assert len(attempt.trace) <= 200_000


def test_genotypes_can_be_read_and_missing_ones_are_key_errors(rig: Rig) -> None:
    rig.head.add([offspring_record(5)])
    assert rig.head.genotype(1) == '{"number": 5}'
    with pytest.raises(KeyError):
        rig.head.genotype(2)
