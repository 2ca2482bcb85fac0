"""jobs/search.sh outside of Slurm, with programs in the place of hpcnas and scontrol that keep what they were asked."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "jobs/search.sh"
HEAD = """#!/bin/sh
trap 'exit 140' USR2
trap 'exit 143' TERM
while :; do sleep 0.05; done
"""
SCONTROL = """#!/bin/sh
echo "$@" >>asked
[ "$1" != requeue ]
"""


@pytest.mark.parametrize(("signal", "status", "requeued"), [("USR2", 140, ["requeue 7"]), ("TERM", 143, [])])
def test_a_signal_while_the_head_starts_reaches_it(tmp_path: Path, signal: str, status: int, requeued: list[str]) -> None:
    """The site's file sends it between the start of the head and the line that keeps its process id."""
    (tmp_path / "jobs").mkdir()
    hook = f"""trap '[[ $BASH_COMMAND != started=\\$! ]] || kill -{signal} $$' DEBUG"""
    (tmp_path / "jobs/env.sh").write_text(f"{hook}\n")
    for name, content in {"hpcnas": HEAD, "scontrol": SCONTROL}.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HPCNAS_JOBS": "jobs", "SLURM_JOB_ID": "7"}
    done = subprocess.run(
        ["bash", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (status, "")
    asked = (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else []
    assert [line for line in asked if line.startswith("requeue")] == requeued
