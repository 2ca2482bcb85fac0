"""Offspring and full-size results: what enters the population other than through a lease."""

import json
from collections.abc import Sequence

from hpcnas.population.transaction import Transaction
from hpcnas.records import Final, OffspringRecord, State, Verdict


def add(tx: Transaction, offspring: Sequence[OffspringRecord]) -> list[int]:
    """Queue offspring, or add copies of evaluated ones as evaluated.

    Raises:
        ValueError: a record copies an individual that is not evaluated.
    """
    first = int(tx.value("next_id"))
    for individual_id, record in enumerate(offspring, start=first):
        _insert(tx, individual_id, record)
    for individual_id, record in enumerate(offspring, start=first):
        if record.copied_from is not None:
            _copy(tx, individual_id, record.copied_from)
    return list(range(first, first + len(offspring)))


def record_final(tx: Transaction, final: Final) -> Verdict:
    """Write one full-size result once; another result for the same training is refused and noted."""
    key = {"digest": final.digest, "model": final.model, "channels": final.channels, "dataset": final.dataset, "run": final.run}
    before = tx.row("read_final", **key)
    if before is None:
        tx.run(
            "insert_final",
            **key,
            individual_id=final.individual_id,
            error_top1=final.error_top1,
            error_top5=final.error_top5,
            parameters=final.parameters,
            seconds=final.seconds,
            devices=final.devices,
            details=json.dumps(final.details),
        )
        return Verdict.OK
    if before == (final.error_top1, final.error_top5):
        return Verdict.OK
    tx.note("refused", {**key, "kept": before[0], "refused": final.error_top1})
    return Verdict.STALE


def _copy(tx: Transaction, individual_id: int, source: int) -> None:
    accuracies = [float(row[1]) for row in tx.rows("read_repeats", id=source)]
    lease_state = tx.read_lease_state(source)
    if lease_state is None or lease_state.state is not State.EVALUATED:
        raise ValueError(f"genotype {source} is not evaluated; only an evaluated one can be copied")
    tx.run("copy_fitness", id=individual_id, copied_from=source)
    fitness = sum(accuracies) / len(accuracies)
    # The position comes last: PostgreSQL's writers wait for its counter, and who holds it must not wait for them.
    tx.run("write_evaluated", id=individual_id, fitness=fitness, position=tx.value("next_position"))


def _insert(tx: Transaction, individual_id: int, record: OffspringRecord) -> None:
    tx.run(
        "insert_individual",
        id=individual_id,
        digest=record.digest,
        genotype=record.genotype,
        parent_id=record.parent_id,
        mutation=record.mutation,
        parameters=record.parameters,
        copied_from=record.copied_from,
    )
