"""Building the population of a run with its own PostgreSQL anew: the newest sound dump, then the outbox.

The old data are kept under another name, and dumped once more first if they still serve. What was acknowledged
after the dump is lost with them. Workers that still run may hold tokens which that older population never granted,
for genotypes that it will breed differently: so it begins a new generation of tokens, and what comes under theirs
is refused or stale. Leases that the dump knows go on.
"""

import shutil
from pathlib import Path

from hpcnas.config import RunConfig
from hpcnas.errors import DamagedRunError, HpcnasError, StoreUnavailable
from hpcnas.population import seam
from hpcnas.population.invariants import check_invariants
from hpcnas.population.outbox import REFUSED, merge_outbox
from hpcnas.population.postgres_backup import dump_schema, load_dump, made_at, postgres_backups
from hpcnas.population.postgres_server import PostgresServer
from hpcnas.population.postgres_store import PostgresReader, PostgresStore, schema_name
from hpcnas.population.queries import Population
from hpcnas.population.restored import Restored, keep_aside
from hpcnas.population.run_id import read_or_create_run_id
from hpcnas.run_folder import RunFolder


def restore_private(folder: RunFolder, config: RunConfig) -> Restored:
    """Rebuild RUN/postgres/data.

    Raises:
        DamagedRunError: there is no sound backup; the data are left as they are.
        StoreUnavailable: the server of another machine has the run, or the new one does not start.
    """
    # Hidden: workers that still run shall not meet a population that is half there.
    server, new = PostgresServer(folder, hidden=True), PostgresServer(folder, "data.restored", hidden=True)
    server.claim_machine()
    last, remarks = _dump_once_more(folder, config, server)
    new.stop()
    if new.data.exists():
        shutil.rmtree(new.data)  # of a restore that was killed
    new.start()
    try:
        dump, made = _load_newest(folder, config, new, remarks)
        _begin_generation(folder, config, new, dump)
    except BaseException:
        new.stop()
        shutil.rmtree(new.data)
        raise
    new.stop()
    kept = keep_aside([server.data])
    seam.rename(new.data, server.data)
    server.start()
    try:
        merged, set_aside = _merge(folder, config, server)
        with _read(folder, config, server) as population:
            problems, counts = check_invariants(population), population.counts()
    finally:
        server.stop()
    lost_since = "" if dump == last else made
    counted = (merged, counts.evaluated, counts.born)
    return Restored(server.data, dump.name, *counted, kept, problems, lost_since, remarks + set_aside)


def _dump_once_more(folder: RunFolder, config: RunConfig, server: PostgresServer) -> tuple[Path | None, list[str]]:
    """A backup of the old data, if all of them can still be read and fit together: then nothing is lost."""
    server.stop()
    if server.is_running():
        server.stop(immediate=True)
    if not server.data.exists():
        return None, []
    try:
        server.start()
        try:
            with _read(folder, config, server) as population:
                problems = check_invariants(population)
            if problems:
                raise DamagedRunError(f"{problems[0]} and {len(problems) - 1} more")
            return _dump(folder, server), []
        finally:
            server.stop()
    except (HpcnasError, ValueError) as error:  # ValueError: rows that no hpcnas wrote
        return None, [f"passed over the data as they were found: {error}"]


def _load_newest(folder: RunFolder, config: RunConfig, new: PostgresServer, remarks: list[str]) -> tuple[Path, str]:
    """Load the newest dump that is sound and of this run; it, and when it was made."""
    backups = postgres_backups(folder.backup)
    for number in reversed(backups.numbers()):
        dump = backups.path(number)
        try:
            made = made_at(dump, schema_name(read_or_create_run_id(folder)))
            load_dump(new.address(), dump)
            PostgresStore.open(folder, config, new.address).close()
            return dump, made
        except (StoreUnavailable, DamagedRunError) as error:
            remarks.append(f"passed over {dump.name}: {error}")
    told = "".join(f"; {remark}" for remark in remarks)
    raise DamagedRunError(
        f"{folder.backup} has no sound backup of this run{told}; nothing can be restored, and {folder.path / 'postgres'} was "
        "left as it is"
    )


def _begin_generation(folder: RunFolder, config: RunConfig, new: PostgresServer, dump: Path) -> None:
    # Each restore leaves a dump of its generation before anybody is granted anything: not more of them
    # can be missing than dumps that were passed over.
    backups = postgres_backups(folder.backup)
    passed_over = sum(backups.path(number) > dump for number in backups.numbers())
    store = PostgresStore.open(folder, config, new.address)
    try:
        store.begin_generation(passed_over)
    finally:
        store.close()
    _dump(folder, new)


def _merge(folder: RunFolder, config: RunConfig, server: PostgresServer) -> tuple[int, list[str]]:
    """Messages merged, and a remark when others were set aside."""
    there = len(list(folder.outbox.glob("*.json")))
    store = PostgresStore.open(folder, config, server.address)
    try:
        merged = merge_outbox(folder, store)
    finally:
        store.close()
    if there == merged:
        return merged, []
    refused = folder.outbox / REFUSED
    return merged, [f"{there - merged} messages of the outbox are of leases that the backup does not know: kept in {refused}"]


def _read(folder: RunFolder, config: RunConfig, server: PostgresServer) -> Population:
    return Population(PostgresReader(folder, config, server.address))


def _dump(folder: RunFolder, server: PostgresServer) -> Path:
    return dump_schema(server.address(), schema_name(read_or_create_run_id(folder)), postgres_backups(folder.backup))
