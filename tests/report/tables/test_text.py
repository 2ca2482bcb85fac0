"""Tables as text: every value, at any width of the terminal."""

import re

from hpcnas.report.tables.formats import as_markdown
from hpcnas.report.tables.formatting import Spread, TopErrors
from hpcnas.report.tables.table import Column, Row, Table
from hpcnas.report.tables.text import as_text
from tests.report.tables.test_formats import COLUMNS, TABLE


def test_text_shows_every_value_with_its_spread_and_number():
    text = as_text([TABLE])
    assert "3.75 ± 0.12 (5)" in text
    assert "20.3/5.2 (1)" in text
    assert "a note" in text


def test_text_gives_way_to_a_narrow_terminal():
    """The first column, names, is broken; no other is."""
    row = Row({"name": "a rather long name of a search that goes on and on", "error": Spread(3.75, 0.12, 5)})
    table = Table("t", "T", COLUMNS, (row,))
    assert max(map(len, as_text([table]).splitlines())) > 90
    narrow = as_text([table], 90)
    assert max(map(len, narrow.splitlines())) <= 90
    assert "3.75 ± 0.12 (5)" in narrow


def test_a_table_too_wide_for_a_terminal_comes_in_parts_with_every_value_once():
    """Each part fits and begins with the names, as the rows would have no head otherwise."""
    row = Row({"name": "evolution", "error": Spread(3.75, 0.12, 5), "imagenet": TopErrors(20.3, 5.2), "hours": 12.34})
    lines = as_text([Table("t", "T", COLUMNS, (row,))], 40).splitlines()
    assert max(map(len, lines)) <= 40
    assert sum(line.startswith("evolution") for line in lines) == sum(line.startswith("name") for line in lines) > 1
    text = "\n".join(lines)
    assert [text.count(value) for value in ("3.75 ± 0.12 (5)", "20.3/5.2 (1)", "12.3")] == [1, 1, 1]


def test_text_shows_own_rows_before_published_ones():
    text = as_text([TABLE])
    assert text.index("a|b_c") < text.index("paper ")
    markdown = as_markdown([TABLE])
    assert markdown.index("| paper ") < markdown.index("script"), "files keep the paper's order"


SOURCED = (*COLUMNS, Column("source", "source"))


def rows_of(*sources: str) -> tuple[Row, ...]:
    return (
        Row({"name": "the paper", "hours": 7000.0, "source": "published"}, is_published=True),
        *(Row({"name": "evolution", "error": Spread(3.75, 0.12, 5), "source": source}) for source in sources),
    )


def test_each_part_says_which_run_a_row_is_of_where_there_are_several():
    text = as_text([Table("t", "T", SOURCED, rows_of("first", "second"))], 50)
    parts = text.rstrip().split("\n\n")[1:]
    assert len(parts) > 2
    for part in parts:
        assert re.search(r"^first: evolution +\S.*\nsecond: evolution +\S.*\nthe paper ", part, re.MULTILINE)


def test_names_stay_as_they_are_for_one_run_and_where_the_table_fits():
    assert "first: " not in as_text([Table("t", "T", SOURCED, rows_of("first"))], 40)
    assert "first: " not in as_text([Table("t", "T", SOURCED, rows_of("first", "second"))], 200)
