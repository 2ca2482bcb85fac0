"""Tables as Markdown, LaTeX, CSV and JSON. Text is made in text.py, HTML in page.py."""

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

from hpcnas.report.quoting import csv_cell, latex_escape, markdown_escape
from hpcnas.report.tables.formatting import Spread, TopErrors
from hpcnas.report.tables.table import Column, ColumnKind, Row, Table, plain_value


def as_markdown(tables: Sequence[Table]) -> str:
    """GitHub's tables, with notes below each."""
    return "\n".join(_markdown_table(table) for table in tables)


def _markdown_table(table: Table) -> str:
    lines = [
        _markdown_line([column.heading for column in table.columns]),
        "|" + "|".join("---:" if column.is_number else "---" for column in table.columns) + "|",
        *(_markdown_line(table.cells(row)) for row in table.rows),
    ]
    notes = "".join(f"\n{markdown_escape(note)}\n" for note in table.notes)
    return f"### {markdown_escape(table.title)}\n\n" + "\n".join(lines) + f"\n{notes}"


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(markdown_escape(cell) for cell in cells) + " |"


def as_latex(tables: Sequence[Table]) -> str:
    r"""Tables for a paper with `\usepackage{booktabs}`; every text of the run is escaped."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(_latex_table(table) for table in tables)


def _latex_table(table: Table) -> str:
    align = "".join("r" if column.is_number else "l" for column in table.columns)
    headings = " & ".join(latex_escape(column.heading) for column in table.columns)
    body = "\n".join(" & ".join(_latex_cell(text) for text in table.cells(row)) + r" \\" for row in table.rows)
    title = re.sub(r"^Table \d+\. ", "", table.title)  # LaTeX numbers tables itself
    caption = " ".join(latex_escape(text if text.endswith(".") else text + ".") for text in (title, *table.notes))
    lines = (
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{caption}}}",
        rf"  \label{{tab:hpcnas-{table.name}}}",
        rf"  \begin{{tabular}}{{{align}}}",
        r"    \toprule",
        rf"    {headings} \\",
        r"    \midrule",
        *(f"    {line}" for line in body.splitlines()),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    )
    return "\n".join(lines) + "\n"


def _latex_cell(text: str) -> str:
    return "--" if text == "-" else latex_escape(text)


def as_csv(tables: Sequence[Table]) -> str:
    """One CSV of all tables: a column `table` first, numbers in full, spreads and errors in columns of their own.

    Cells that a table does not have, and missing ones, are empty, so that every reader takes the columns for numbers.
    """
    fields = list(dict.fromkeys(name for table in tables for column in table.columns for name in _csv_fields(column)))
    text = io.StringIO()
    writer = csv.DictWriter(text, ["table", "published", *fields], restval="", lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for row in table.rows:
            writer.writerow({"table": table.name, "published": int(row.is_published), **_csv_row(table, row)})
    return text.getvalue()


def _csv_fields(column: Column) -> list[str]:
    endings = {ColumnKind.SPREAD: ("mean", "std", "n"), ColumnKind.ERRORS: ("top1", "top5", "n")}.get(column.kind, ())
    return [f"{column.key}_{ending}" for ending in endings] or [column.key]


def _csv_row(table: Table, row: Row) -> dict[str, object]:
    cells: dict[str, object] = {}
    for column in table.columns:
        value = row.values.get(column.key)
        if isinstance(value, Spread):
            cells |= dict(zip(_csv_fields(column), (value.mean, value.std, value.n), strict=True))
        elif isinstance(value, TopErrors):
            cells |= dict(zip(_csv_fields(column), (value.top1, value.top5, value.n), strict=True))
        elif value is not None:
            cells[column.key] = csv_cell(value)
    return cells


def as_json(tables: Sequence[Table]) -> str:
    """`{"runs": [...], "table1": [...], "table2": [...], "table3": [...]}`: one list of row objects per table."""
    return json.dumps({table.name: [row_object(table, row) for row in table.rows] for table in tables}, indent=2) + "\n"


def row_object(table: Table, row: Row) -> dict[str, Any]:
    """A row as JSON: every column of the table, null where a cell is missing."""
    return {"published": row.is_published, **{column.key: plain_value(row.values.get(column.key)) for column in table.columns}}
