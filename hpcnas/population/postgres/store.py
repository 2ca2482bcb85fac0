# ruff: noqa: D102  (store.py documents every method)
"""The population in PostgreSQL: workers connect to the server themselves, rows are claimed with SKIP LOCKED."""

import json
from typing import Any, Self

import psycopg
from psycopg import sql

import hpcnas
from hpcnas.config import RunConfig
from hpcnas.errors import UsageError
from hpcnas.population.postgres.database import PostgresDatabase, migrate, open_link, schema_name
from hpcnas.population.run_id import check_run_id, read_or_create_run_id
from hpcnas.population.sql_store import SQLStore
from hpcnas.population.statements import load_statements, read_sql
from hpcnas.run_folder import RunFolder


class PostgresStore(SQLStore):
    """A Store in a PostgreSQL database. Any thread may call any method; calls of one instance take turns.

    Connections are short until `begin_epoch`: a head keeps its one, a worker lets go between its messages.
    """

    _database: PostgresDatabase

    @classmethod
    def create(cls, folder: RunFolder, config: RunConfig) -> Self:
        """A new, empty population for the run of `folder`.

        Raises:
            UsageError: there is one already, or the connection string is none.
            StoreUnavailable: the server does not answer.
        """
        link = open_link(folder, config)
        run_id = read_or_create_run_id(folder)
        try:
            link.call(lambda connection: _create_schema(connection, schema_name(run_id), run_id, config), repeatable=False)
        finally:
            link.close()
        return cls.open(folder, config)

    @classmethod
    def open(cls, folder: RunFolder, config: RunConfig) -> Self:
        """The population of the run of `folder`.

        Raises:
            DamagedRunError: the database has no population of this run, or one of a newer hpcnas.
            StoreUnavailable: the server does not answer.
        """
        link = open_link(folder, config)
        try:
            migrate(link)
            store = cls(PostgresDatabase(link))
            check_run_id(folder, store.run_id, "the schema in PostgreSQL")
        except BaseException:
            link.close()
            raise
        return store

    def begin_epoch(self) -> int:
        self._database.keep_connection()
        return super().begin_epoch()


def _create_schema(connection: psycopg.Connection[Any], schema: str, run_id: str, config: RunConfig) -> None:
    # Two creations at once would race in the catalogue; the second one waits, then finds the schema.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%(schema)s))", {"schema": schema})
    if connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %(schema)s", {"schema": schema}).fetchone():
        raise UsageError(
            f"the database holds a population of this run already (schema {schema}); resume it, or choose another --run"
        )
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    connection.execute(read_sql("postgres", "schema.sql"))
    values = {"run_id": run_id, "hpcnas": hpcnas.__version__, "config": json.dumps(config.to_dict())}
    connection.execute(load_statements("postgres")["create_run"], {**values, "repeats": config.recipe.repeats})
