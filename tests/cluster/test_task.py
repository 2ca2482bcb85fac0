"""Who a worker is and how long it may run, from what Slurm puts into its environment."""

from pathlib import Path

import pytest

from hpcnas.cluster.task import Deadline, duration_s, this_task


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400.0),
        ("5:10", 310.0),
        ("01:00:00", 3600.0),
        ("1-02", 93600.0),
        ("1-02:30", 95400.0),
        ("2-00:00:01", 172801.0),
        ("UNLIMITED", None),
        ("NONE", None),
        ("INVALID", None),
        ("", None),
        ("soon", None),
        ("1:2:3:4", None),
    ],
)
def test_slurms_times_are_read(text: str, seconds: float | None) -> None:
    assert duration_s(text) == seconds


def test_a_task_of_an_array_is_named_as_squeue_names_it() -> None:
    task = this_task(
        {
            "SLURM_JOB_ID": "17",
            "SLURM_ARRAY_JOB_ID": "12",
            "SLURM_ARRAY_TASK_ID": "4",
            "SLURMD_NODENAME": "n7",
            "SLURM_RESTART_COUNT": "2",
        }
    )
    assert (task.host, task.job, task.name, task.restarts) == ("n7", "17", "12_4", 2)


def test_outside_of_slurm_a_worker_has_no_job_and_no_limit() -> None:
    task = this_task({})
    assert (task.job, task.name, task.restarts) == ("", "", 0)
    assert Deadline.of_this_task({}).left_s() is None


def test_the_limit_of_the_batch_script_counts_from_the_start_of_the_process() -> None:
    left = Deadline.of_this_task({"SLURM_JOB_ID": "1", "HPCNAS_TIME_LIMIT_S": "86400"}).left_s()
    assert left is not None
    assert 80000 < left < 86400, "less what this process is old"


def test_slurms_own_times_are_taken_as_a_difference() -> None:
    """A node whose clock is years off has the same time left."""
    of_its_own = {"SLURM_JOB_ID": "1", "SUBMITIT_EXECUTOR": "slurm"}
    left = Deadline.of_this_task({**of_its_own, "SLURM_JOB_START_TIME": "100", "SLURM_JOB_END_TIME": "86500"}).left_s()
    assert left is not None
    assert 80000 < left < 86400


@pytest.mark.slow
def test_without_a_word_from_slurm_there_is_no_known_limit(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Deadline.of_this_task({"SLURM_JOB_ID": "1"}).left_s() is None


@pytest.mark.slow
def test_time_left_of_the_last_task_of_an_array_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id is the array's, of which squeue shows every task."""
    squeue = tmp_path / "squeue"
    squeue.write_text('#!/bin/sh\ncase "$*" in *--jobs=12_4*) echo 10:00 ;; *) printf "10:00\\n20:00\\n" ;; esac\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    environment = {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "4"}
    left = Deadline.of_this_task(environment).left_s()
    assert left is not None
    assert 500 < left <= 600


@pytest.mark.slow
@pytest.mark.parametrize("times", [{}, {"SLURM_JOB_START_TIME": "100", "SLURM_JOB_END_TIME": "86500"}])
def test_a_local_worker_inside_a_job_has_the_time_that_is_left_to_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: dict[str, str]
) -> None:
    """It begins long after the job; and Slurm is asked for the job, not for the one whose number is that of the process."""
    squeue = tmp_path / "squeue"
    squeue.write_text('#!/bin/sh\ncase "$*" in *--jobs=77*) echo 10:00 ;; *) echo 5-00:00:00 ;; esac\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    local = {"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "4711"}
    left = Deadline.of_this_task({"SLURM_JOB_ID": "77", **local, **times}).left_s()
    assert left is not None
    assert 500 < left <= 600
