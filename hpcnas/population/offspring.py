"""Offspring and full-size results: what enters the population other than through a lease."""

import json
from collections.abc import Sequence

from hpcnas.population.transaction import Transaction
from hpcnas.records import Final, OffspringRecord, State, Verdict


def add(tx: Transaction, offspring: Sequence[OffspringRecord]) -> list[int]:
    """Queue offspring; a copy is evaluated at once if its twin is, else it waits for it.

    Raises:
        ValueError: a record copies an individual that is not there, or that waits itself.
    """
    first = int(tx.value("next_id"))
    copies = []
    for individual_id, record in enumerate(offspring, start=first):
        twin = _twin_state(tx, record)
        # One that failed since it was found has nothing to give: this one is trained.
        _insert(tx, individual_id, record, None if twin is State.FAILED else record.copied_from)
        if twin is State.EVALUATED:
            tx.run("copy_fitness", id=individual_id, copied_from=record.copied_from)
            copies.append(individual_id)
    for individual_id in copies:
        accuracies = [float(row[1]) for row in tx.rows("read_repeats", id=individual_id)]
        close_evaluated(tx, individual_id, sum(accuracies) / len(accuracies))
    return list(range(first, first + len(offspring)))


def close_evaluated(tx: Transaction, individual_id: int, fitness: float) -> None:
    """Make an individual evaluated whose repeats are all there, and those that waited for it."""
    waiting = _waiting(tx, individual_id)
    for other in waiting:
        tx.run("copy_fitness", id=other, copied_from=individual_id)
    # The positions come last: PostgreSQL's writers wait for their counter, and who holds it must not wait for them.
    for each in (individual_id, *waiting):
        tx.run("write_evaluated", id=each, fitness=fitness, position=tx.value("next_position"))


def hand_over(tx: Transaction, individual_id: int) -> None:
    """After an individual failed: the first that waited for it is trained itself, the others wait for that one."""
    next_twin: int | None = None
    for other in _waiting(tx, individual_id):
        tx.run("write_twin", id=other, copied_from=next_twin)
        next_twin = next_twin or other


def record_final(tx: Transaction, final: Final) -> Verdict:
    """Write one full-size result once; another result for the same training is refused and noted."""
    key = {"digest": final.digest, "model": final.model, "channels": final.channels, "dataset": final.dataset, "run": final.run}
    before = tx.row("read_final", **key)
    if before is None:
        tx.run(
            "insert_final",
            **key,
            individual_id=_individual_of(tx, final),
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


def _individual_of(tx: Transaction, final: Final) -> int | None:
    """The individual of a full-size result; None if no individual here has its network.

    The id that the result names may be of another run that trained into the same folder, or be lost with a part of the journal.
    """
    if final.individual_id is None:
        return None
    named = tx.row("read_genotype", id=final.individual_id)
    if named is not None and named[1] == final.digest:
        return final.individual_id
    found = tx.row("find_digest", digest=final.digest)
    return int(found[0]) if found else None


def _twin_state(tx: Transaction, record: OffspringRecord) -> State | None:
    """The state of the individual that a record copies; None for one that copies none."""
    if record.copied_from is None:
        return None
    row = tx.row("read_twin", id=record.copied_from)
    if row is None:
        raise ValueError(f"genotype {record.copied_from} is not there; only one of this run can be copied")
    state, waits_for = State(row[0]), row[1]
    if state is State.QUEUED and waits_for is not None:
        raise ValueError(f"genotype {record.copied_from} waits for genotype {waits_for}; copy that one")
    return state


def _waiting(tx: Transaction, individual_id: int) -> list[int]:
    return [int(row[0]) for row in tx.rows("list_waiting", id=individual_id)]


def _insert(tx: Transaction, individual_id: int, record: OffspringRecord, copied_from: int | None) -> None:
    tx.run(
        "insert_individual",
        id=individual_id,
        digest=record.digest,
        genotype=record.genotype,
        parent_id=record.parent_id,
        mutation=record.mutation,
        parameters=record.parameters,
        copied_from=copied_from,
    )
