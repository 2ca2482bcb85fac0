from dataclasses import replace

import pytest

from hpcnas.report.tables.formatting import Spread, TopErrors
from hpcnas.report.tables.paper import places, table1, table2, table3
from hpcnas.report.tables.search import search_table
from hpcnas.representation.canonical import digest
from hpcnas.representation.presets import PUBLISHED


def own(table):
    return [row.values for row in table.rows if not row.is_published]


def test_published_rows_are_the_papers_and_marked():
    """Spot values of paper.md section 6; every published row says so and has no fitness of ours."""
    one, two, three = table1([]), table2([]), table3([])
    assert [len(table.rows) for table in (one, two, three)] == [8, 14, 5]
    rows = {row.values["search"]: row.values for row in one.rows}
    assert rows["Hierarchical, evolution (7,000 samples)"]["cifar10"] == Spread(3.75, 0.12, 5)
    assert rows["Flat, parameter-constrained, evolution (7,000 samples)"]["imagenet"] == TopErrors(21.2, 5.8)
    assert rows["Flat, random architecture"]["gpu_hours"] is None
    assert {row.values["source"] for table in (one, two, three) for row in table.rows} == {"published"}
    assert any("not computed here" in note for note in one.notes)


def test_an_evolution_run_gives_the_papers_three_rows(make_rows):
    """The first genotype is the random architecture; the best of the initial population is random search of that size."""
    run = make_rows(steps=300, population=50)
    architecture, search, evolution = places(run)
    assert (architecture.search, architecture.genotypes, architecture.found.id) == ("random architecture", 1, 1)
    assert (search.search, search.genotypes) == ("random search", 50)
    assert search.found == max(run.evaluations[:50], key=lambda row: row.fitness.mean)
    assert (evolution.search, evolution.genotypes, evolution.found) == ("evolution", 300, run.best)


def test_an_unfinished_first_generation_is_no_evolution_yet(make_rows):
    run = make_rows(steps=30, population=50)
    assert [(place.search, place.genotypes) for place in places(run)] == [("random architecture", 1), ("random search", 30)]


def test_a_random_run_gives_random_search_at_both_sizes(make_rows):
    run = make_rows(steps=300, population=50, algorithm="random")
    assert [(place.search, place.genotypes) for place in places(run)][1:] == [("random search", 50), ("random search", 300)]


def test_a_run_without_evaluations_has_only_dashes(make_rows):
    run = make_rows(steps=0)
    assert places(run) == []
    (row,) = own(search_table([run]))
    assert row["fitness"] is None
    assert own(table2([run])) == []


def test_finals_stand_beside_the_published_errors(make_rows, make_finals):
    """n, mean and sample standard deviation; ImageNet's pair; the parameters are the CIFAR model's."""
    run = make_rows(steps=300)
    best = run.best.id
    imagenet = make_finals(best, (21.0,), model="imagenet", dataset="imagenet", error_top5=5.4, parameters=63_467_144)
    run = make_rows(steps=300, finals=(*imagenet, *make_finals(best, (3.8, 3.9, 4.0)), *make_finals(1, (5.0,))))
    first, _, evolution = own(table1([run]))
    assert first["cifar10"] == Spread(5.0, None, 1)
    assert evolution["cifar10"].mean == pytest.approx(3.9)
    assert evolution["cifar10"].std == pytest.approx(0.1)
    assert evolution["cifar10"].n == 3
    assert evolution["imagenet"] == TopErrors(21.0, 5.4, 1)
    assert evolution["parameters"] == 15_543_498
    assert own(table3([run]))[0]["imagenet"] == TopErrors(21.0, 5.4, 1)


def test_table1_shows_the_papers_width_and_table2_every_width(make_rows, make_finals):
    best = make_rows(steps=300).best.id
    run = make_rows(steps=300, finals=(*make_finals(best, (3.9,)), *make_finals(best, (3.6,), channels=128)))
    assert own(table1([run]))[-1]["cifar10"].mean == 3.9
    rows = [(row["model"].split(", ")[-1], row["cifar10"].mean) for row in own(table2([run]))]
    assert rows == [("c0 = 64", 3.9), ("c0 = 128", 3.6)]


def test_another_width_alone_is_said_in_the_row(make_rows, make_finals):
    best = make_rows(steps=300).best.id
    run = make_rows(steps=300, finals=make_finals(best, (8.0,), channels=16))
    assert own(table1([run]))[-1]["search"].endswith(", c0 = 16")


def test_another_data_set_gets_its_own_column_and_leaves_cifar10_empty(make_rows, make_finals):
    best = make_rows(steps=300).best.id
    run = make_rows(steps=300, finals=make_finals(best, (6.0, 6.2), dataset="fashion-mnist"))
    table = table1([run])
    assert "fashion-mnist test error (%)" in [column.heading for column in table.columns]
    row = own(table)[-1]
    assert row["error_fashion-mnist"].mean == pytest.approx(6.1)
    assert row.get("cifar10") is None


def test_trainings_of_the_published_cell_are_named(make_rows, make_finals):
    finals = make_finals(1, (3.8,), digest=digest(PUBLISHED), individual_id=None)
    assert "the published cell, c0 = 64" in [row["model"] for row in own(table2([make_rows(finals=finals)]))]


def test_synthetic_runs_say_so_wherever_they_stand(make_rows):
    run = make_rows("toy", fitness="synthetic:1")
    for table in (search_table([run]), table1([run]), table2([run])):
        assert any("toy: synthetic fitness: nothing was trained." in note for note in table.notes)
        assert all("toy (synthetic)" in (row.get("source"), row.get("run")) for row in own(table))


def test_costs_are_those_of_the_steps_that_count(make_rows):
    """Random search of the initial population is charged for its own attempts only, lost ones included."""
    run = make_rows(steps=300, population=50)
    seconds = sum(row.ended - row.started for row in run.attempts if row.individual_id <= 50)
    _, search, evolution = own(table1([run]))
    assert search["gpu_hours"] == pytest.approx(seconds / 3600)
    assert evolution["gpu_hours"] == run.gpu_hours() > search["gpu_hours"]
    assert search["wall_seconds"] < evolution["wall_seconds"]


def test_hours_without_a_gpu_are_said_to_be_none(make_rows):
    run = replace(make_rows("laptop"), devices=("cpu x 1",))
    assert any("laptop: no GPU" in note for note in search_table([run, make_rows("cluster")]).notes)
    assert not any("no GPU" in note for note in search_table([make_rows("cluster")]).notes)


def test_random_genotypes_of_fewer_mutations_than_the_papers_are_said(make_rows):
    """Such a run's random search is not the paper's."""
    run = make_rows("near")
    near = replace(run, config=replace(run.config, search=replace(run.config.search, initial_mutations=2)))
    says = "near: random genotypes are identity chains after 2 mutations (the paper: 1,000)."
    assert says in table1([near]).notes
    assert says not in table1([run]).notes


def test_shorter_trainings_than_the_papers_are_said(make_rows, make_finals):
    """Their errors do not compare with the published ones."""
    run = make_rows("short", finals=make_finals(1, (9.0,), details={"settings": {"steps": 2000}}))
    run = replace(run, config=replace(run.config, recipe=replace(run.config.recipe, train_steps=500)))
    notes = " ".join(table1([run]).notes)
    assert "short: small models trained for 500 steps, 4 times each (the paper: 5,000, 4)." in notes
    assert "short: cifar models trained for 2,000 steps (the paper: 80,000)." in notes
    assert "steps" not in " ".join(table1([make_rows(finals=make_finals(1, (4.0,)))]).notes)


def test_the_fitness_of_a_function_is_not_called_an_accuracy(make_rows):
    trained, mine = make_rows("trained"), make_rows("mine", fitness="mine:score")
    assert "accuracy" not in search_table([mine]).notes[0]
    assert all("validation accuracy" in search_table(runs).notes[0] for runs in ([trained], [trained, mine]))
