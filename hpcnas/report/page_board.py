"""The page's long lists: leaderboard, lineage of the best, failures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpcnas.population.rules import NEUTRAL_OUTCOMES
from hpcnas.report.tables.formatting import MISSING, Spread
from hpcnas.report.views import AttemptView, Evaluation, RunRows

MOST_ROWS = 10_000  # of the leaderboard on a page, about 1 MB
WITHOUT_SCRIPT = 50  # rows that stand in the HTML itself
COLUMNS = (
    ("id", "id", True),
    ("run", "run", False),
    ("fitness (%)", "fitness", True),
    ("std", "std", True),
    ("n", "n", True),
    ("parameters", "parameters", True),
    ("MACs (M)", "macs", True),
    ("parent", "parent", True),
    ("mutation", "mutation", False),
    ("training (s)", "seconds", True),
    ("full-size error (%)", "error", True),
)

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Board:
    """The leaderboard.

    Attributes:
        columns: heading, key, whether it holds numbers.
        rows: best first, in the order of the columns; `run` as its index.
        first: the first rows as text, for readers without a script.
        listed: index of the run and id of each row.
    """

    columns: tuple[tuple[str, str, bool], ...]
    rows: list[list[Cell]]
    first: list[list[str]]
    note: str
    listed: list[tuple[int, int]]


def board(runs: Sequence[RunRows]) -> Board:
    """All evaluated genotypes of all runs, or the best MOST_ROWS of them, the fittest first."""
    everyone = [(index, row) for index, run in enumerate(runs) for row in run.evaluations]
    everyone.sort(key=lambda entry: (-entry[1].fitness.mean, entry[1].id))
    errors, macs = [_errors(run) for run in runs], [run.macs() for run in runs]
    rows = [_row(index, row, macs[index].get(row.id), errors[index].get(row.digest)) for index, row in everyone[:MOST_ROWS]]
    listed = [(index, row.id) for index, row in everyone[:MOST_ROWS]]
    shown = f"the best {MOST_ROWS:,} of " if len(everyone) > MOST_ROWS else ""
    note = f"{shown}{len(everyone):,} evaluated genotypes; fitness is the mean over n repeats."
    return Board(COLUMNS, rows, [_texts(row, runs) for row in rows[:WITHOUT_SCRIPT]], note[0].upper() + note[1:], listed)


def _errors(run: RunRows) -> dict[str, float]:
    by_digest: dict[str, list[float]] = {}
    for final in run.finals:
        # An error on ImageNet's images does not compare with these.
        if final.model == "cifar":
            by_digest.setdefault(final.digest, []).append(final.error_top1)
    return {digest: spread.mean for digest, values in by_digest.items() if (spread := Spread.of(values))}


def _row(index: int, row: Evaluation, macs: int | None, error: float | None) -> list[Cell]:
    return [
        row.id,
        index,
        round(100 * row.fitness.mean, 3),
        None if row.fitness.std is None else round(100 * row.fitness.std, 3),
        row.fitness.n,
        row.parameters,
        None if macs is None else round(macs / 1e6, 3),
        row.parent_id,
        row.mutation or "random",
        round(row.seconds, 1),
        None if error is None else round(error, 3),
    ]


def _texts(row: Sequence[Cell], runs: Sequence[RunRows]) -> list[str]:
    texts = []
    for (_, key, _), value in zip(COLUMNS, row, strict=True):
        if key == "run" and isinstance(value, int):
            texts.append(runs[value].label)
        elif isinstance(value, float):
            texts.append(f"{value:.2f}" if key != "seconds" else f"{value:.0f}")
        else:
            texts.append(MISSING if value is None else f"{value:,}" if isinstance(value, int) else value)
    return texts


def lineage(runs: Sequence[RunRows]) -> dict[str, Any]:
    """The chain of mutations that led to the fittest genotype of all runs, its random ancestor first."""
    found = [(run, run.best) for run in runs if run.best is not None]
    if not found:
        return {"title": "No genotype is evaluated yet", "run": 0, "rows": []}
    run, best = max(found, key=lambda entry: entry[1].fitness.mean if entry[1] else 0.0)
    chain = ancestors(run, best)
    rows = [
        {
            "id": f"{row.id:,}",
            "number": row.id,
            "mutation": row.mutation or "random",
            "fitness": f"{100 * row.fitness.mean:.2f}",
            "change": MISSING if parent is None else f"{100 * (row.fitness.mean - parent.fitness.mean):+.2f}",
            "parameters": f"{row.parameters:,}",
        }
        # One longer than the chain: each row stands beside its parent, the first one beside None.
        for parent, row in zip([None, *chain], chain, strict=False)
    ]
    mutations = len(chain) - 1
    title = f"Genotype {best.id} of {run.label}, {mutations} mutations from a random genotype"
    return {"title": title, "run": list(runs).index(run), "rows": rows}


def ancestors(run: RunRows, row: Evaluation) -> list[Evaluation]:
    """The chain from the first ancestor that was evaluated to `row` itself."""
    by_id = {evaluation.id: evaluation for evaluation in run.evaluations}
    chain = [row]
    while chain[-1].parent_id is not None and chain[-1].parent_id in by_id:
        chain.append(by_id[chain[-1].parent_id])
    return chain[::-1]


def failures(runs: Sequence[RunRows]) -> list[dict[str, Any]]:
    """Failed attempts by run and cause, the most frequent first, each with an example."""
    rows = []
    for index, run in enumerate(runs):
        causes: dict[str, list[AttemptView]] = {}
        for attempt in run.attempts:
            if attempt.outcome not in NEUTRAL_OUTCOMES:
                causes.setdefault(attempt.outcome, []).append(attempt)
        for cause, attempts in sorted(causes.items(), key=lambda item: -len(item[1])):
            rows.append({"index": index, **_failure(run, cause, attempts)})
    return rows


def _failure(run: RunRows, cause: str, attempts: Sequence[AttemptView]) -> dict[str, Any]:
    hosts = Counter(attempt.host for attempt in attempts)
    named = ", ".join(f"{host} ({count})" for host, count in hosts.most_common(3))
    return {
        "run": run.label,
        "cause": cause,
        "attempts": f"{len(attempts):,}",
        "genotypes": f"{len({attempt.individual_id for attempt in attempts}):,}",
        "hosts": named + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else ""),
        "example": next(
            (f"genotype {attempt.individual_id}: {attempt.error[:300]}" for attempt in attempts if attempt.error), MISSING
        ),
    }


def failed_permanently(runs: Sequence[RunRows]) -> list[dict[str, Any]]:
    """Genotypes that failed for good, by run and id."""
    return [
        {"run": run.label, "index": index, "id": row.id, "attempts": row.attempts, "reason": row.reason}
        for index, run in enumerate(runs)
        for row in run.failed_permanently
    ]
