"""Which tasks of squeue's answer are ours, and which of them are still to come."""

from pathlib import Path

import pytest

from hpcnas.cluster.ledger import Submission
from hpcnas.cluster.slurm.queries import QueuedTask, gpu_seconds, own_tasks


def task(name: str, comment: str, job_name: str = "hpcnas", state: str = "RUNNING", reason: str = "None") -> QueuedTask:
    return QueuedTask(name, state, "n1", reason, 1.0, job_name, comment)


def test_tasks_are_known_by_their_comment_and_where_it_was_rewritten_by_id_and_name() -> None:
    entries = [Submission("aaa", "slurm", 2, job="7")]
    mine = [task("7_0", "hpcnas-1/aaa"), task("7_1", "project x"), task("9_0", "hpcnas-1/aaa")]
    others = [task("7_0", "hpcnas-2/bbb"), task("7_0", "", job_name="mine"), task("8_0", "project x")]
    assert own_tasks([*mine, *others], entries) == mine


def test_a_job_that_can_only_be_released_by_hand_is_not_waited_for() -> None:
    assert not task("1_0", "", state="PENDING", reason="launch failed requeued held").is_active
    assert task("1_0", "", state="PENDING", reason="JobHeldUser").is_active
    assert not task("1_0", "", state="NODE_FAIL").is_active


@pytest.mark.slow
def test_the_cost_of_more_jobs_than_one_command_may_name_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after weeks of workers of a few hours each: an argument has at most 128 KiB."""
    sacct = tmp_path / "sacct"
    script = "for word; do case $word in --jobs=*) echo $word | tr , '\\n' | sed 's,.*,10|gres/gpu=2,';; esac; done"
    sacct.write_text(f"#!/bin/sh\n{script}\n")
    sacct.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpu_seconds(str(12_345_678 + number) for number in range(20_001)) == 20 * 20_001
    assert gpu_seconds([]) == 0.0
