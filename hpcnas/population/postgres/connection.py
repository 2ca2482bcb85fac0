"""Connections to PostgreSQL: few, short, made anew when they break."""

import os
import random
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg import errors, sql

from hpcnas.errors import DamagedRunError, StoreUnavailable

T = TypeVar("T")

CONNECT_S = 10
PATIENCE_S = 10.0
_MAX_PAUSE_S = 2.0

# The server restarts, is full or ends connections: all of it passes.
_PASSING = (psycopg.OperationalError, psycopg.InterfaceError)
# Two messages met in one row: the loser runs again.
_COLLISIONS = (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation)
# What the server says of files that are gone or changed: "internal error" and "undefined file". A refused connection's error
# has no code.
_DAMAGE_CODES = ("XX", "58P01")
_DAMAGE_SIGNS = ("could not open file", "could not read", "invalid data", "invalid page")


class LostPopulation(DamagedRunError):
    """The database does not have the run's population, or not all of it."""


class PostgresLink:
    """One connection at a time to the schema of one run.

    Attributes:
        keeps: whether the connection stays open between calls. A head's does; a worker says something every
            30 s and lets go in between, so that 500 of them share the usual 100 connections.
    """

    def __init__(self, address: str, schema: str, *, keeps: bool = False, patience_s: float = PATIENCE_S) -> None:
        """Connects with the first call.

        Args:
            address: the connection string.
        """
        self.keeps = keeps
        self._address, self._schema, self._patience_s = address, schema, patience_s
        self._jitter = random.Random(os.urandom(8))
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def call(self, work: Callable[["psycopg.Connection[tuple[object, ...]]"], T], *, repeatable: bool = True) -> T:
        """Run `work` in one transaction and commit it.

        Raises:
            StoreUnavailable: the server could not be reached for the time of patience, or the connection broke
                at the commit of something that is not repeatable.
            LostPopulation: the database, the schema or its tables are not there, or the server finds its files damaged.
        """
        deadline, pause_s = time.monotonic() + self._patience_s, 0.02
        while True:
            committing = False
            try:
                connection = self._open()
                answer = work(connection)
                committing = True
                connection.commit()
            except (errors.UndefinedTable, errors.InvalidSchemaName, errors.UndefinedColumn) as error:
                self.close()
                raise LostPopulation(f"the database holds no population of this run ({_first_line(error)})") from error
            except (*_PASSING, *_COLLISIONS) as error:
                self._let_go(error)
                _check_damage(error)
                if (committing and not repeatable) or time.monotonic() + pause_s > deadline:
                    raise StoreUnavailable(f"PostgreSQL does not answer ({_first_line(error)}); try again later") from error
            except BaseException as error:
                if self._connection is not None and not self._connection.closed:
                    self._connection.rollback()
                _check_damage(error)
                raise
            else:
                if not self.keeps:
                    self.close()
                return answer
            time.sleep(pause_s * self._jitter.uniform(0.5, 1.0))
            pause_s = min(_MAX_PAUSE_S, 2 * pause_s)

    def close(self) -> None:
        """Let go of the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> "psycopg.Connection[tuple[object, ...]]":
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._address,
                connect_timeout=CONNECT_S,
                application_name="hpcnas",
                # A machine that vanished closes nothing: with Linux's defaults a call would wait for it for two hours and more.
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
                tcp_user_timeout=30_000,
            )
            self._connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(self._schema)))
            self._connection.commit()
        return self._connection

    def _let_go(self, error: Exception) -> None:
        if isinstance(error, _COLLISIONS) and self._connection is not None and not self._connection.closed:
            self._connection.rollback()
        else:
            self.close()


def _check_damage(error: BaseException) -> None:
    if isinstance(error, psycopg.OperationalError) and '" does not exist' in str(error):
        raise LostPopulation(f"the database is not there ({_first_line(error)})") from error
    is_damage = isinstance(error, psycopg.OperationalError) and any(sign in str(error) for sign in _DAMAGE_SIGNS)
    if isinstance(error, psycopg.Error) and (is_damage or (error.sqlstate or "").startswith(_DAMAGE_CODES)):
        raise LostPopulation(f"PostgreSQL finds its data damaged ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    # psycopg's own messages name host and user, never the password.
    return str(error).strip().split("\n")[0]
