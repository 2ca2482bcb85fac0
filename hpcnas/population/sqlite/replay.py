"""Doing a journal's transactions again on a backup."""

import sqlite3
from pathlib import Path
from typing import Any

from hpcnas.population.sqlite.journal import LEFT_OUT
from hpcnas.population.sqlite.journal_files import Change, Line
from hpcnas.population.statements import load_statements

_READING = ("read_", "list_", "find_", "count_", "pick_", "was_", "next_id", "next_position", "next_ended_order", "lock_flags")

_RENAMED = {"write_standing": "write_lease_state"}  # as journals of hpcnas 0.1.0 name it


def replay(database: Path, lines: list[Line]) -> tuple[int, list[str]]:
    """Apply the transactions that the database does not have yet, all or none.

    Args:
        lines: in the order of writing, of one file or several.

    Returns:
        How many were applied, and what is missing between them, as sentences.

    Raises:
        sqlite3.Error: a transaction does not fit the database, or is none of ours.
    """
    statements = load_statements("sqlite")
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        (last,) = connection.execute(statements["read_journal_number"]).fetchone()
        wanted = {number: changes for number, changes in sorted(_valid(lines).items()) if number > last}
        connection.execute("BEGIN IMMEDIATE")
        for number, changes in wanted.items():
            connection.execute(statements["write_journal_number"], {"number": number})
            for statement, values in changes:
                _apply(connection, statements, statement, values)
        connection.execute("COMMIT")
    finally:
        connection.close()
    return len(wanted), _gaps(last, list(wanted))


def _valid(lines: list[Line]) -> dict[int, list[Change]]:
    """Transactions by number: what was undone is gone, and a number that was given again means the later one."""
    valid: dict[int, list[Change]] = {}
    for line in lines:
        if line.is_undo:
            valid = {number: changes for number, changes in valid.items() if number <= line.number}
        else:
            valid[line.number] = line.changes
    return valid


def _apply(connection: sqlite3.Connection, statements: dict[str, str], statement: str, values: dict[str, Any]) -> None:
    statement = _RENAMED.get(statement, statement)
    if statement not in statements or statement in LEFT_OUT or statement.startswith(_READING):
        raise sqlite3.DatabaseError(f"the journal has a statement {statement[:40]!r}, which no transaction runs")
    connection.execute(statements[statement], values)


def _gaps(last: int, numbers: list[int]) -> list[str]:
    missing = sorted(set(range(last + 1, max(numbers, default=last))) - set(numbers))
    return [f"transactions {missing[0]} to {missing[-1]} are not in the journal"] if missing else []
