"""Dumps of one run's schema, by PostgreSQL's own programs; in RUN/backup for a run with a server of its own."""

import subprocess
from pathlib import Path

import psycopg

from hpcnas.errors import StoreUnavailable
from hpcnas.population.backup import Backups, put_in_place
from hpcnas.population.postgres_programs import run_client

_DUMP_S = 600.0  # for reading or writing all of it; a usual one takes a second
_MADE = "Archive created at "


def postgres_backups(folder: Path) -> Backups:
    """The dumps in a folder."""
    return Backups(folder, ".dump")


def dump_schema(address: str, schema: str, backups: Backups) -> Path:
    """A checked copy of a schema that others may be writing, as it was at one moment; older ones than are kept go.

    Args:
        address: connection string of the server.

    Returns:
        The new backup.

    Raises:
        StoreUnavailable: the server or the disk refuses, or the copy cannot be read back.
    """
    target = backups.path(max(backups.numbers(), default=0) + 1)
    with put_in_place(target) as unfinished:
        options = ("--format=custom", "--no-sync", f"--schema={schema}", f"--file={unfinished}")
        _speak("pg_dump", address, target, *options)
        read_whole(unfinished)
    backups.prune()
    return target


def read_whole(dump: Path) -> None:
    """See that every block of a dump can be read: its list of contents alone stands at its beginning.

    Raises:
        StoreUnavailable: it cannot.
    """
    _run("pg_restore", dump, "--file=/dev/null", str(dump))


def made_at(dump: Path, schema: str) -> str:
    """When a dump was begun, as it says itself.

    Raises:
        StoreUnavailable: it cannot be read, or holds no such schema.
    """
    contents = _run("pg_restore", dump, "--list", str(dump)).splitlines()
    if not any(f" SCHEMA - {schema} " in line for line in contents):
        raise StoreUnavailable(f"{dump.name} holds no population of this run")
    return next((line.partition(_MADE)[2] for line in contents if _MADE in line), "an unknown time")


def load_dump(address: str, dump: Path) -> None:
    """Put all of a dump into a database that does not have its schema, or nothing.

    Raises:
        StoreUnavailable: it is not sound, or the server refuses.
    """
    _speak("pg_restore", address, dump, "--single-transaction", "--exit-on-error", "--no-owner", str(dump))


def _speak(program: str, address: str, dump: Path, *options: str) -> None:
    values = psycopg.conninfo.conninfo_to_dict(address)
    where = (f"--host={values['host']}", f"--port={values['port']}", f"--username={values['user']}", "--no-password")
    _run(program, dump, *where, f"--dbname={values['dbname']}", *options, password=str(values["password"]))


def _run(program: str, dump: Path, *arguments: str, password: str = "") -> str:
    try:
        answer = run_client(program, *arguments, password=password, limit_s=_DUMP_S)
    except subprocess.TimeoutExpired as error:
        raise StoreUnavailable(f"{program} for {dump.name} was ended after {_DUMP_S:g} s") from error
    except OSError as error:
        raise StoreUnavailable(f"{program} for {dump.name} does not start: {error}") from error
    if answer.returncode:
        problem = (answer.stderr.strip().splitlines() or ["no reason given"])[0]
        raise StoreUnavailable(f"no backup {dump.name}: {problem}")
    return answer.stdout
