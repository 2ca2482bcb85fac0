"""Telling a bug, a bad genotype and a bad host apart (docs/reliability.md, "Failures are data")."""

import json

from hpcnas.population import rules
from hpcnas.population.transaction import Transaction
from hpcnas.records import UNFIT_HOST, State

FAILURES_IN_A_ROW = 3  # of different genotypes that failed nowhere else


def failure_share(tx: Transaction, last: int, after: int) -> float:
    """Failed genotypes among the `last` ones that ended, as a share of `last`: few genotypes prove nothing.

    Attempts on quarantined hosts do not count.

    Args:
        after: the ended_order of the last attempt that does not count either.
    """
    outcomes = [row[0] for row in tx.rows("read_last_closed", last=last, after=after)]
    return sum(1 for outcome in outcomes if outcome != rules.EVALUATED) / last


def first_failure(tx: Transaction, after: int) -> str:
    """The first failed attempt with its traceback, as text for a person; "" when nothing failed."""
    row = tx.row("read_first_trace", after=after)
    if row is None:
        return ""
    individual_id, host, outcome, error, trace = row
    return f"genotype {individual_id} on {host}: {outcome}: {error}\n{trace}".rstrip()


def failures_only(tx: Transaction, after: int) -> tuple[int, int]:
    """(failed attempts, hosts where they failed) of a run in which nothing has ever succeeded; else (0, 0).

    Also (0, 0) while a host trains on which nothing has failed yet: it may be that only the others are bad.
    """
    if tx.value("has_fitness") or tx.value("has_untried_host", after=after):
        return 0, 0
    attempts, places = tx.rows("count_failures", after=after)[0]
    return int(attempts), int(places)


def suspicious_hosts(tx: Transaction) -> list[str]:
    """Hosts where the last three attempts failed, of three genotypes that failed nowhere else.

    Lost and preempted attempts say nothing. A host is suspected only while genotypes were evaluated on
    another one: when everything fails everywhere it is a bug, and no host should be quarantined for it.
    """
    return [str(row[0]) for row in tx.rows("read_failed_hosts") if _is_suspicious(tx, str(row[0]))]


def leave(tx: Transaction, worker_id: str, reason: str) -> None:
    """Note that a worker ended by itself; its host is quarantined if that is the reason."""
    worker = tx.row("read_worker", id=worker_id)
    tx.run("end_worker", id=worker_id, reason=reason)
    if worker is not None and reason.startswith(UNFIT_HOST):
        quarantine(tx, str(worker[0]), reason.removeprefix(UNFIT_HOST))


def readmit(tx: Transaction) -> None:
    """Let hosts work again that were quarantined by their workers' own word."""
    why = {}
    for *_, details in tx.rows("list_events", kind="quarantined"):
        event = json.loads(details)
        why[event["host"]] = event.get("why", "")  # the last word about a host counts
    for host in sorted(host for host in why if why[host]):
        tx.run("delete_quarantine", host=host)


def quarantine(tx: Transaction, host: str, why: str = "") -> list[int]:
    """Give a host no more leases, and its genotypes their attempts back.

    Args:
        why: what its workers say of it; "" when genotypes fail there.
    Returns:
        Ids of the genotypes that had failed by it and are queued again.
    """
    blamed = tx.rows("read_blamed_on_host", host=host)
    # Only the first time: attempts that were given back must not be given back twice.
    if not tx.run("insert_quarantine", host=host):
        return []
    again = []
    for individual_id, errors in blamed:
        lease_state = tx.read_lease_state(individual_id)
        if lease_state is None:
            continue
        after = rules.forgiven(lease_state, int(errors))
        if after != lease_state:
            tx.write_lease_state(individual_id, after)
        if lease_state.state is State.FAILED and after.state is State.QUEUED:
            again.append(int(individual_id))
    tx.note("quarantined", {"host": host, "queued_again": again, "why": why})
    return again


def _is_suspicious(tx: Transaction, host: str) -> bool:
    # Failures are found by an index, and one that works has evaluated soon after: not all attempts of a long search are read.
    newest = tx.rows("read_last_failures", host=host, last=FAILURES_IN_A_ROW)
    genotypes = {individual_id for individual_id, _, elsewhere in newest if not elsewhere}
    if len(genotypes) < FAILURES_IN_A_ROW or tx.value("was_evaluated_since", host=host, after=newest[-1][1]):
        return False
    return bool(tx.value("was_evaluated_elsewhere", host=host))
