"""Tables as text; one that is too wide for the terminal is broken, or comes in parts, one below the other."""

import textwrap
from collections.abc import Sequence

from tabulate import tabulate

from hpcnas.report.quoting import one_line
from hpcnas.report.tables.table import Column, Table

LEAST_WIDTH = 24  # of a column of texts, which are broken where a table is wider than the terminal


def as_text(tables: Sequence[Table], width: int = 0) -> str:
    """Tables for a terminal of `width` characters; 0: as wide as they are."""
    return "\n".join(_text_table(table, width) for table in tables)


def _text_table(table: Table, width: int) -> str:
    """Own rows first, which a terminal shows without a look back."""
    rows = sorted(table.rows, key=lambda row: row.is_published)
    cells = [[one_line(text) for text in table.cells(row)] for row in rows]
    own = [str(row.values["source"]) for row in rows if not row.is_published and "source" in row.values]
    # Rows of several runs are alike: the part with their source is one of several, and not the one that is read first.
    names = own if len(set(own)) > 1 else []
    body = columns_text(table.columns, cells, width, names)
    notes = "".join(f"\n{textwrap.fill(note, width, subsequent_indent='  ') if width else note}" for note in table.notes)
    return f"{table.title}\n\n{body}\n{notes}\n"


def columns_text(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int, names: Sequence[str] = ()) -> str:
    """Headings and rows; in parts that all begin with the first column where they are wider than `width` characters.

    Args:
        width: of the terminal; 0: as wide as they are.
        names: begin the first cell of the first rows where the table comes in parts.
    """
    headings, widths, parts = _laid_out(columns, cells, width)
    if len(parts) > 1 and names:
        named = [[f"{name}: {row[0]}", *row[1:]] for name, row in zip(names, cells, strict=False)]
        cells = [*named, *cells[len(named) :]]
        headings, widths, parts = _laid_out(columns, cells, width)
    return "\n\n".join(
        tabulate(
            [[row[index] for index in part] for row in cells],
            [headings[index] for index in part],
            "simple",
            colalign=["right" if columns[index].is_number else "left" for index in part],
            disable_numparse=True,
            maxcolwidths=[None if columns[index].is_number else widths[index] for index in part] if cells else None,
        )
        for part in parts
    )


def _laid_out(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int
) -> tuple[list[str], list[int], list[list[int]]]:
    """Headings, the width of each column, and the columns of each part."""
    headings, widest = _headings(columns, cells)
    if not width or not cells:
        return headings, widest, [[*range(len(widest))]]
    widths = _narrowed(widest, [not column.is_number for column in columns], width)
    parts = _parts(widths, width)
    for part in parts:
        for index in part[1:]:  # what the other parts took over is free here
            free = width - _total([widths[other] for other in part])
            widths[index] += max(0, min(free, widest[index] - widths[index]))
    return headings, widths, parts


def _headings(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> tuple[list[str], list[int]]:
    """Headings, broken where they are wider than their cells, and the width of each column."""
    widest = [max((len(row[index]) for row in cells), default=0) for index in range(len(columns))]
    headings = [
        textwrap.fill(column.heading, max(least, 9), break_long_words=False)
        for column, least in zip(columns, widest, strict=True)
    ]
    # tabulate gives a heading MIN_PADDING more than its letters
    return headings, [
        max(least, *(len(line) + 2 for line in heading.split("\n"))) for heading, least in zip(headings, widest, strict=True)
    ]


def _narrowed(widths: Sequence[int], is_text: Sequence[bool], width: int) -> list[int]:
    """Let columns of texts, the widest first, give way to 24 characters when the table is wider than the terminal."""
    narrowed = list(widths)
    excess = _total(widths) - width
    for index in sorted((index for index, text in enumerate(is_text) if text), key=lambda index: -widths[index]):
        if excess > 0:
            narrowed[index] = min(widths[index], max(LEAST_WIDTH, widths[index] - excess))
            excess -= widths[index] - narrowed[index]
    return narrowed


def _parts(widths: Sequence[int], width: int) -> list[list[int]]:
    """Columns that fit beside the first one, which every part begins with."""
    parts = [[0]]
    for index in range(1, len(widths)):
        if len(parts[-1]) > 1 and _total([widths[i] for i in (*parts[-1], index)]) > width:
            parts.append([0])
        parts[-1].append(index)
    return parts


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)
