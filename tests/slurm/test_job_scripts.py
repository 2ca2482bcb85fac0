"""jobs/search.sh as a user submits it: the head is a job, which requeues itself at its time limit and goes on."""

import shutil
import sys
from pathlib import Path

import pytest

from hpcnas.population.queries import Population
from tests.slurm.starter import Cluster
from tests.slurm.test_search import assert_sound

JOBS = Path(__file__).parent.parent.parent / "jobs"


@pytest.mark.timeout(300)
def test_the_search_goes_on_after_its_jobs_time_limit(
    on_plain: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(JOBS, tmp_path / "jobs")
    environment = f"export PATH={Path(sys.executable).parent}:$PATH HPCNAS_PARTITION=gpu HPCNAS_CPUS=1\n"
    (tmp_path / "jobs/env.sh").write_text(environment)
    monkeypatch.chdir(tmp_path)
    # A minute of work for three workers: without copies, which are free, it cannot be done within one stretch.
    arguments = "--workers 3 --fitness synthetic:1 --repeats 1 --steps 180 --population 10 --duplicates redraw"
    given = {"HPCNAS_RUN": "mine", "HPCNAS_ARGS": arguments, "HPCNAS_SQUEUE_S": "5"}
    options = ("--time=1", "--signal=B:USR2@15", "--mem=500M", "--cpus-per-task=1")
    on_plain.run("env", *(f"{name}={value}" for name, value in given.items()), "sbatch", *options, "jobs/search.sh")

    def logs() -> str:
        return "".join(path.read_text() for path in tmp_path.glob("hpcnas-search-*.log"))

    on_plain.wait_until(lambda: "requeueing job" in logs(), "the job requeues itself", 100)
    on_plain.wait_until(lambda: "finished: 180 genotypes" in logs(), "the search ends in a later stretch", 150)
    assert_sound(tmp_path / "mine", 180)
    with Population.open(tmp_path / "mine") as population:
        heads = [event.details["epoch"] for event in population.events("head")]
    assert len(heads) >= 2, "another head of the same job went on"
    on_plain.wait_until(lambda: not on_plain.squeue(), "nothing is left", 30)


def test_a_search_that_is_a_task_of_an_array_requeues_itself_alone(on_plain: Cluster, tmp_path: Path) -> None:
    """Its id may be the array's own; a stand-in for hpcnas leaves as a head does near the time limit."""
    (tmp_path / "bin").mkdir()
    head = tmp_path / "bin/hpcnas"
    marks = f"{tmp_path}/started-$SLURM_ARRAY_TASK_ID"
    waits = "while true; do sleep 0.1; done"
    head.write_text(
        f'#!/bin/bash\ntrap "exit 140" USR2\necho x >> {marks}\n'
        f'[ "$SLURM_ARRAY_TASK_ID" = 0 ] || [ "${{SLURM_RESTART_COUNT:-0}}" = 1 ] || {waits}\n'
    )
    head.chmod(0o755)
    (tmp_path / "env.sh").write_text(f"export PATH={tmp_path}/bin:$PATH\n")
    options = ("--array=0-1%1", "--mem=100M", "--cpus-per-task=1", "--output=/dev/null", f"--chdir={tmp_path}")
    given = ("env", f"HPCNAS_JOBS={tmp_path}", "sbatch", "--parsable", *options, str(JOBS / "search.sh"))
    array = on_plain.run(*given).stdout.strip()
    on_plain.wait_until((tmp_path / "started-1").exists, "the last task has begun", 60)
    on_plain.run("scancel", "--batch", "--signal=USR2", f"{array}_1")
    on_plain.wait_until(lambda: not on_plain.squeue(), "the array is done", 90)
    assert (tmp_path / "started-0").read_text() == "x\n"
    assert (tmp_path / "started-1").read_text() == "x\nx\n"
