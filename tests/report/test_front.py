"""The front of accuracy against size: by its definition, on the command line, and as genotypes to train."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcnas.cli import main
from hpcnas.population.queries import Population
from hpcnas.report.front import front

Row = tuple[int, int, int]  # id, size, fitness


def _beats(one: Row, other: Row) -> bool:
    smaller, fitter = one[1] <= other[1], one[2] >= other[2]
    return smaller and fitter and (one[1:] != other[1:] or one[0] < other[0])


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=25))
def test_on_the_front_is_what_no_other_beats(points: list[tuple[int, int]]) -> None:
    rows = [(number, size, fitness) for number, (size, fitness) in enumerate(points)]
    found = front(rows, lambda row: row[1], lambda row: row[2])
    assert set(found) == {row for row in rows if not any(_beats(other, row) for other in rows)}
    assert [row[1] for row in found] == sorted(row[1] for row in found)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("front") / "run"
    arguments = ["--preset", "smoke", "--cluster", "debug", "--workers", "1", "--fitness", "synthetic", "--steps", "16"]
    assert main(["head", *arguments, "--run", str(folder)]) == 0
    return folder


def test_the_population_shows_its_front_by_size(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["population", "--run", str(run), "--front", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    with Population.open(run) as population:
        rows = population.individuals()
    expected = [
        one.id
        for one in rows
        if not any(_beats((other.id, other.parameters, other.fitness), (one.id, one.parameters, one.fitness)) for other in rows)  # type: ignore[arg-type]
    ]
    assert sorted(one["id"] for one in shown) == expected
    assert [one["parameters"] for one in shown] == sorted(one["parameters"] for one in shown)


def test_the_front_by_multiply_adds_is_that_of_what_count_says(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--by macs` beats by multiply-adds; each row names both sizes."""
    assert main(["population", "--run", str(run), "--front", "--by", "macs", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    counted = {}
    with Population.open(run) as population:
        rows = population.individuals()
    for one in rows:
        assert main(["count", str(one.id), "--run", str(run), "--model", "small", "--json"]) == 0
        counted[one.id] = json.loads(capsys.readouterr().out)["macs"]
    assert {one["id"]: one["macs"] for one in shown} == {one["id"]: counted[one["id"]] for one in shown}
    points = [(one.id, counted[one.id], one.fitness) for one in rows]
    assert [one["id"] for one in shown] == [
        row[0]
        for row in sorted(points, key=lambda row: row[1])
        if not any(_beats(other, row) for other in points)  # type: ignore[arg-type]
    ]
    assert main(["population", "--run", str(run), "--front"]) == 0
    assert {"parameters", "MACs"} <= set(capsys.readouterr().out.splitlines()[0].split())


def test_a_size_without_a_front_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["population", "--run", str(run), "--by", "macs"]) == 2
    assert "give --front too" in capsys.readouterr().err


def test_the_report_has_the_front_as_a_figure(run: Path, tmp_path: Path) -> None:
    assert main(["report", "--run", str(run), "--figures", str(tmp_path)]) == 0
    lines = (tmp_path / "front.csv").read_text().splitlines()
    assert lines[0] == "run,id,parameters,macs,fitness_percent,is_on_front,is_on_front_by_macs"
    assert len(lines) == 17
    assert {line[-1] for line in lines[1:]} == {line[-3] for line in lines[1:]} == {"0", "1"}
    assert (tmp_path / "front.svg").stat().st_size > 1000


def test_the_front_is_trained_at_full_size(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["population", "--run", str(run), "--front", "--format", "json"]) == 0
    digests = {one["digest"] for one in json.loads(capsys.readouterr().out)}
    small = ["--dataset", "digits", "--channels", "2", "--cells", "1", "--steps", "1", "--batch", "8", "--runs", "1"]
    assert main(["final", "front", "--run", str(run), *small]) == 0
    with Population.open(run) as population:
        assert {final.digest for final in population.finals()} == digests
