"""The simulated search against sums that can be done by hand, and its speed."""

import time
from dataclasses import replace
from random import Random

import pytest

from hpcnas.config import SearchConfig
from hpcnas.errors import HpcnasError, UsageError
from hpcnas.representation.space import FLAT_CONSTRAINED, SearchSpace
from hpcnas.simulation.durations import from_history, parse_durations
from hpcnas.simulation.scenario import Scenario
from hpcnas.simulation.search import simulate

HOUR = 3600.0


def scenario(steps: int, workers: int, duration: str = "constant:3600", **changes) -> Scenario:
    """A search without breeding, start-up or claims, unless asked for."""
    search = SearchConfig(steps=steps, population=changes.pop("population", 200))
    plain = Scenario(parse_durations(duration), search=search, workers=workers, claim_s=0, start_s=0, is_breeding=False)
    return replace(plain, **changes)


def test_a_search_of_equal_genotypes_takes_as_many_rounds_as_it_needs():
    """7000 genotypes of an hour on 200 workers: 35 hours, everybody busy."""
    outcome = simulate(scenario(7000, 200))
    assert outcome.wall_s == pytest.approx(35 * HOUR)
    assert outcome.busy_s == pytest.approx(7000 * HOUR)
    assert (outcome.evaluated, outcome.failed, outcome.attempts) == (7000, 0, 7000)
    assert outcome.idle_s == outcome.lost_s == outcome.tail_s == 0


@pytest.mark.parametrize("workers", [2, 3])
def test_who_finds_nothing_at_the_end_goes_home_but_for_one_in_reserve(workers: int):
    """One genotype more than workers: one of them waits an hour for the last, a third does not."""
    outcome = simulate(scenario(workers + 1, workers))
    assert outcome.wall_s == pytest.approx(2 * HOUR)
    assert outcome.tail_s == pytest.approx(HOUR)
    assert outcome.held_s == pytest.approx((workers + 2) * HOUR)
    assert outcome.idle_s == 0


def test_the_head_answers_one_claim_after_the_other():
    """100 workers at once, a second a claim: the last waits 100 seconds, all together 5,050."""
    outcome = simulate(scenario(100, 100, claim_s=1.0))
    assert outcome.idle_s == pytest.approx(sum(range(1, 101)))
    assert outcome.head_s == pytest.approx(200)
    assert outcome.wall_s == pytest.approx(HOUR + 100)


def test_workers_start_one_after_the_other():
    """Arrivals and start-up shift the first claims."""
    outcome = simulate(scenario(2, 2, arrival_s=600, start_s=60))
    assert outcome.starting_s == pytest.approx(120)
    assert outcome.wall_s == pytest.approx(300 + 60 + HOUR)


def test_a_preempted_genotype_keeps_its_finished_repeats():
    """What is trained is what became fitness and what was thrown away, less than one repeat each time."""
    outcome = simulate(scenario(300, 20, preemption_s=2 * HOUR))
    assert outcome.preemptions > 50
    assert outcome.evaluated == 300
    assert outcome.busy_s == pytest.approx(300 * HOUR)
    assert 0 < outcome.lost_s < outcome.preemptions * HOUR / 4
    assert outcome.attempts == 300 + outcome.preemptions


def test_a_failed_genotype_is_tried_once_more_and_then_replaced():
    """Exactly the asked number is evaluated; of 400 first attempts a fifth fails, of those a fifth again."""
    outcome = simulate(scenario(400, 20, failure=0.2))
    assert outcome.evaluated == 400
    assert 5 < outcome.failed < 35
    assert outcome.lost_s > 0


def test_a_search_that_does_not_get_done_says_so():
    """Every minute a preemption, hours of training: the loop ends."""
    with pytest.raises(HpcnasError, match="does not end"):
        simulate(scenario(5, 2, preemption_s=1.0))


def test_the_same_scenario_gives_the_same_outcome():
    """And another seed another one."""
    full = scenario(300, 20, "lognormal:3600,0.4", failure=0.05, preemption_s=8 * HOUR, is_breeding=True, population=50)
    assert simulate(full) == simulate(full)
    assert simulate(replace(full, search=replace(full.search, seed=1))) != simulate(full)


def test_breeding_is_that_of_the_search():
    """Evolution ends higher than random search with the same seed; the constraint is obeyed."""
    evolution = scenario(600, 20, is_breeding=True, population=50)
    random = replace(evolution, search=replace(evolution.search, algorithm="random"))
    best, drawn = simulate(evolution).best, simulate(random).best
    assert best is not None
    assert drawn is not None
    assert best > drawn
    assert simulate(scenario(10, 2, is_breeding=True, population=5, space=FLAT_CONSTRAINED)).best is not None


@pytest.mark.slow
def test_the_papers_search_is_simulated_in_seconds_with_workers_that_are_hardly_idle():
    """7,000 steps, 200 workers: at most 10 s of CPU, idle below 0.5 %; with what is reused the paper's day and a half."""
    began = time.process_time()
    outcome = simulate(Scenario(parse_durations("lognormal:3600,0.4")))
    assert time.process_time() - began < 10
    assert outcome.evaluated == 7000
    assert outcome.idle_s / outcome.held_s < 0.005
    assert 1.3 < (outcome.busy_s + outcome.saved_s) / 200 / 86400 < 1.9
    assert outcome.wall_s < (outcome.busy_s + outcome.saved_s) / 200 / 2


def test_durations_are_those_that_were_asked_for():
    """Means over 20,000 draws, within 3 %."""
    rng = Random(70)
    for text, mean in (("constant:5", 5), ("exponential:5", 5), ("lognormal:5,0.4", 5 * 2.718281828**0.08)):
        draw = parse_durations(text)
        assert sum(draw(rng) for _ in range(20_000)) / 20_000 == pytest.approx(mean, rel=0.03)
    history = from_history([0.0, 1.0, 2.0])
    assert {history(rng) for _ in range(100)} == {1.0, 2.0}


@pytest.mark.parametrize(
    "text", ["", "constant", "constant:0", "constant:-1", "constant:nan", "constant:inf", "lognormal:5", "normal:1,2"]
)
def test_other_durations_are_refused(text):
    """With what is allowed."""
    with pytest.raises(UsageError, match="constant:SECONDS, lognormal:MEDIAN,SIGMA"):
        parse_durations(text)


def test_an_empty_history_is_refused():
    """A run where nothing was evaluated yet."""
    with pytest.raises(UsageError, match="no evaluated genotype"):
        from_history([0.0])


def test_the_very_same_genotypes_are_reused_and_the_others_trained():
    """With one worker the population is that of a head; what is saved is what the trainings would have taken."""
    outcome = simulate(scenario(300, 1, is_breeding=True, population=20))
    assert outcome.evaluated == outcome.attempts + outcome.reused == 300
    assert outcome.reused > 20  # about a seventh of all mutations draw the same operation again
    assert outcome.saved_s == pytest.approx(outcome.reused * HOUR)
    assert outcome.wall_s == pytest.approx(outcome.attempts * HOUR)


def test_those_that_wait_for_a_twin_that_fails_are_trained_one_after_the_other():
    """Exactly the asked number is evaluated, with many workers in a space of seven operations, and nobody waits for ever."""
    tiny = SearchConfig(steps=100, population=50)
    many = scenario(100, 20, is_breeding=True, failure=0.3)
    outcome = simulate(replace(many, space=SearchSpace("flat", (1,), (2,)), search=tiny))
    assert outcome.evaluated == 100
    assert outcome.failed > 0
    assert outcome.reused >= 100 - 6  # an edge has six operations
