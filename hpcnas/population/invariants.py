"""The promises that a population's rows can be held to, whatever was killed before (docs/reliability.md, "Invariants").

The numbers are those of that list; what a database cannot show (3, 6, 8, 11, 12) is for the tests themselves.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from hpcnas.population import rules
from hpcnas.population.queries import Population
from hpcnas.population.rows import AttemptRow, FitnessRow
from hpcnas.population.sqlite.file import translate
from hpcnas.records import Individual, State
from hpcnas.run_folder import RunFolder


def check_invariants(population: Population) -> list[str]:
    """The faults of a population, one sentence each; empty if there are none. The run may go on meanwhile."""
    return population.together(lambda: _check(population))


def check_database(folder: RunFolder) -> list[str]:
    """Invariant 10: what SQLite itself finds wrong with the file."""
    connection = sqlite3.connect(f"{folder.database.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.Error as error:
        raise translate(error, folder.database) or error from error
    finally:
        connection.close()
    return [f"10: integrity_check: {text}" for text in found if text != "ok"] + [
        f"10: foreign_key_check: {row}" for row in broken
    ]


def _check(population: Population) -> list[str]:
    individuals = population.individuals()
    attempts, fitness = defaultdict(list), defaultdict(list)
    for attempt in population.attempts():
        attempts[attempt.individual_id].append(attempt)
    for row in population.fitness_rows():
        fitness[row.individual_id].append(row)
    repeats = population.config.recipe.repeats
    problems = list(_check_steps(individuals, population))
    for individual in individuals:
        found = [
            *_check_fitness(individual, fitness[individual.id], repeats),
            *_check_tokens(individual, attempts[individual.id], fitness[individual.id]),
            *_check_limits(individual, attempts[individual.id]),
        ]
        problems += [f"genotype {individual.id}: {problem}" for problem in found]
    problems += _check_order(individuals, population)
    problems += _check_twins({individual.id: individual for individual in individuals}, population.twins())
    return problems


def _check_steps(individuals: list[Individual], population: Population) -> Iterator[str]:
    if [individual.id for individual in individuals] != list(range(1, len(individuals) + 1)):
        yield "5: steps are not 1, 2, ..., born"
    if any(individual.step != individual.id for individual in individuals):
        yield "5: a step differs from its id"
    states = Counter(individual.state for individual in individuals)
    counts = population.counts()
    counted = {
        State.QUEUED: counts.queued,
        State.LEASED: counts.leased,
        State.EVALUATED: counts.evaluated,
        State.FAILED: counts.failed,
    }
    if any(states[state] != number for state, number in counted.items()):
        yield f"5: counted {counts}, there are {dict(states)}"


def _check_fitness(individual: Individual, rows: list[FitnessRow], repeats: int) -> Iterator[str]:
    if len({row.repeat for row in rows}) != len(rows):
        yield "1: two fitness rows of one repeat"
    if any(not 0 <= row.repeat < repeats for row in rows):
        yield f"1: a repeat outside 0 to {repeats - 1}"
    if (individual.state is State.EVALUATED) != (len(rows) == repeats):
        yield f"1: {individual.state} with {len(rows)} of {repeats} repeats"
    if individual.state is State.EVALUATED and individual.reason:
        yield f"1: evaluated and failed for {individual.reason}"


def _check_tokens(individual: Individual, attempts: list[AttemptRow], rows: list[FitnessRow]) -> Iterator[str]:
    tokens = [0, *(attempt.token for attempt in attempts)]
    if tokens[-1] != individual.token or not all(rules.follows(token, last) for last, token in pairwise(tokens)):
        yield f"4: tokens granted are {tokens[1:]}, the row's is {individual.token}"
    running = [attempt.token for attempt in attempts if not attempt.outcome]
    if running != ([individual.token] if individual.state is State.LEASED else []):
        yield f"4: {individual.state} under token {individual.token}, attempts running: {running}"
    # A genotype that took its twin's fitness over was never granted; its rows have token 0.
    copied = not attempts and individual.state is State.EVALUATED
    known = {attempt.token for attempt in attempts} | ({0} if copied else set())
    if any(row.token not in known for row in rows):
        yield "2: a fitness row under a token that was never granted"


def _check_limits(individual: Individual, attempts: list[AttemptRow]) -> Iterator[str]:
    open_to_more = individual.state in (State.QUEUED, State.LEASED)
    for number, limit, name in (
        (individual.errors, rules.MAX_ERRORS, "errors"),
        (individual.losses, rules.MAX_LOSSES, "losses"),
        (individual.preemptions, rules.MAX_PREEMPTIONS, "preemptions"),
    ):
        if number > limit or (open_to_more and number >= limit):
            yield f"7: {number} {name}, {limit} are allowed, and it is {individual.state}"
    if individual.state is State.FAILED and (not individual.reason or not attempts):
        yield "7: failed without a reason or an attempt"


def _check_order(individuals: list[Individual], population: Population) -> Iterator[str]:
    order = population.evaluation_order()
    means = {individual.id: individual.fitness for individual in individuals if individual.state is State.EVALUATED}
    if sorted(individual_id for individual_id, _ in order) != sorted(means):
        yield "1: the order of evaluation does not hold every evaluated genotype once"
    for individual_id, value in order:
        if means.get(individual_id) != value:
            yield f"1: genotype {individual_id} has mean {means.get(individual_id)}, {value} is kept"


def _check_twins(individuals: dict[int, Individual], twins: dict[int, int]) -> Iterator[str]:
    for individual_id, twin_id in twins.items():
        one, twin = individuals[individual_id], individuals[twin_id]
        if one.token or one.state not in (State.QUEUED, State.EVALUATED):
            yield f"13: genotype {one.id} takes a fitness over and is {one.state} under token {one.token}"
        if one.state is State.EVALUATED and one.accuracies != twin.accuracies:
            yield f"13: genotype {one.id} has other accuracies than genotype {twin.id}, from which they are"
        if one.state is State.QUEUED and (twin.state not in (State.QUEUED, State.LEASED) or twin.id in twins):
            yield f"13: genotype {one.id} waits for genotype {twin.id}, which is {twin.state}: for ever"
