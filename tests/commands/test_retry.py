"""`hpcnas failures` by cause, and `hpcnas retry` of single ones, of a cause, of all."""

from pathlib import Path

import pytest

from hpcnas.cli import main
from hpcnas.config import RecipeConfig, RunConfig, SearchConfig
from hpcnas.head.create import create_run
from hpcnas.population import open_store
from hpcnas.population.queries import Population
from hpcnas.records import Failure, FailureKind, OffspringRecord, State, WorkerInfo
from hpcnas.run_folder import RunFolder

# Deterministic ones, after one of which a genotype is given up.
FAILURES = (
    Failure(FailureKind.TOO_LARGE, "needs 31.5 GB of 16 GB", "Traceback of the first"),
    Failure(FailureKind.BUILD, "no such operation", "Traceback of the second"),
    Failure(FailureKind.TOO_LARGE, "needs 48 GB of 16 GB", "Traceback of the third"),
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Three genotypes, each failed at once."""
    folder = RunFolder(tmp_path / "run")
    config = RunConfig(search=SearchConfig(steps=9, population=9), recipe=RecipeConfig(fitness="synthetic", repeats=1))
    create_run(folder, config)
    store = open_store(folder, config)
    store.begin_epoch()
    store.add([OffspringRecord(f"digest{number}", "{}", None, "", 100) for number in range(3)])
    store.join(WorkerInfo("w", "host", 1))
    for number, failure in enumerate(FAILURES):
        lease = store.claim("w", f"c{number}").lease
        assert lease is not None
        store.fail(lease.individual_id, lease.token, failure)
    store.close()
    return folder


def failed(folder: RunFolder) -> list[int]:
    with Population.open(folder) as population:
        return [one.id for one in population.individuals(State.FAILED)]


def test_failures_are_grouped_by_cause_the_most_frequent_first(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["failures", "--run", str(run.path)]) == 0
    first, second, last = capsys.readouterr().out.strip().split("\n\n")
    lines = first.splitlines()
    assert lines[0] == "too-large, 2 attempts: needs 48 GB of 16 GB"
    assert [line.split(" on ")[0] for line in lines[1:3]] == ["  genotype 1, attempt 1", "  genotype 3, attempt 1"]
    assert lines[3:] == ["    Traceback of the third"]
    assert second.startswith("build, 1 attempt: no such operation\n  genotype 2, attempt 1 on host at ")
    assert last.startswith("3 genotypes given up (build: 2; too-large: 1, 3); ")
    assert main(["failures", "--brief", "--run", str(run.path)]) == 0
    assert "Traceback" not in capsys.readouterr().out


def test_an_error_of_several_lines_heads_its_attempts_in_one(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retry", "2", "--run", str(run.path)]) == 0
    store = open_store(run, RunConfig())
    store.begin_epoch()
    store.join(WorkerInfo("v", "host", 1))
    lease = store.claim("v", "again").lease
    assert lease is not None
    store.fail(lease.individual_id, lease.token, Failure(FailureKind.BUILD, "size mismatch:\n  (3, 4)", "ValueError"))
    store.close()
    assert main(["failures", "--run", str(run.path)]) == 0
    assert "build, 1 attempt: size mismatch: (3, 4)\n  genotype 2, attempt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--all"], []),
        (["--cause", "too-large"], [2]),
        (["--cause", "48 gb"], [1, 2]),
        (["--cause", "NO SUCH OPERATION"], [1, 3]),
        (["1", "2"], [3]),
    ],
)
def test_retry_takes_ids_or_a_cause_or_all(run: RunFolder, options: list[str], left: list[int]) -> None:
    assert main(["retry", *options, "--run", str(run.path)]) == 0
    assert failed(run) == left


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([], "needs either ids of failed genotypes, or --all, or --cause TEXT"),
        (["1", "--all"], "needs either"),
        (["--all", "--cause", "x"], "needs either"),
        (["--cause", "melted"], "has no failed genotype with 'melted' in its reason or in an error"),
        (["1", "7"], "genotype 7 is not failed"),
    ],
)
def test_a_wrong_retry_changes_nothing(
    run: RunFolder, options: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["retry", *options, "--run", str(run.path)]) == 2
    assert why in capsys.readouterr().err
    assert failed(run) == [1, 2, 3]


def test_a_running_head_is_asked_for_each(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    from hpcnas.system.lock_file import head_lock

    lock = head_lock(run.lock)
    lock.acquire()
    try:
        assert main(["retry", "--all", "--run", str(run.path)]) == 0
    finally:
        lock.release()
    assert capsys.readouterr().out.count("asked the head") == 3
    assert sorted(path.name for path in run.requests.iterdir()) == ["retry-1", "retry-2", "retry-3"]
