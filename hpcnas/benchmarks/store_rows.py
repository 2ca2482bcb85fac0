"""Fills the databases of `bench store`, and runs the same cycle by hand in raw sqlite3."""

import json
import secrets
import sqlite3
import time
import uuid

from hpcnas.config import RecipeConfig, RunConfig
from hpcnas.config_file import config_toml
from hpcnas.population.sqlite import file as sqlite_file
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.population.statements import load_statements
from hpcnas.population.store import Store
from hpcnas.records import OffspringRecord, WorkerInfo
from hpcnas.run_folder import RunFolder

# A genotype of the paper's space as it is stored: three levels, 46 edges.
_MOTIF = [["conv1x1"], ["depthwise3x3", "none"], ["separable3x3", "identity", "maxpool3x3"]]
_CELL = [["motif5"], ["motif3", "motif3"], ["motif3", "motif1", "motif3"], ["motif4", "motif5", "motif5", "motif5"]]
GENOTYPE = json.dumps(
    {"format": "hpcnas-genotype", "version": 1, "space": "hierarchical", "levels": [[_MOTIF] * 6, [_CELL]]},
    separators=(",", ":"),
)


_ONE_REPEAT = RecipeConfig(repeats=1)


def fill(folder: RunFolder, evaluated: int, queued: int, recipe: RecipeConfig = _ONE_REPEAT) -> None:
    """A run with so many evaluated and queued genotypes, and one worker."""
    config = RunConfig(recipe=recipe)
    folder.path.mkdir(parents=True)
    folder.config.write_text(config_toml(config), encoding="utf-8")
    folder.secret.touch(mode=0o600)
    folder.secret.write_text(secrets.token_hex(32), encoding="ascii")
    store = SQLiteStore.create(folder, config, backup_s=None)
    store.join(WorkerInfo("bench", "bench", 1))
    store.close()
    connection = sqlite_file.connect(folder.database)
    connection.execute("PRAGMA synchronous=OFF")  # building it is not what is measured
    statements = load_statements("sqlite")
    connection.execute("BEGIN IMMEDIATE")
    for number in range(1, evaluated + queued + 1):
        _insert(connection, statements, number, number <= evaluated)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def queue_more(store: Store, count: int) -> None:
    """Queue `count` genotypes."""
    store.add([OffspringRecord(uuid.uuid4().hex, GENOTYPE, None, "", 500_000) for _ in range(count)])


class RawCycles:
    """The statements of a claim and of a record, in the same order, with nothing around them but sqlite3."""

    def __init__(self, folder: RunFolder) -> None:
        """Open the database by the same rules."""
        self._connection = sqlite_file.connect(folder.database)
        self._statements = load_statements("sqlite")

    def cycle(self) -> None:
        """One claim and one record, each durable."""
        claim_id, run = uuid.uuid4().hex, self._run
        run("BEGIN IMMEDIATE", {})
        self._query("read_flags", {})
        self._query("read_attempt_of_claim", {"claim_id": claim_id})
        self._query("read_worker", {"id": "bench"})
        [(number,)] = self._query("pick_queued", {"host": "bench"})
        state = self._query("read_lease_state", {"id": number})[0]
        names = ("state", "token", "claim_id", "worker_id", "heartbeat", "progress", "errors", "losses", "preemptions",
                 "priority", "lapsed", "avoid_host", "reason")  # fmt: skip
        values = dict(zip(names, state, strict=True)) | {"state": "leased", "claim_id": claim_id, "worker_id": "bench"}
        token = values["token"] = state[1] + 1
        run(self._statements["write_lease_state"], {"id": number, **values})
        attempt = {"id": number, "token": token, "claim_id": claim_id, "worker_id": "bench", "host": "bench"}
        run(self._statements["insert_attempt"], {**attempt, "now": time.time()})
        self._query("read_genotype", {"id": number})
        self._query("read_repeats", {"id": number})
        self._query("read_expected_s", {})
        run("COMMIT", {})
        self._record(number, token)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _record(self, number: int, token: int) -> None:
        run, now = self._run, time.time()
        run("BEGIN IMMEDIATE", {})
        self._query("read_flags", {})
        self._query("read_lease_state", {"id": number})
        self._query("read_repeats", {"id": number})
        row = {
            "id": number,
            "repeat": 0,
            "accuracy": 0.5,
            "seed": 1,
            "token": token,
            "steps": 5000,
            "seconds": 1.0,
            "device": "cpu",
        }
        run(self._statements["insert_fitness"], {**row, "now": now})
        [(position,)] = self._query("next_position", {})
        run(self._statements["write_evaluated"], {"id": number, "fitness": 0.5, "position": position})
        [(order,)] = self._query("next_ended_order", {})
        ending = {"ended_order": order, "outcome": "evaluated", "closed": 1, "error": "", "trace": ""}
        run(self._statements["end_attempt"], {"id": number, "token": token, "now": now, **ending})
        run("COMMIT", {})

    def _run(self, statement: str, values: dict[str, object]) -> None:
        self._connection.execute(statement, values)

    def _query(self, name: str, values: dict[str, object]) -> list[tuple[int, ...]]:
        return self._connection.execute(self._statements[name], values).fetchall()


def _insert(connection: sqlite3.Connection, statements: dict[str, str], number: int, evaluated: bool) -> None:
    now, digest = time.time(), uuid.uuid4().hex
    offspring = {"id": number, "digest": digest, "genotype": GENOTYPE, "parent_id": None, "mutation": "", "parameters": 535_034}
    connection.execute(statements["insert_individual"], {**offspring, "copied_from": None, "now": now})
    if not evaluated:
        return
    attempt = {"id": number, "token": 1, "claim_id": digest, "worker_id": "bench", "host": "bench", "now": now}
    connection.execute(statements["insert_attempt"], attempt)
    # Fitnesses that differ and come in no order, as a search gives them to the ranking.
    accuracy = 0.5 + (number * 7919 % 4999) / 10_000
    row = {
        "id": number,
        "repeat": 0,
        "accuracy": accuracy,
        "seed": 1,
        "token": 1,
        "steps": 5000,
        "seconds": 1.0,
        "device": "cpu",
    }
    connection.execute(statements["insert_fitness"], {**row, "now": now})
    connection.execute("UPDATE individual SET token = 1 WHERE id = :id", {"id": number})
    connection.execute(statements["write_evaluated"], {"id": number, "fitness": accuracy, "position": number})
    ending = {"ended_order": number, "outcome": "evaluated", "closed": 1, "error": "", "trace": ""}
    connection.execute(statements["end_attempt"], {"id": number, "token": 1, "now": now, **ending})
