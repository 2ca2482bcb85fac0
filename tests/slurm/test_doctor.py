"""`hpcnas doctor` and `hpcnas status` on a real Slurm: each line from asking, none from guessing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hpcnas.cluster.doctor import Level, check_genotype_time
from hpcnas.config import ClusterConfig, RunConfig
from tests.slurm.starter import Cluster
from tests.slurm.watching import start_head


def doctor(cluster: Cluster, run: Path, *options: str) -> tuple[int, dict[str, str]]:
    command = [sys.executable, "-m", "hpcnas", "doctor", "--json", "--run", str(run), *options]
    ended = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, timeout=100, check=False)
    assert ended.stderr == ""
    return ended.returncode, {line["text"]: line["level"] for line in json.loads(ended.stdout)}


def test_a_job_on_a_node_tells_what_it_sees(on_accounted: Cluster, tmp_path: Path) -> None:
    options = ("--partition", "gpu", "--workers", "4", "--dataset", "digits", "--time", "01:00:00")
    code, lines = doctor(on_accounted, tmp_path / "run", *options)
    said = "\n".join(f"{level} {text}" for text, level in lines.items())
    assert code == 0, said
    for expected in (
        "ok sbatch and squeue answer (slurm",
        "ok sacct answers",
        "ok partition gpu has 4 GPUs on n[1-2]",
        "warning a node of partition gpu has at most 2 GPUs, jobs/final_imagenet.sh asks for 8",
        "ok Slurm would take 4 workers",
        "ok a worker may run 60 min",
        f"ok a job ran on n1 with {sys.executable}",
        "ok n1 reaches a head here",
        "ok the clock of n1 is ",
        f"ok n1 sees {tmp_path} and may write there",
        "warning torch sees no GPU on n1 (CUDA_VISIBLE_DEVICES=0)",  # the test's GPUs are pretended
    ):
        assert expected in said
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    assert on_accounted.squeue() == []


def test_what_would_not_work_fails(on_plain: Cluster, tmp_path: Path) -> None:
    code, lines = doctor(on_plain, tmp_path, "--time", "02:00:00", "--dataset", "cifar10", "--data", str(tmp_path / "none"))
    assert code == 1
    assert lines["sacct does not answer"] == "warning", "without accounting everything else works"
    assert lines["partition gpu has 4 GPUs for 200 that the workers need"] == "warning"
    assert [level for text, level in lines.items() if "cifar10" in text.lower() or "CIFAR" in text] == ["failed"]
    code, lines = doctor(on_plain, tmp_path, "--partition", "nowhere", "--dataset", "digits")
    assert code == 1
    assert lines["there is no partition nowhere"] == "failed"


def test_no_free_node_is_a_warning_and_leaves_no_job(on_plain: Cluster, tmp_path: Path) -> None:
    on_plain.run("sbatch", "--nodes=2", "--exclusive", "--wrap=sleep 100", "--output=/dev/null")
    on_plain.wait_until(lambda: "RUNNING" in on_plain.squeue(form="%T"), "both nodes are taken")
    options = ("--partition", "gpu", "--workers", "4", "--dataset", "digits", "--wait", "2")
    code, lines = doctor(on_plain, tmp_path, *options)
    assert code == 0
    assert lines["no compute node answered within 2 s"] == "warning"
    on_plain.wait_until(lambda: len(on_plain.squeue()) == 1, "the tiny job is cancelled", 20)


@pytest.mark.parametrize(
    ("limit", "repeat_s", "level"),
    [("01:00:00", 60.0, Level.OK), ("01:00:00", 600.0, Level.WARNING), ("00:10:00", 700.0, Level.FAILED)],
)
def test_the_time_limit_is_held_against_the_measured_time(limit: str, repeat_s: float, level: Level) -> None:
    config = RunConfig(cluster=ClusterConfig(time=limit))
    assert [finding.level for finding in check_genotype_time(config, repeat_s)] == [level]


def test_status_shows_what_slurm_says(on_accounted: Cluster, tmp_path: Path, heads: list[subprocess.Popen[str]]) -> None:
    run = tmp_path / "run"
    options = ("--workers", "6", "--partition", "gpu", "--cpus-per-worker", "1", "--fitness", "synthetic:1", "--steps", "500")
    heads.append(start_head(on_accounted, run, *options))
    # Slurm names what holds the two others only in its next round of scheduling.
    held = ["PENDING Resources"] * 2 + ["RUNNING None"] * 4
    on_accounted.wait_until(lambda: sorted(on_accounted.squeue(form="%T %r")) == held, "four of six run and two wait for GPUs")
    status = [sys.executable, "-m", "hpcnas", "status", "--run", str(run)]
    shown = subprocess.run(status, env=on_accounted.environment, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "Slurm: 4 running (n1: 2, n2: 2), 2 waiting (Resources: " in shown
    assert "GPU-hours by its accounting" in shown
