"""A table before it is written: columns with a kind each, rows with plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from hpcnas.report.tables.formatting import MISSING, Spread, TopErrors, duration, short_count, short_hours

Value = str | int | float | Spread | TopErrors | None


class ColumnKind(StrEnum):
    """The kind of a column, which decides how a cell is written."""

    TEXT = "text"
    COUNT = "count"  # whole things, written out: 7,000
    PARAMETERS = "parameters"  # weights, written short: 15.7M
    SPREAD = "spread"  # Spread: mean ± std (n)
    ERRORS = "errors"  # TopErrors: top1/top5 (n)
    HOURS = "hours"
    DURATION = "duration"  # seconds


@dataclass(frozen=True, slots=True)
class Column:
    """`key` names it in JSON and CSV, `heading` in what people read."""

    key: str
    heading: str
    kind: ColumnKind = ColumnKind.TEXT

    @property
    def is_number(self) -> bool:
        """Whether its cells stand at the right."""
        return self.kind is not ColumnKind.TEXT


@dataclass(frozen=True, slots=True)
class Row:
    """Values by column key; a key that is absent is a missing cell.

    Attributes:
        is_published: read in a paper, not computed here.
    """

    values: Mapping[str, Value]
    is_published: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`name` is its key in the JSON report; `notes` stand below it."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def cells(self, row: Row) -> list[str]:
        """The row as people read it, one text per column."""
        return [write_value(row.values.get(column.key), column.kind) for column in self.columns]


def write_value(value: Value, kind: ColumnKind) -> str:
    """One cell as people read it; a dash when it is missing."""
    if value is None:
        return MISSING
    if isinstance(value, (str, Spread, TopErrors)):
        return str(value)
    writers = {ColumnKind.PARAMETERS: short_count, ColumnKind.HOURS: short_hours, ColumnKind.DURATION: duration}
    return writers[kind](value) if kind in writers else f"{value:,}"


def plain_value(value: Value) -> object:
    """One cell as JSON holds it: numbers in full, spreads and error pairs as objects, None when missing."""
    if isinstance(value, (Spread, TopErrors)):
        return asdict(value)
    return value
