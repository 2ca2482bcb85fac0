"""`hpcnas population` and `hpcnas failures`: the table of genotypes, and what failed where and why."""

import csv
import io
import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from hpcnas.population.queries import Population
from hpcnas.population.rows import AttemptRow
from hpcnas.population.rules import LOST, NEUTRAL_OUTCOMES
from hpcnas.records import Individual, State
from hpcnas.report.front import front
from hpcnas.report.quoting import csv_cell, one_line, printable
from hpcnas.report.tables.table import Column, ColumnKind
from hpcnas.report.tables.text import columns_text

_NUMBER = re.compile(r"\d+(\.\d+)?")


def rank(individuals: Sequence[Individual]) -> list[Individual]:
    """The fittest first, then those without a fitness by id."""
    # Fitnesses are shares, so 1.0 comes after every negative of one.
    return sorted(individuals, key=lambda one: (-one.fitness if one.fitness is not None else 1.0, one.id))


def front_of(individuals: Sequence[Individual], sizes: Mapping[int, int] | None = None) -> list[Individual]:
    """The evaluated ones that no other one beats in both fitness and size, by ascending size.

    Args:
        sizes: by id; None takes the parameters of the small model.
    """
    evaluated = [one for one in individuals if one.fitness is not None]
    return front(evaluated, lambda one: one.parameters if sizes is None else sizes[one.id], lambda one: one.fitness or 0.0)


def population_json(individuals: Sequence[Individual], macs: Mapping[int, int] | None = None) -> str:
    """A list of objects in the shape of docs/design.md, section 5; with `macs` where these are given, by id."""
    return json.dumps([_as_json(individual, macs) for individual in individuals], indent=1)


def population_csv(individuals: Sequence[Individual], macs: Mapping[int, int] | None = None) -> str:
    """One line each; accuracies separated by spaces, the genotype left out."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = ["id", "digest", "parent", "step", "state", "fitness", "accuracies", "parameters", "macs", "attempts", "reason"]
    writer.writerow([name for name in names if name != "macs" or macs is not None])
    for individual in individuals:
        values = _as_json(individual, macs)
        del values["genotype"]
        values["accuracies"] = " ".join(str(accuracy) for accuracy in individual.accuracies)
        writer.writerow(map(csv_cell, values.values()))
    return file.getvalue().rstrip("\n")


def population_text(individuals: Sequence[Individual], macs: Mapping[int, int] | None = None, width: int = 0) -> str:
    """A table for people, in percent like the report; CSV and JSON keep shares of 1.

    Args:
        width: of the terminal, on which a table that is wider comes in parts; 0: as wide as it is.
    """
    rows = [
        (
            str(one.id),
            str(one.state),
            "-" if one.fitness is None else f"{100 * one.fitness:.2f}",
            " ".join(f"{100 * accuracy:.2f}" for accuracy in one.accuracies) or "-",
            f"{one.parameters:,}",
            *(() if macs is None else (f"{macs[one.id] / 1e6:,.1f}",)),
            "-" if one.parent_id is None else str(one.parent_id),
            str(one.attempts),
            one_line(one.reason or "-" if one.state is State.FAILED else one.mutation or "random"),
        )
        for one in individuals
    ]
    size = ("parameters",) if macs is None else ("parameters", "MACs (M)")
    headers = ("id", "state", "fitness (%)", "accuracies (%)", *size, "parent", "attempts", "mutation or reason")
    numbers = ("id", *size, "parent", "attempts")
    align = ["right" if name in numbers else "left" for name in headers]
    table = str(tabulate(rows, headers, disable_numparse=True, colalign=align))
    if not width or max(map(len, table.splitlines())) <= width:
        return table
    columns = [Column(name, name, ColumnKind.COUNT if name in numbers else ColumnKind.TEXT) for name in headers]
    return columns_text(columns, rows, width)


def failures_text(population: Population, *, traces: bool = True) -> str:
    """Failed attempts by cause, the most frequent first; of each cause the attempts, newest last, and the last traceback."""
    everything = population.attempts()
    # Neutral outcomes say nothing against a genotype; lost attempts are counted below, by host.
    attempts = sorted((row for row in everything if row.outcome not in NEUTRAL_OUTCOMES), key=lambda row: row.ended or 0.0)
    lost = [row for row in everything if row.outcome == LOST]
    failed = population.individuals(State.FAILED)
    if not attempts and not lost and not failed:
        return "nothing failed"
    number = _number(everything)
    parts = [_cause_text(rows, number, traces) for rows in _by_cause(attempts)]
    if lost:
        hosts = ", ".join(f"{host} {count}" for host, count in _count(row.host for row in lost))
        parts.append(f"{len(lost)} attempts were lost with their worker, no fault of the genotype ({hosts})")
    if failed:
        parts.append(_given_up(failed))
    if population.quarantined_hosts():
        parts.append(f"quarantined machines: {', '.join(population.quarantined_hosts())}")
    return printable("\n\n".join(parts))


def _by_cause(attempts: Sequence[AttemptRow]) -> list[list[AttemptRow]]:
    """Attempts with the same outcome and error; errors that differ in their numbers alone, such as bytes, are the same."""
    causes: dict[tuple[str, str], list[AttemptRow]] = {}
    for row in attempts:
        causes.setdefault((row.outcome, _NUMBER.sub("0", row.error)), []).append(row)
    return sorted(causes.values(), key=len, reverse=True)


def _cause_text(rows: Sequence[AttemptRow], number: dict[tuple[int, int], int], traces: bool) -> str:
    last = rows[-1]
    attempts = "1 attempt" if len(rows) == 1 else f"{len(rows)} attempts"
    lines = [f"{last.outcome}, {attempts}: {' '.join(last.error.split())}"]  # its own lines stand in the traceback
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.ended))
        lines.append(f"  genotype {row.individual_id}, attempt {number[row.individual_id, row.token]} on {row.host} at {when}")
    return "\n".join([*lines, _indented(last.trace)] if traces and last.trace.strip() else lines)


def _given_up(failed: Sequence[Individual]) -> str:
    ids: dict[str, list[str]] = {}
    for one in failed:
        ids.setdefault(one.reason, []).append(str(one.id))
    by_reason = "; ".join(f"{reason}: {', '.join(numbers)}" for reason, numbers in sorted(ids.items()))
    retry = "`hpcnas retry ID` queues one anew, --cause TEXT those of a cause, --all all of them"
    return f"{len(failed)} genotypes given up ({by_reason}); {retry}"


def _number(attempts: Sequence[AttemptRow]) -> dict[tuple[int, int], int]:
    """Number the attempts at each genotype from 1, by (genotype, token); a restore leaves out tokens."""
    count: Counter[int] = Counter()
    number = {}
    for row in sorted(attempts, key=lambda row: row.token):
        count[row.individual_id] += 1
        number[row.individual_id, row.token] = count[row.individual_id]
    return number


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines())


def _count(words: Any) -> list[tuple[str, int]]:
    counted: dict[str, int] = {}
    for word in words:
        counted[word] = counted.get(word, 0) + 1
    return sorted(counted.items())


def _as_json(individual: Individual, macs: Mapping[int, int] | None) -> dict[str, Any]:
    return {
        "id": individual.id,
        "digest": individual.digest,
        "parent": individual.parent_id,
        "step": individual.step,
        "state": individual.state.value,
        "fitness": individual.fitness,
        "accuracies": list(individual.accuracies),
        "parameters": individual.parameters,
        **({} if macs is None else {"macs": macs[individual.id]}),
        "attempts": individual.attempts,
        "reason": individual.reason,
        "genotype": json.loads(individual.genotype),
    }
