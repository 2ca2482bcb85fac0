"""The commands about machines where there is no Slurm, and the copies of jobs/."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcnas.cluster import doctor
from hpcnas.cluster.doctor import Level
from hpcnas.run_folder import RunFolder


def hpcnas(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command with nothing of Slurm's on its PATH."""
    environment = {**os.environ, "PATH": str(tmp_path / "empty")}
    command = [sys.executable, "-m", "hpcnas", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_slurm_asked_for_where_there_is_none_is_one_sentence_and_exit_code_4(tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = hpcnas(tmp_path, "head", "--cluster", "slurm", "--fitness", "synthetic", "--run", str(run))
    assert ended.returncode == 4
    assert ended.stderr.count("\n") == 1
    assert "--cluster slurm, but the command sbatch is not there" in ended.stderr
    assert not run.exists()


def test_the_doctor_looks_at_this_machine_only(tmp_path: Path) -> None:
    ended = hpcnas(tmp_path, "doctor", "--json", "--workers", "1", "--dataset", "digits", "--run", str(tmp_path / "run"))
    assert ended.returncode == 0, ended.stderr
    lines = [f"{line['level']} {line['text']}" for line in json.loads(ended.stdout)]
    assert f"ok {tmp_path} can be written" in lines
    assert "ok the data set digits is there, 10 classes" in lines
    assert [line for line in lines if line.startswith("failed")] == []
    assert not [line for line in lines if "sbatch" in line or "partition" in line]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_failure() -> None:
    (finding,) = doctor.check_folder(RunFolder(Path("/proc/here/run")))
    assert finding.level is Level.FAILED
    assert str(finding).startswith("failed   /proc cannot be written (")
    assert str(finding).endswith("name another folder with --run")


@pytest.mark.parametrize(("kind", "says"), [("nfs4", "rollback journal"), ("ext4", "write-ahead log")])
def test_the_file_system_decides_how_sqlite_writes(
    kind: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "file_system", lambda path: kind)
    monkeypatch.setattr(doctor, "is_network", lambda path: kind == "nfs4")
    assert any(says in finding.text for finding in doctor.check_folder(RunFolder(tmp_path)))


def test_jobs_are_copied_and_nothing_is_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "mine"
    assert hpcnas(tmp_path, "jobs", "--out", str(target)).returncode == 0
    assert {path.name for path in target.iterdir()} == {
        "env.sh",
        "search.sh",
        "final_cifar10.sh",
        "final_imagenet.sh",
        "reproduce_table1.sh",
        "results.sh",
    }
    assert os.access(target / "search.sh", os.X_OK)
    (target / "env.sh").write_text("mine")
    (target / "search.sh").unlink()
    again = hpcnas(tmp_path, "jobs", "--out", str(target))
    assert again.returncode == 2
    assert "env.sh" in again.stderr
    assert (target / "env.sh").read_text() == "mine"
    assert not (target / "search.sh").exists(), "nothing was copied at all"


@pytest.mark.parametrize("script", ["env.sh", "search.sh"])
def test_the_scripts_are_shell_that_bash_takes(script: str) -> None:
    path = Path(__file__).parent.parent.parent / "jobs" / script
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True, check=False).returncode == 0


def test_every_sbatch_line_of_the_search_is_explained() -> None:
    lines = (Path(__file__).parent.parent.parent / "jobs/search.sh").read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("#SBATCH"):
            above = next(earlier for earlier in reversed(lines[:number]) if not earlier.startswith("#SBATCH"))
            assert above.startswith("# ")
