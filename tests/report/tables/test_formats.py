import csv
import io
import json

from hpcnas.report.quoting import latex_escape
from hpcnas.report.tables.formats import as_csv, as_json, as_latex, as_markdown
from hpcnas.report.tables.formatting import Spread, TopErrors
from hpcnas.report.tables.table import Column, ColumnKind, Row, Table

HOSTILE = r"a|b_c & 50% \textbf{x} <script> $1 #2 ~ ^"
COLUMNS = (
    Column("name", "name"),
    Column("error", "test error (%)", ColumnKind.SPREAD),
    Column("imagenet", "top-1/top-5", ColumnKind.ERRORS),
    Column("parameters", "parameters", ColumnKind.PARAMETERS),
    Column("hours", "GPU-hours", ColumnKind.HOURS),
)
TABLE = Table(
    "table1",
    "A table",
    COLUMNS,
    (
        Row(
            {"name": "paper", "error": Spread(3.75, 0.12, 5), "imagenet": TopErrors(20.3, 5.2), "parameters": 15_700_000}, True
        ),
        Row({"name": HOSTILE, "hours": 12.34}),
    ),
    ("a note",),
)


def test_missing_cells_are_dashes():
    assert TABLE.cells(TABLE.rows[1]) == [HOSTILE, "-", "-", "-", "12.3"]
    assert as_latex([TABLE]).count("-- & -- & --") == 1


def test_latex_is_booktabs_and_escapes_what_comes_from_a_run():
    latex = as_latex([TABLE])
    assert latex.count(r"\toprule") == latex.count(r"\midrule") == latex.count(r"\bottomrule") == 1
    assert r"3.75 $\pm$ 0.12 (5)" in latex
    assert r"a\textbar{}b\_c \& 50\% \textbackslash{}textbf\{x\} \textless{}script\textgreater{}" in latex
    assert r"\textgreater{} \$1 \#2 \textasciitilde{} \textasciicircum{}" in latex
    assert latex_escape("plain") == "plain"
    assert r"\caption{Searches. a note.}" in as_latex([Table("table1", "Table 1. Searches", COLUMNS, (), ("a note",))])


def test_markdown_escapes_what_would_be_markup():
    line = next(line for line in as_markdown([TABLE]).splitlines() if "script" in line)
    assert r"a\|b\_c &amp; 50% \\textbf{x} &lt;script>" in line
    assert line.replace(r"\|", "").count("|") == len(COLUMNS) + 1


def test_csv_keeps_numbers_whole_and_disarms_formulas():
    """Spreads and error pairs take a column each; a missing cell is empty; a text never begins like a formula."""
    table = Table("t", "T", COLUMNS, (*TABLE.rows, Row({"name": "=1+1"})))
    paper, own, formula = csv.DictReader(io.StringIO(as_csv([table])))
    assert (paper["error_mean"], paper["error_std"], paper["error_n"]) == ("3.75", "0.12", "5")
    assert (paper["imagenet_top1"], paper["imagenet_top5"], paper["published"]) == ("20.3", "5.2", "1")
    assert (own["error_mean"], own["hours"], own["name"], own["published"]) == ("", "12.34", HOSTILE, "0")
    assert formula["name"] == "'=1+1"


def test_json_has_a_list_of_rows_for_each_table():
    values = json.loads(as_json([TABLE]))
    assert list(values) == ["table1"]
    assert values["table1"][0]["error"] == {"mean": 3.75, "std": 0.12, "n": 5}
    assert values["table1"][1] == {
        "published": False,
        "name": HOSTILE,
        "error": None,
        "imagenet": None,
        "parameters": None,
        "hours": 12.34,
    }
