"""Things that real sites and users do: no environment for jobs, strange folders, jobs with strange names, lists of hosts."""

import subprocess
from pathlib import Path

import pytest

from hpcnas.cli import main
from tests.slurm.starter import Cluster
from tests.slurm.watching import evaluated, head_output, start_head

STRANGE = "a b#c[1]'\"é🚀$x;&(){}~" + "n" * 180


def search(cluster: Cluster, run: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    run.parent.mkdir(parents=True, exist_ok=True)
    given = ("--fitness", "synthetic", "--workers", "2", "--steps", "4", "--population", "4", "--cpus-per-worker", "1")
    return start_head(cluster, run, *given, "--cluster", "slurm", "--gpus-per-worker", "0", *options, **variables)


def assert_finishes(head: subprocess.Popen[str], run: Path) -> None:
    assert head.wait(120) == 0, head_output(run)
    assert evaluated(run) == 4


def test_a_site_that_passes_no_environment_on_trains_all_the_same(
    on_plain: Cluster, tmp_path: Path, heads: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SBATCH_EXPORT=NONE, which reaches srun as SLURM_EXPORT_ENV; for workers and for full-size trainings."""
    run = tmp_path / "run"
    heads.append(search(on_plain, run, SBATCH_EXPORT="NONE"))
    assert_finishes(heads[-1], run)
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")
    job = ("--cluster", "slurm", "--gpus-per-node", "0", "--cpus-per-rank", "1", "--time", "10", "--device", "cpu")
    tiny = ("--channels", "2", "--cells", "1", "--steps", "1", "--batch", "16", "--runs", "1", "--dataset", "digits")
    assert main(["final", "published", "--run", str(run), *tiny, *job]) == 0
    on_plain.wait_until(lambda: not on_plain.squeue(), "the training is done", 120)
    assert len(list((run / "final").rglob("result.json"))) == 1


def test_a_folder_may_be_called_whatever_its_user_likes(
    on_plain: Cluster, tmp_path: Path, heads: list[subprocess.Popen[str]]
) -> None:
    run = tmp_path / STRANGE
    heads.append(search(on_plain, run))
    assert_finishes(heads[-1], run)
    logs = [path for path in (run / "slurm").iterdir() if path.name.endswith("_log.out")]
    assert logs
    assert "joined" in logs[0].read_text()


def test_jobs_of_any_name_and_comment_hide_no_worker(
    on_plain: Cluster, tmp_path: Path, heads: list[subprocess.Popen[str]]
) -> None:
    strange = ("--comment", "one|two\nthree||", "--job-name", "na|me\nhpcnas", "--wrap", "sleep 100", "--hold")
    on_plain.run("sbatch", *strange)
    run = tmp_path / "run"
    heads.append(search(on_plain, run, HPCNAS_SQUEUE_S="1"))
    assert_finishes(heads[-1], run)
    assert (
        "unknown"
        not in subprocess.run(["hpcnas", "status", "--run", str(run)], capture_output=True, text=True, check=True).stdout
    )
    on_plain.run("scancel", "--state=PENDING")


def test_a_list_of_hosts_to_exclude_is_left_as_it_is(
    on_plain: Cluster, tmp_path: Path, heads: list[subprocess.Popen[str]]
) -> None:
    run = tmp_path / "run"
    heads.append(search(on_plain, run, "--exclude", "n[2,2]"))
    assert_finishes(heads[-1], run)
    script = next((run / "slurm").glob("*_submission.sh")).read_text()
    assert "--exclude='n[2,2]'" in script
