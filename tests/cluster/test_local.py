"""Workers on this machine: they outlive the head that started them, and any later one finds and ends them."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcnas.cluster import launch, local
from hpcnas.cluster.gpus import visible_gpus
from hpcnas.cluster.local import LocalLauncher, identity
from hpcnas.cluster.task import this_task
from hpcnas.config import ClusterConfig, RunConfig
from hpcnas.errors import ClusterError
from hpcnas.run_folder import RunFolder

CONFIG = ClusterConfig(cluster="local", workers=2)


def work(run: str) -> None:
    """A task that says who it is and waits for SIGTERM."""
    name = os.environ["SUBMITIT_LOCAL_JOB_ID"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    beside = Path(run) / f"{name}.tmp"
    beside.write_text(json.dumps({"env": dict(os.environ), "group": os.getpgid(0), "pid": os.getpid()}))
    beside.rename(Path(run) / f"{name}.json")
    signal.pause()


@pytest.fixture(autouse=True)
def _tasks_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "run_task", work)


@pytest.fixture
def folder(tmp_path: Path):  # type: ignore[no-untyped-def]
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    yield folder
    LocalLauncher(folder, CONFIG).cancel()
    until(lambda: LocalLauncher(folder, CONFIG).alive() == {})


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become so in time"
        time.sleep(0.02)


def told(folder: RunFolder, name: str) -> dict:  # type: ignore[type-arg]
    path = folder.path / f"{name}.json"
    until(path.exists)
    found: dict = json.loads(path.read_text())  # type: ignore[type-arg]
    return found


def test_workers_are_found_by_a_later_launcher_and_ended_by_it(folder: RunFolder) -> None:
    names = LocalLauncher(folder, CONFIG).submit(2)
    for name in names:
        told(folder, name)
    later = LocalLauncher(folder, CONFIG)
    assert later.alive() == dict.fromkeys(names, "RUNNING")
    by_a_link = folder.path.with_name("link")
    by_a_link.symlink_to(folder.path)
    assert LocalLauncher(RunFolder(by_a_link), CONFIG).alive() == later.alive()
    assert later.cancel([names[0]]) == 1
    until(lambda: later.alive() == {names[1]: "RUNNING"})
    assert later.cancel() == 1
    until(lambda: later.alive() == {})
    until(lambda: not identity(told(folder, names[1])["pid"]))


def test_workers_survive_the_head_and_the_terminals_ctrl_c(folder: RunFolder) -> None:
    program = textwrap.dedent(f"""
        import os, sys, time
        from tests.cluster.test_local import CONFIG, LocalLauncher, RunFolder, local, work
        from pathlib import Path
        local.run_task = work
        print(*LocalLauncher(RunFolder(Path({str(folder.path)!r})), CONFIG).submit(1), flush=True)
        time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True) as head:
        assert head.stdout is not None
        name = head.stdout.readline().strip()
        worker = told(folder, name)
        assert worker["group"] != head.pid, "another process group: the terminal's signals do not reach it"
        os.killpg(head.pid, signal.SIGKILL)
        assert head.stdout.read() == "", "the worker does not hold the head's output open"
    assert identity(worker["pid"])
    assert LocalLauncher(folder, CONFIG).alive() == {name: "RUNNING"}


def test_a_worker_that_is_being_started_is_not_taken_for_an_ended_one(folder: RunFolder) -> None:
    launcher, spawn = LocalLauncher(folder, CONFIG), os.posix_spawn
    seen: list[str] = []

    def look_and_spawn(*arguments: Any, **options: Any) -> int:
        assert launcher.alive() == {}
        seen.append(launcher._ledger.path.read_text())
        return spawn(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "posix_spawn", look_and_spawn)
        (name,) = launcher.submit(1)
    assert '"ended": true' not in seen[0]
    assert launcher.alive() == {name: "RUNNING"}


def test_a_worker_whose_head_was_killed_before_it_wrote_its_start_is_found(folder: RunFolder) -> None:
    program = textwrap.dedent(f"""
        import os
        from pathlib import Path
        from hpcnas.cluster.ledger import Ledger
        from tests.cluster.test_local import CONFIG, LocalLauncher, RunFolder, local, work
        local.run_task = work
        write = Ledger.write
        Ledger.write = lambda ledger, entry: os._exit(9) if entry.job else write(ledger, entry)
        LocalLauncher(RunFolder(Path({str(folder.path)!r})), CONFIG).submit(1)
    """)
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    until(lambda: list(folder.path.glob("*.json")))
    (said,) = folder.path.glob("*.json")
    later = LocalLauncher(folder, CONFIG)
    assert later.alive() == {said.stem: "RUNNING"}
    assert LocalLauncher(folder, CONFIG).alive() == later.alive()


def test_a_start_that_failed_leaves_nothing_that_may_be_there(folder: RunFolder) -> None:
    launcher = LocalLauncher(folder, CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "posix_spawn", _refuse)
        with pytest.raises(ClusterError, match="cannot start workers here: Resource temporarily unavailable"):
            launcher.submit(1)
    assert launcher._ledger.open("local") == []


def _refuse(*_: object, **__: object) -> int:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def test_a_worker_inside_a_slurm_job_has_the_name_that_its_launcher_knows(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a killed one is not missed before its lease ends."""
    for variable, value in {"SLURM_JOB_ID": "17", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "4"}.items():
        monkeypatch.setenv(variable, value)
    (name,) = LocalLauncher(folder, CONFIG).submit(1)
    task = this_task(told(folder, name)["env"])
    assert (task.name, task.job) == (name, "17")


def test_threads_are_shared_out_and_gpus_dealt_in_turn(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in local.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    names = LocalLauncher(folder, CONFIG).submit(3)
    environments = [told(folder, name)["env"] for name in names]
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in environments] == ["3", "5", "3"]
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert {environment["OMP_NUM_THREADS"] for environment in environments} == {share}


def test_setup_lines_run_before_a_worker(folder: RunFolder) -> None:
    config = ClusterConfig(cluster="local", workers=1, setup=("SITE='a b'", "export SITE"))
    (name,) = LocalLauncher(folder, config).submit(1)
    assert told(folder, name)["env"]["SITE"] == "a b"
    assert "export SITE" in LocalLauncher(folder, config).script(1)


def test_a_process_that_only_has_the_same_number_is_no_worker(folder: RunFolder) -> None:
    launcher = LocalLauncher(folder, CONFIG)
    entry = launcher._ledger.new("local", 1)
    launcher._ledger.write(type(entry)(**{**_fields(entry), "job": str(os.getpid()), "identity": identity(os.getpid()) + "0"}))
    assert launcher.alive() == {}
    assert launcher.cancel() == 0


def _fields(entry) -> dict:  # type: ignore[no-untyped-def, type-arg]
    return {name: getattr(entry, name) for name in entry.__slots__}


def test_an_ended_workers_files_are_pruned_but_for_its_log(folder: RunFolder) -> None:
    launcher = LocalLauncher(folder, CONFIG)
    (name,) = launcher.submit(1)
    told(folder, name)
    launcher.cancel()
    until(lambda: launcher.alive() == {})
    launcher.prune()
    assert sorted(path.name for path in folder.slurm.iterdir()) == [f"{name}_0_log.out", "controller.log", "submissions.jsonl"]


def test_a_debug_worker_is_a_thread_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "WORKER", (__name__, "seen_in_process"))
    SEEN.clear()
    launcher = launch.make_launcher(RunFolder(tmp_path), RunConfig(cluster=ClusterConfig(cluster="debug", workers=1)))
    launcher.submit(1)
    until(lambda: launcher.alive() == {})
    assert SEEN[0] == (str(tmp_path), os.getpid())


SEEN: list[tuple[str, int]] = []


def seen_in_process(run: str) -> int:
    SEEN.append((run, os.getpid()))
    return 0


def test_the_variable_decides_which_gpus_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    assert visible_gpus() == ["1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
