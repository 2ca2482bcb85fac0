"""`hpcnas population` and `hpcnas failures`: the table of genotypes, and what failed where and why."""

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from hpcnas.population.queries import Population
from hpcnas.population.rows import AttemptRow
from hpcnas.population.rules import LOST, NEUTRAL_OUTCOMES
from hpcnas.records import Individual, State
from hpcnas.report.front import front
from hpcnas.report.quoting import csv_cell, one_line, printable


def rank(individuals: Sequence[Individual]) -> list[Individual]:
    """The fittest first, then those without a fitness in the order of their birth."""
    return sorted(individuals, key=lambda one: (-one.fitness if one.fitness is not None else 1.0, one.id))


def front_of(individuals: Sequence[Individual]) -> list[Individual]:
    """The evaluated ones that no other one beats in both fitness and parameters of the small model, by ascending size."""
    evaluated = [one for one in individuals if one.fitness is not None]
    return front(evaluated, lambda one: one.parameters, lambda one: one.fitness or 0.0)


def population_json(individuals: Sequence[Individual]) -> str:
    """A list of objects in the shape of docs/design.md, section 5."""
    return json.dumps([_as_json(individual) for individual in individuals], indent=1)


def population_csv(individuals: Sequence[Individual]) -> str:
    """One line each; accuracies separated by spaces, the genotype left out."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["id", "digest", "parent", "step", "state", "fitness", "accuracies", "parameters", "attempts", "reason"])
    for individual in individuals:
        values = _as_json(individual)
        del values["genotype"]
        values["accuracies"] = " ".join(str(accuracy) for accuracy in individual.accuracies)
        writer.writerow(map(csv_cell, values.values()))
    return file.getvalue().rstrip("\n")


def population_text(individuals: Sequence[Individual]) -> str:
    """A table for people, in percent like the report; CSV and JSON keep shares of 1."""
    rows = [
        (
            one.id,
            one.state,
            "-" if one.fitness is None else f"{100 * one.fitness:.2f}",
            " ".join(f"{100 * accuracy:.2f}" for accuracy in one.accuracies) or "-",
            f"{one.parameters:,}",
            "-" if one.parent_id is None else one.parent_id,
            one.attempts,
            one_line(one.reason or "-" if one.state is State.FAILED else one.mutation or "random"),
        )
        for one in individuals
    ]
    headers = ("id", "state", "fitness (%)", "accuracies (%)", "parameters", "parent", "attempts", "mutation or reason")
    return str(
        tabulate(rows, headers, disable_numparse=True, colalign=("right", *["left"] * 3, "right", "right", "right", "left"))
    )


def failures_text(population: Population, *, traces: bool = True) -> str:
    """Every failed attempt, newest last: genotype, kind, machine, time, message and traceback."""
    everything = population.attempts()
    attempts = sorted((row for row in everything if row.outcome not in NEUTRAL_OUTCOMES), key=lambda row: row.ended or 0.0)
    lost = [row for row in everything if row.outcome == LOST]
    failed = population.individuals(State.FAILED)
    if not attempts and not lost and not failed:
        return "nothing failed"
    number = _number(everything)
    parts = [_attempt_text(row, number[row.individual_id, row.token], traces) for row in attempts]
    if lost:
        hosts = ", ".join(f"{host} {count}" for host, count in _count(row.host for row in lost))
        parts.append(f"{len(lost)} attempts were lost with their worker, no fault of the genotype ({hosts})")
    if failed:
        failed_permanently = ", ".join(f"{one.id} ({one.reason})" for one in failed)
        parts.append(f"{len(failed)} genotypes given up: {failed_permanently}; `hpcnas retry ID` queues one anew")
    if population.quarantined_hosts():
        parts.append(f"quarantined machines: {', '.join(population.quarantined_hosts())}")
    return printable("\n\n".join(parts))


def _number(attempts: Sequence[AttemptRow]) -> dict[tuple[int, int], int]:
    """(genotype, token) to the how-manieth attempt at that genotype it is; a restore leaves out tokens."""
    count: Counter[int] = Counter()
    number = {}
    for row in sorted(attempts, key=lambda row: row.token):
        count[row.individual_id] += 1
        number[row.individual_id, row.token] = count[row.individual_id]
    return number


def _attempt_text(row: AttemptRow, number: int, traces: bool) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.ended))
    head = f"genotype {row.individual_id}, attempt {number}, {row.outcome} on {row.host} at {when}: {row.error}"
    return head if not traces or not row.trace.strip() else f"{head}\n{_indented(row.trace)}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines())


def _count(words: Any) -> list[tuple[str, int]]:
    counted: dict[str, int] = {}
    for word in words:
        counted[word] = counted.get(word, 0) + 1
    return sorted(counted.items())


def _as_json(individual: Individual) -> dict[str, Any]:
    return {
        "id": individual.id,
        "digest": individual.digest,
        "parent": individual.parent_id,
        "step": individual.step,
        "state": individual.state.value,
        "fitness": individual.fitness,
        "accuracies": list(individual.accuracies),
        "parameters": individual.parameters,
        "attempts": individual.attempts,
        "reason": individual.reason,
        "genotype": json.loads(individual.genotype),
    }
