import errno
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from hpcnas.errors import HpcnasError, RunHeldError, UsageError
from hpcnas.system.lock_file import LockFile, head_lock, training_lock
from hpcnas.system.processes import Holder, read_holder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "head.lock"


def dead_holder() -> Holder:
    """Of a process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    holder = replace(Holder.of_this_process(), pid=process.pid, started=1, nonce="dead")
    process.wait()
    return holder


def write(path: Path, holder: Holder) -> None:
    path.write_text(json.dumps(asdict(holder)), encoding="utf-8")


def test_a_second_head_is_refused_and_told_who_holds_the_run(path: Path) -> None:
    first = head_lock(path)
    first.acquire()
    with pytest.raises(RunHeldError, match=f"process {os.getpid()} on .*rm {path}"):
        head_lock(path).acquire()
    first.release()
    assert not path.exists()


def test_a_look_refuses_what_acquire_refuses_and_takes_nothing(path: Path) -> None:
    """A slow start looks first; a dead holder's record, a half-written one and none at all are no refusal."""
    head_lock(path).check()
    write(path, dead_holder())
    head_lock(path).check()
    path.write_text("")
    head_lock(path).check()
    assert path.read_text() == ""
    path.unlink()
    with head_lock(path), pytest.raises(RunHeldError, match=f"process {os.getpid()} on .*rm {path}"):
        head_lock(path).check()
    head_lock(path.parent / "absent" / "head.lock").check()
    assert list(path.parent.iterdir()) == []


def test_a_dead_heads_lock_is_taken_over(path: Path) -> None:
    write(path, dead_holder())
    path.with_name("head.lock.abc").write_text("of a head that was killed while it tried")
    lock = head_lock(path)
    lock.acquire()
    assert lock.is_held()
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["head.lock"]


@pytest.mark.parametrize("elsewhere", [{"host": "other"}, {"boot": "other"}, {"namespace": "pid:[1]"}])
def test_a_lock_from_elsewhere_is_never_broken(path: Path, elsewhere: dict[str, str]) -> None:
    """Another machine, another boot, another container: nothing here can decide it, however old the file is."""
    write(path, replace(dead_holder(), **elsewhere))  # type: ignore[arg-type]
    os.utime(path, (0, 0))
    with pytest.raises(RunHeldError):
        head_lock(path).acquire()


def test_a_process_id_that_is_used_again_is_no_holder(path: Path) -> None:
    write(path, replace(Holder.of_this_process(), started=1))
    head_lock(path).acquire()


def test_a_zombie_is_dead(path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
    holder = replace(Holder.of_this_process(), pid=process.pid, started=started)
    assert not holder.is_provably_dead()
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert holder.is_provably_dead()
    process.communicate()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", b"[]", b'{"host": 1}', b"[" * 5000])
def test_an_unreadable_lock_is_respected(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(RunHeldError, match="unreadable record"):
        head_lock(path).acquire()
    assert path.read_bytes() == content


def test_a_lock_that_somebody_else_took_is_not_removed(path: Path) -> None:
    lock = head_lock(path)
    lock.acquire()
    write(path, replace(Holder.of_this_process(), nonce="another"))
    assert not lock.is_held()
    lock.release()
    assert read_holder(path) is not None


@pytest.mark.parametrize("changed", ["", "SLURM_JOB_ID", "SLURM_CLUSTER_NAME", "SLURM_RESTART_COUNT"])
def test_only_the_same_job_of_the_same_cluster_after_a_requeue_takes_over(
    path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    write(path, replace(dead_holder(), host="other", job="12", cluster="hpc"))
    for name, value in {"SLURM_JOB_ID": "12", "SLURM_CLUSTER_NAME": "hpc", "SLURM_RESTART_COUNT": "1"}.items():
        monkeypatch.setenv(name, "0" if name == changed else value)
    if changed:
        with pytest.raises(RunHeldError, match=r"Slurm job 12 of cluster hpc.*rm "):
            head_lock(path).acquire()
    else:
        head_lock(path).acquire()


ANSWERS = {
    "gone": "exit 0",
    "running": "echo '12|RUNNING|12|12'",
    "unknown": "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1",
    "no answer": "echo 'Unable to contact slurm controller' >&2; exit 1",
}


@pytest.mark.parametrize("make", [head_lock, lambda path: training_lock(path.parent)], ids=["head", "training"])
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("cluster", ["hpc", "other"])
def test_no_answer_of_the_cluster_breaks_the_lock_of_a_process_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], LockFile], answer: str, cluster: str
) -> None:
    """squeue shows neither other users' jobs nor another cluster's: that it shows none is no proof."""
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(f"#!/bin/sh\n{ANSWERS[answer]}\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(squeue.parent), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "13")
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "hpc")
    lock = make(tmp_path / "head.lock")
    write(lock.path, replace(dead_holder(), host="other", job="12", cluster=cluster))
    before = lock.path.read_bytes()
    with pytest.raises(HpcnasError, match=r"Slurm job 12 of cluster .*when you are certain that it is gone.*rm "):
        lock.acquire()
    assert lock.path.read_bytes() == before
    write(lock.path, replace(dead_holder(), job="12", cluster="hpc"))
    with lock:
        assert lock.is_held(), "a dead process of this machine needs no answer"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process as another user and mount /proc for it")
def test_another_users_process_that_proc_hides_is_not_dead(path: Path) -> None:
    """As with /proc mounted hidepid: its folder of the process cannot be seen into."""
    program = f"""
import dataclasses
from hpcnas.system.processes import Holder, start_ticks
other = dataclasses.replace(Holder.of_this_process(), pid={os.getpid()}, started=1)
print(start_ticks(other.pid), other.is_provably_dead())
"""
    hidden = f"mount -t tmpfs hidden /proc/{os.getpid()} && exec setpriv --reuid 65534 --clear-groups --inh-caps=-all "
    command = ["unshare", "--mount", "bash", "-c", f'{hidden} "$@"', "bash", sys.executable, "-c", program]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert process.stdout == "None False\n"


@pytest.fixture(params=[None, errno.EPERM, errno.EOPNOTSUPP], ids=["links", "EPERM", "EOPNOTSUPP"])
def _links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system with hard links, and what those answer that have none."""
    if request.param is not None:

        def link(*_: object, **__: object) -> None:
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(os, "link", link)


def _contend(lock: LockFile, start: Barrier, results: "Queue[bool]") -> None:
    start.wait()
    try:
        lock.acquire()
    except HpcnasError:
        results.put(False)
    else:
        results.put(True)
    start.wait()  # holders stay alive until all have tried


@pytest.mark.usefixtures("_links")
@pytest.mark.parametrize("make", [head_lock, lambda path: training_lock(path.parent)], ids=["head", "training"])
@pytest.mark.parametrize("is_stale", [False, True])
def test_of_many_that_start_at_once_one_gets_the_lock(path: Path, make: Callable[[Path], LockFile], is_stale: bool) -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        lock = make(path)
        lock.path.unlink(missing_ok=True)
        if is_stale:
            write(lock.path, dead_holder())
        barrier, results = context.Barrier(8), context.Queue()
        contenders = [context.Process(target=_contend, args=(lock, barrier, results)) for _ in range(8)]
        for contender in contenders:
            contender.start()
        assert sum(results.get(timeout=30) for _ in contenders) == 1
        for contender in contenders:
            contender.join()
        assert [entry.name for entry in path.parent.iterdir()] == [lock.path.name]


@pytest.mark.usefixtures("_links")
def test_a_record_that_cannot_be_written_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(UsageError, match=f"cannot write into {path.parent}: No space left"):
        head_lock(path).acquire()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("make", [head_lock, lambda path: training_lock(path.parent)], ids=["head", "training"])
def test_a_lock_that_was_taken_over_a_moment_before_is_not_taken_over_again(
    path: Path, make: Callable[[Path], LockFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find the same dead holder; the second goes on when the first has the lock already."""
    first, second, flock = make(path), make(path), fcntl.flock
    write(first.path, dead_holder())

    def flock_after_the_first(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        first.acquire()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_after_the_first)
    with pytest.raises(HpcnasError, match=f"process {os.getpid()} on "):
        second.acquire()
    assert first.is_held()


def test_a_lock_that_may_not_be_read_is_one_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's, of mode 0600."""
    write(path, dead_holder())

    def refuse(*given: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunHeldError, match=f"{path} names a process of another user, who lets nobody read it; .*rm {path}"):
        head_lock(path).acquire()


def test_a_lock_that_cannot_be_removed_any_more_is_a_warning(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was done under the lock is done; the next process takes over the lock of a dead one."""
    lock = head_lock(path)
    lock.acquire()

    def refuse(*given: object, **named: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        lock.release()
    assert f"{path} stays: Permission denied; remove it when the folder can be written" in caplog.text
    assert path.exists()


def test_a_folder_that_is_a_file_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("not a folder")
    for folder in (tmp_path / "run", tmp_path / "run" / "below"):
        with pytest.raises(UsageError, match=f"{folder} is no folder, or lies in none; give a folder with --run or --out"):
            head_lock(folder / "head.lock").acquire()
