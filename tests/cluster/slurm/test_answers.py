"""Each answer that a cluster may give, in the place of each command: no head ends by it, and no worker is started twice."""

import time
from pathlib import Path

import pytest

from hpcnas.cluster.slurm import command, submission
from hpcnas.cluster.slurm import queries as queries
from hpcnas.cluster.slurm.arrays import SlurmLauncher
from hpcnas.config import ClusterConfig
from hpcnas.errors import ClusterError
from hpcnas.run_folder import RunFolder

SICK = {
    "fails": 'echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1',
    "hangs": "exec sleep 60",
    "garbage": "printf '\\377\\376\\n<html>503</html>\\n'; exit 0",
    "half": 'printf "12_0|RUNN"; exit 0',
    "killed": "kill -9 $$",
}
GOOD = {"squeue": "exit 0", "scancel": "exit 0", "scontrol": "exit 0", "sinfo": "exit 0", "srun": "exit 0"}


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of Slurm's commands on PATH; sbatch counts its calls and gives the number 12."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {**GOOD, "sbatch": f'echo x >> {tmp_path}/calls; echo "Submitted batch job 12"'}.items():
        put(folder, name, text)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("HPCNAS_SQUEUE_S", "0")
    monkeypatch.setattr(submission, "SBATCH_TIMEOUT_S", 0.5)
    monkeypatch.setattr(queries.queue, "__defaults__", (0.5,))
    monkeypatch.setattr(command.ask_slurm, "__defaults__", (0.5,))
    monkeypatch.setattr(command.run_slurm, "__defaults__", (0.5,))
    return folder


def put(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def launcher(tmp_path: Path) -> SlurmLauncher:
    run = RunFolder(tmp_path / "run")
    run.slurm.mkdir(parents=True, exist_ok=True)
    return SlurmLauncher(run, ClusterConfig(time="60"))


def calls(tmp_path: Path) -> int:
    return len((tmp_path / "calls").read_text().split()) if (tmp_path / "calls").exists() else 0


def looked(one: SlurmLauncher) -> dict[str, str] | None:
    """The states after the squeue that is asked now."""
    one.alive()
    deadline = time.monotonic() + 10
    while one._poll is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    with one._lock:
        return one._states


@pytest.mark.parametrize("how", SICK)
def test_an_squeue_that_is_ill_makes_the_workers_unknown_and_never_gone(commands: Path, tmp_path: Path, how: str) -> None:
    first = launcher(tmp_path)
    assert first.submit(2) == ["12_0", "12_1"]
    put(commands, "squeue", SICK[how])
    for _ in range(4):
        assert looked(first) is None
    assert looked(launcher(tmp_path)) is None
    assert calls(tmp_path) == 1
    with pytest.raises(ClusterError):
        first.cancel()


@pytest.mark.parametrize("how", SICK)
def test_an_sbatch_without_a_clear_answer_is_never_asked_twice(commands: Path, tmp_path: Path, how: str) -> None:
    put(commands, "sbatch", f"echo x >> {tmp_path}/calls; {SICK[how]}")
    put(commands, "squeue", SICK["fails"])  # its fate is unknown
    one = launcher(tmp_path)
    assert one.submit(2) == []
    assert one.submit(2) == []
    assert launcher(tmp_path).submit(2) == []
    assert calls(tmp_path) == 1


@pytest.mark.parametrize("how", SICK)
def test_a_host_to_exclude_is_not_forgotten_while_sinfo_is_ill(commands: Path, tmp_path: Path, how: str) -> None:
    put(commands, "sbatch", f'for last; do :; done; cp "$last" {tmp_path}/script; echo Submitted batch job 12')
    put(commands, "sinfo", SICK[how])
    one = launcher(tmp_path)
    one.exclude(["bad7", "no-node"])
    assert one.submit(1)
    assert "--exclude" not in (tmp_path / "script").read_text()
    put(commands, "sinfo", "echo good1; echo bad7")
    assert one.submit(1)
    assert "#SBATCH --exclude=bad7\n" in (tmp_path / "script").read_text()
    put(commands, "sinfo", SICK[how])
    assert one.submit(1)
    assert "#SBATCH --exclude=bad7\n" in (tmp_path / "script").read_text()


@pytest.mark.parametrize("how", SICK)
def test_a_scancel_that_is_ill_is_an_error_of_the_cluster_alone(
    commands: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command.run_slurm, "__defaults__", (0.5,))
    put(commands, "scancel", SICK[how])
    one = launcher(tmp_path)
    tasks = one.submit(1)
    if how in ("garbage", "half"):
        assert one.cancel(tasks) == 1  # its words are not looked at
    else:
        with pytest.raises(ClusterError):
            one.cancel(tasks)


@pytest.mark.parametrize("name", ["squeue", "scancel", "sbatch"])
def test_a_command_that_has_gone_is_an_error_of_the_cluster_alone(commands: Path, tmp_path: Path, name: str) -> None:
    one = launcher(tmp_path)
    tasks = one.submit(1)
    (commands / name).unlink()
    if name == "squeue":
        assert looked(one) is None
    elif name == "scancel":
        with pytest.raises(ClusterError):
            one.cancel(tasks)
    else:
        with pytest.raises(ClusterError):
            one.submit(1)
    assert calls(tmp_path) == 1


def test_one_answer_without_the_workers_starts_them_no_second_time(commands: Path, tmp_path: Path) -> None:
    """As of a controller that has just restarted. A worker that is listed as ended is replaced at once."""
    one = launcher(tmp_path)
    assert one.submit(2) == ["12_0", "12_1"]
    intent = one._ledger.open("slurm")[0].intent

    def line(task: int, state: str) -> str:
        return f"echo '12_{task}|{state}|n1|1:00|None|hpcnas|hpcnas-1/{intent}'"

    both = {"12_0": "RUNNING", "12_1": "RUNNING"}
    put(commands, "squeue", f"{line(0, 'RUNNING')}\n{line(1, 'RUNNING')}")
    assert looked(one) == both
    put(commands, "squeue", "exit 0")
    assert looked(one) == both
    put(commands, "squeue", f"{line(0, 'RUNNING')}\n{line(1, 'NODE_FAIL')}")
    assert looked(one) == {"12_0": "RUNNING"}
    put(commands, "squeue", "exit 0")
    assert looked(one) == {"12_0": "RUNNING"}
    assert looked(one) == {}
