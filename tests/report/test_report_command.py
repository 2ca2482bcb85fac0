import csv
import io
import json
import shutil
import time

import pytest

from hpcnas.cli import main
from tests.report.populations import make_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "evolution", 300, population=50).path


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "toy", 60, population=20, fitness="synthetic").path


def test_text_shows_the_search_and_the_papers_tables(folder, toy, capsys):
    assert main(["report", str(folder), str(toy)]) == 0
    text = capsys.readouterr().out
    for title in ("Searches", "Table 1", "Table 2", "Table 3"):
        assert f"\n{title}" in f"\n{text}"
    assert "toy (synthetic)" in text
    assert "published" in text


def test_a_pipe_gets_whole_cells_whatever_the_shell_says_of_its_window(toy, tmp_path, capsys, monkeypatch):
    """Some shells export COLUMNS, the width of a terminal that this output does not go to."""
    run = shutil.copytree(toy, tmp_path / "a-name-longer-than-24-letters")
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["report", str(run)]) == 0
    assert "a-name-longer-than-24-letters (synthetic)  hierarchical" in capsys.readouterr().out


def test_json_has_the_documented_shape(folder, capsys):
    assert main(["report", "--run", str(folder), "--format", "json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert list(values) == ["runs", "table1", "table2", "table3"]
    assert values["runs"][0]["evaluated"] == 300
    assert values["table1"][-1]["fitness"]["n"] == 4


def test_csv_is_one_table_for_a_reader_of_csv(folder, toy, capsys):
    assert main(["report", str(folder), str(toy), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["table"] for row in rows} == {"runs", "table1", "table2", "table3"}
    assert sum(row["table"] == "runs" for row in rows) == 2


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_other_formats_are_written(folder, capsys, form):
    assert main(["report", str(folder), "--format", form]) == 0
    assert "evolution" in capsys.readouterr().out


def test_the_page_is_written_into_the_run_folder(tmp_path, capsys):
    folder = make_run(tmp_path / "run", 20).path
    assert main(["report", str(folder), "--format", "html"]) == 0
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert main(["report", str(folder), "--format", "html"]) == 0, "a report may be renewed"
    assert "report.html" in capsys.readouterr().err


def test_a_page_replaces_none_of_other_runs_and_no_other_file(tmp_path, capsys):
    """But with --force; with --out it goes elsewhere."""
    one, other = (make_run(tmp_path / name, 20).path for name in ("one", "other"))
    assert main(["report", str(one), str(other), "--format", "html"]) == 0
    both = (one / "report.html").read_text()
    capsys.readouterr()
    assert main(["report", str(one), "--format", "html"]) == 2
    assert "report.html is no page of one; give --out, or --force to replace it" in capsys.readouterr().err
    assert main(["report", str(one), "--format", "html", "--out", str(tmp_path / "one.html")]) == 0
    assert (one / "report.html").read_text() == both
    assert main(["report", str(one), "--format", "html", "--force"]) == 0
    assert (one / "report.html").read_text() != both


def test_all_runs_of_a_folder_are_compared_in_one_table(tmp_path, capsys):
    """What is no run is left out, and said so; the table has the settings in which they differ, and no others."""
    search = ["head", "--preset", "smoke", "--cluster", "debug", "--workers", "1", "--fitness", "synthetic", "--steps", "6"]
    for name, more in (("a", []), ("b", ["--seed", "3"]), ("c", ["--learning-rate", "0.05", "--search", "random"])):
        assert main([*search, *more, "--run", str(tmp_path / name)]) == 0
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    capsys.readouterr()
    everything = sorted(map(str, tmp_path.iterdir()))
    assert main(["report", *everything, "--format", "json"]) == 0
    shown = capsys.readouterr()
    rows = json.loads(shown.out)["runs"]
    assert [row["run"] for row in rows] == ["a (synthetic)", "b (synthetic)", "c (synthetic)"]
    assert [row["settings"] for row in rows] == [
        "--seed 0, --learning-rate 0.1",
        "--seed 3, --learning-rate 0.1",
        "--seed 0, --learning-rate 0.05",
    ]
    assert shown.err == "left out, as they hold no run: empty, notes.txt\n"
    assert main(["report", str(tmp_path / "empty"), str(tmp_path / "notes.txt")]) == 2


def test_figures_and_file_are_written_where_asked(folder, tmp_path, capsys):
    out = tmp_path / "new" / "report.md"
    assert main(["report", str(folder), "--format", "markdown", "--out", str(out), "--figures", str(tmp_path / "figures")]) == 0
    assert out.read_text().startswith("### Searches")
    assert (tmp_path / "figures" / "figure3.svg").exists()
    assert capsys.readouterr().out == ""


def test_a_file_that_is_there_stays(folder, tmp_path, capsys):
    out = tmp_path / "mine.txt"
    out.write_text("mine")
    assert main(["report", str(folder), "--out", str(out)]) == 2
    assert out.read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert main(["report", str(folder), "--out", str(out), "--force"]) == 0
    assert out.read_text() != "mine"


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path, capsys):
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "nowhere holds no run" in error


def test_an_unknown_format_names_the_known_ones(folder, capsys):
    assert main(["report", str(folder), "--format", "word"]) == 2
    assert "markdown" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_one_sentence(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["report", str(folder), "--out", str(tmp_path / "file" / "report.txt")]) == 2
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.serial
@pytest.mark.parametrize(("individuals", "limit_s"), [(7_000, 2.0), (100_000, 10.0)])
def test_large_populations_are_reported_quickly(tmp_path, capsys, individuals, limit_s):
    """Processor time of the command, start of Python aside: the promise of docs/reading-results.md."""
    folder = make_run(tmp_path / "large", individuals, workers=200).path
    began = time.process_time()
    assert main(["report", str(folder)]) == 0
    assert time.process_time() - began < limit_s
    assert f"{individuals:,}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("r.md", "### Searches"),
        ("r.TEX", "% needs"),
        ("r.csv", "table,published,"),
        ("r.json", "{"),
        ("r.html", "<!"),
        ("r.txt", "Searches\n"),
        ("r", "Searches\n"),
    ],
)
def test_the_ending_of_the_file_says_what_is_written(folder, tmp_path, name, begins):
    assert main(["report", str(folder), "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_text().startswith(begins)


def test_a_format_that_is_given_beats_the_ending(folder, tmp_path):
    assert main(["report", str(folder), "--out", str(tmp_path / "r.pdf"), "--format", "csv"]) == 0
    assert (tmp_path / "r.pdf").read_text().startswith("table,published,")


def test_an_ending_that_no_report_has_is_refused_before_anything_is_written(folder, tmp_path, capsys):
    assert main(["report", str(folder), "--out", str(tmp_path / "r.pdf")]) == 2
    assert (
        ".pdf is no ending of a report; end it in .txt, .md, .tex, .csv, .json, .html, or give --format"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "r.pdf").exists()
