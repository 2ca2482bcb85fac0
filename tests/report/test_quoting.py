"""Texts of a run are data in every language that they are written in."""

import csv
import io
import re
import shutil
import subprocess

import pytest

from hpcnas.records import Individual, State
from hpcnas.report.charts.chart import Chart
from hpcnas.report.leaderboard import population_csv, population_text
from hpcnas.report.lineage import lineage, lineage_dot
from hpcnas.report.quoting import latex_escape, printable
from hpcnas.report.tables.formats import as_latex, as_markdown
from hpcnas.report.tables.table import Column, Row, Table
from hpcnas.report.tables.text import as_text

FORMULA = '=HYPERLINK("http://x","y")'


def individual(individual_id: int, *, parent: int | None = None, mutation: str = "", reason: str = "") -> Individual:
    return Individual(
        individual_id, "d", "{}", parent, mutation, 1, 9, State.FAILED, 1, "w", 0, 0, 0, reason, 1, (), 1.0
    )  # fmt: skip


def table_of(name: str) -> Table:
    return Table("runs", "Runs", (Column("name", "name"),), (Row({"name": name}),))


def test_a_reason_is_no_formula_in_the_populations_csv():
    (row,) = csv.DictReader(io.StringIO(population_csv([individual(1, reason=FORMULA)])))
    assert row["reason"] == "'" + FORMULA


@pytest.mark.parametrize("start", "=+-@\t\n")
def test_a_runs_name_is_no_formula_in_a_charts_csv(start):
    text = Chart("c", "t", "c", (), ("run", "gain"), ((start + "1", -0.5),)).csv()
    assert list(csv.reader(io.StringIO(text, newline="")))[1] == ["'" + start + "1", "-0.5"]


def test_a_carriage_return_in_a_reason_begins_no_row():
    text = population_csv([individual(1, reason="a\r=1+1")])
    assert [row["reason"] for row in csv.DictReader(io.StringIO(text, newline=""))] == ["a\n=1+1"]


def test_a_mutations_text_stays_inside_its_dot_label():
    family = {1: individual(1), 2: individual(2, parent=1, mutation='a "b" \\N &lt; c\nd')}
    dot = lineage_dot(lineage(2, family.__getitem__))
    assert r'i1 -> i2 [label="a \"b\" \\N &amp;lt; c\nd (same network)"];' in dot


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("dot") is None, reason="needs graphviz")
def test_graphviz_shows_a_mutations_text_as_it_is():
    family = {1: individual(1), 2: individual(2, parent=1, mutation='a "b" \\N &lt;')}
    dot = lineage_dot(lineage(2, family.__getitem__))
    done = subprocess.run(["dot", "-Tplain"], input=dot, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    svg = subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, text=True, check=True).stdout
    shown = re.sub(r"&#160;", " ", svg).replace("&#45;", "-")
    assert "a &quot;b&quot; \\N &amp;lt; (same network)" in shown


@pytest.mark.parametrize("start", "[*")
def test_a_row_of_latex_is_no_argument_of_the_line_break_before_it(start):
    assert rf"    {{{start}}}x \\" in as_latex([table_of(start + "x")])


def test_latex_gets_no_control_characters_and_no_letters_that_it_prints_as_others():
    assert latex_escape("a\x00b\x1b[1m\r\td") == "a b {[}1m  d"
    assert latex_escape("<|>--") == r"\textless{}\textbar{}\textgreater{}-{}-"


def test_markdown_gets_one_line_and_no_mathematics():
    (line,) = (line for line in as_markdown([table_of("a\rb $x$")]).splitlines() if "x" in line)
    assert line == r"| a b \$x\$ |"


def test_a_terminal_gets_no_commands_of_a_run():
    failed = individual(1, reason="\x1b]0;owned\x07")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", population_text([failed]) + as_text([table_of("a\x1b[2J")]))


def test_a_traceback_keeps_its_lines_and_loses_its_commands():
    assert printable("a\n\tb\x1b[2J\x9b") == "a\n\tb?[2J?"
