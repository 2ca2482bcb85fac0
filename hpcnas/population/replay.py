"""Applying journal lines to a backup."""

import sqlite3
from pathlib import Path

from hpcnas.population.journal import TABLES, Change, Header, Line, key_length
from hpcnas.population.statements import load_statements


def replay(database: Path, header: Header | None, lines: list[Line]) -> tuple[int, list[str]]:
    """Apply the transactions that the database does not have yet, all or none.

    Args:
        header: names the columns of the changes; None when there is no journal.
        lines: in the order of writing, of one file or several.

    Returns:
        How many were applied, and what is missing between them, as sentences.
    """
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        (last,) = connection.execute(load_statements("sqlite")["read_journal_number"]).fetchone()
        valid = _valid(lines)
        wanted = [number for number in sorted(valid) if number > last]
        if header is None or not wanted:
            return 0, []
        connection.execute("BEGIN IMMEDIATE")
        triggers = _take_triggers_away(connection)  # fitness is insert-only, counting is for single steps
        for number in wanted:
            for change in valid[number]:
                _apply(connection, header, change)
        connection.execute(load_statements("sqlite")["recount"], {"number": wanted[-1]})
        for trigger in triggers:
            connection.execute(trigger)
        connection.execute("COMMIT")
    finally:
        connection.close()
    return len(wanted), _gaps(last, wanted)


def _valid(lines: list[Line]) -> dict[int, list[Change]]:
    """Transactions by number: what was undone is gone, and a number that was given again means the later one."""
    valid: dict[int, list[Change]] = {}
    for line in lines:
        if line.is_undo:
            valid = {number: changes for number, changes in valid.items() if number <= line.number}
        else:
            valid[line.number] = line.changes
    return valid


def _apply(connection: sqlite3.Connection, header: Header, change: Change) -> None:
    kind, values = change
    table, columns = kind.removeprefix("+"), header.columns[kind]
    if table not in TABLES or not all(column.isidentifier() for column in columns):
        raise sqlite3.DatabaseError(f"the journal speaks of {table[:40]!r}")
    keys = columns[: key_length(kind)]
    others = columns[len(keys) :]
    settings = ", ".join(f"{column} = excluded.{column}" for column in others)
    if kind.startswith("+"):
        marks = ", ".join("?" * len(columns))
        conflict = f"ON CONFLICT ({', '.join(keys)}) DO {f'UPDATE SET {settings}' if others else 'NOTHING'}"
        connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) {conflict}", values)
    else:
        changed = ", ".join(f"{column} = ?" for column in others)
        condition = " AND ".join(f"{column} = ?" for column in keys)
        connection.execute(f"UPDATE {table} SET {changed} WHERE {condition}", values[len(keys) :] + values[: len(keys)])


def _take_triggers_away(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in rows:
        connection.execute(f"DROP TRIGGER {name}")
    return [str(text) for _, text in rows]


def _gaps(last: int, numbers: list[int]) -> list[str]:
    missing = sorted(set(range(last + 1, numbers[-1])) - set(numbers))
    return [f"transactions {missing[0]} to {missing[-1]} are not in the journal"] if missing else []
