"""The lock of an output folder: kept for whoever may live, taken over from whoever is certainly gone."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from hpcnas.errors import UsageError
from hpcnas.processes import Holder
from hpcnas.training import output_lock
from hpcnas.training.output_lock import LOCK_NAME


@pytest.mark.parametrize("case", ["dead", "requeued", "other boot"])
def test_lock_of_a_dead_holder_is_taken_over(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = asdict(Holder.of_this_process())
    holder = {
        "dead": {**mine, "started": 1},
        "requeued": {**mine, "host": "elsewhere", "job": "77", "restarts": 0},
        "other boot": {**mine, "boot": "earlier"},
    }[case]
    (tmp_path / LOCK_NAME).write_text(json.dumps(holder))
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with output_lock.locked(tmp_path):
        assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_lock_of_a_job_that_slurm_ended_is_taken_over(tmp_path: Path) -> None:
    holder = {**asdict(Holder.of_this_process()), "host": "elsewhere", "job": "78"}
    (tmp_path / LOCK_NAME).write_text(json.dumps(holder))
    with pytest.raises(UsageError, match="is being trained by"), output_lock.locked(tmp_path, lambda job: False):
        raise AssertionError
    with output_lock.locked(tmp_path, lambda job: job == "78"):
        pass
