import sqlite3
from pathlib import Path

import pytest

from hpcnas.config_file import config_toml
from hpcnas.errors import DamagedRunError, UsageError
from hpcnas.population.queries import Population
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.records import Failure, FailureKind, Fitness, OffspringRecord, State, Verdict, WorkerInfo
from hpcnas.report.read_run import read_run, read_runs, unique_names
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.presets import PUBLISHED
from hpcnas.run_folder import RunFolder
from tests.report.populations import make_run


def test_rows_are_what_a_store_wrote(tmp_path, make_rows, make_finals):
    """Claimed, recorded, failed and finished through the store itself; one genotype waits still."""
    config = make_rows(steps=3).config
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.config.write_text(config_toml(config))
    store = SQLiteStore.create(folder, config)
    store.begin_epoch()
    text = genotype_to_json(PUBLISHED)
    store.add([OffspringRecord(f"{k:064x}", text, None, "", 1000 + k) for k in range(3)])
    store.join(WorkerInfo("w", "host", 1, "cpu"))
    first = store.claim("w", "claim 1").lease
    for repeat, accuracy in enumerate((0.5, 0.6, 0.7, 0.8)):
        assert store.record(first.individual_id, first.token, Fitness(repeat, accuracy, 1, 5, 2.0, "cpu")) is Verdict.OK
    second = store.claim("w", "claim 2").lease
    store.fail(second.individual_id, second.token, Failure(FailureKind.BUILD, "too wide"))
    store.record_final(make_finals(1, (5.0,))[0])
    store.close()

    run = read_run(folder, "run")
    (row,) = run.evaluations
    assert (row.id, row.parent_id, row.parameters, row.seconds) == (1, None, 1000, 8.0)
    assert row.fitness.mean == pytest.approx(0.65)
    assert row.fitness.n == 4
    assert [attempt.outcome for attempt in run.attempts] == ["evaluated", "build"]
    assert [(one.id, one.attempts, one.reason) for one in run.failed_permanently] == [(2, 1, "build: too wide")]
    assert run.genotypes == {1: text, 2: text}, "of what is evaluated or failed"
    assert run.run_id == (folder.path / "run.id").read_text().split()[0]
    assert run.finals[0].error_top1 == 5.0
    assert (run.counts.evaluated, run.counts.failed, run.counts.queued) == (1, 1, 1)
    assert run.seconds is not None


def test_reading_changes_nothing(tmp_path):
    folder = make_run(tmp_path / "run", 30)
    before = folder.database.read_bytes()
    read_run(folder, "run")
    assert folder.database.read_bytes() == before


def test_the_best_is_the_stores_best(tmp_path):
    folder = make_run(tmp_path / "run", 200)
    with Population.open(folder) as population:
        best = population.best()
        evaluated = population.individuals(State.EVALUATED)
    run = read_run(folder, "run")
    assert run.best.id == best.id
    assert [row.id for row in run.evaluations] == [row.id for row in evaluated]


def test_names_tell_runs_apart():
    paths = [Path("/a/x/run"), Path("/a/y/run"), Path("/b/other")]
    assert unique_names(paths) == ["x/run", "y/run", "b/other"]
    assert unique_names([Path("/a/one"), Path("/a/two")]) == ["one", "two"]
    assert unique_names([Path("/a/one"), Path("/a/one")]) == ["/a/one", "/a/one"]


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        read_runs([RunFolder(tmp_path)])


def test_a_damaged_database_is_said_to_be_damaged(tmp_path):
    folder = make_run(tmp_path / "run", 5)
    folder.database.write_text("no database")
    with pytest.raises(DamagedRunError):
        read_run(folder, "run")


def test_a_database_that_is_written_to_is_read(tmp_path):
    """The head holds a write transaction open."""
    folder = make_run(tmp_path / "run", 5)
    writer = sqlite3.connect(folder.database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert len(read_run(folder, "run").evaluations) == 5
    writer.close()
