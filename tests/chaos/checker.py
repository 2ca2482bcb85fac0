"""What must hold when the faults are over: the invariants of the store, and the history of every worker against it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from hpcnas.population.invariants import check_database, check_invariants
from hpcnas.population.queries import Population
from hpcnas.records import State
from hpcnas.run_folder import RunFolder
from hpcnas.training.fitness.evaluator import repeat_seed
from tests.chaos.fitness import value


@dataclass
class Verdict:
    """What a check found.

    Attributes:
        problems: broken promises, in words; empty when all held.
        figures: what was counted on the way.
    """

    problems: list[str] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)


def check(folder: RunFolder, history: Path, *, steps: int) -> Verdict:
    """Check a run that has ended."""
    verdict = Verdict()
    lines = read_history(history)
    with Population.open(folder) as population:
        verdict.problems += check_invariants(population)
        _check_counts(population, steps, verdict)
        _check_values(population, verdict)
        _check_history(population, lines, verdict)
        verdict.figures["attempts"] = len(population.attempts())
    verdict.problems += check_database(folder)
    _check_secret(folder, history, verdict)
    return verdict


def read_history(folder: Path) -> list[dict[str, object]]:
    """All complete lines of all processes; a process killed while writing leaves half a line."""
    lines = []
    for path in sorted(folder.glob("*.jsonl")):
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                continue
    return lines


def _check_counts(population: Population, steps: int, verdict: Verdict) -> None:
    individuals = population.individuals()
    states = {state: sum(one.state is state for one in individuals) for state in State}
    verdict.figures.update({state.value: count for state, count in states.items()})
    if states[State.EVALUATED] != steps:
        verdict.problems.append(f"{states[State.EVALUATED]} evaluated, not {steps}")
    for state in (State.QUEUED, State.LEASED):
        if states[state]:
            verdict.problems.append(f"{states[state]} stuck in state {state}")


def _check_values(population: Population, verdict: Verdict) -> None:
    """Each value is f(genotype, seed), and its seed that of its repeat."""
    genotypes = {one.id: one.genotype for one in population.individuals()}
    seed = population.config.search.seed
    rows = population.fitness_rows()
    verdict.figures["fitness rows"] = len(rows)
    for row in rows:
        genotype = genotypes[row.individual_id]
        expected = value(genotype, repeat_seed(seed, genotype, row.repeat))
        if row.accuracy != expected:
            verdict.problems.append(f"genotype {row.individual_id}, repeat {row.repeat}: {row.accuracy}, not {expected}")


def _check_history(population: Population, lines: list[dict[str, object]], verdict: Verdict) -> None:
    """What was acknowledged is there; no token was granted to two workers."""
    rows = {(row.individual_id, row.repeat): row.accuracy for row in population.fitness_rows()}
    granted: dict[tuple[object, object], object] = {}
    acknowledged = 0
    for line in lines:
        if line["event"] == "acknowledged":
            acknowledged += 1
            if rows.get((line["id"], line["repeat"])) != line["accuracy"]:  # type: ignore[arg-type]
                verdict.problems.append(f"acknowledged and not in the population: {line}")
        elif granted.setdefault((line["id"], line["token"]), line["worker"]) != line["worker"]:
            verdict.problems.append(f"a token granted twice: {line}")
    verdict.figures["acknowledged"] = acknowledged


def _check_secret(folder: RunFolder, history: Path, verdict: Verdict) -> None:
    secret = folder.secret.read_bytes().strip()
    for path in [*folder.path.rglob("*"), *history.parent.glob("*.log"), *history.glob("*")]:
        if path.is_file() and path != folder.secret and secret in path.read_bytes():
            verdict.problems.append(f"the secret is in {path}")
