import json
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from hpcnas.errors import RunHeldError
from hpcnas.processes import Holder, read_holder
from hpcnas.search.head_lock import HeadLock


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
    first = HeadLock(path)
    first.acquire()
    with pytest.raises(RunHeldError, match=f"process {os.getpid()} on .*rm {path}"):
        HeadLock(path).acquire()
    first.release()
    assert not path.exists()


def test_a_dead_heads_lock_is_taken_over(path: Path) -> None:
    write(path, dead_holder())
    path.with_name("head.lock.abc").write_text("of a head that was killed while it tried")
    lock = HeadLock(path)
    lock.acquire()
    assert lock.is_held()
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["head.lock"]


@pytest.mark.parametrize("elsewhere", [{"host": "other"}, {"boot": "other"}, {"namespace": "pid:[1]"}])
def test_a_lock_from_elsewhere_is_never_broken(path: Path, elsewhere: dict[str, str]) -> None:
    """Another machine, another boot, another container: nobody here can know, however old the file is."""
    write(path, replace(dead_holder(), **elsewhere))  # type: ignore[arg-type]
    os.utime(path, (0, 0))
    with pytest.raises(RunHeldError):
        HeadLock(path).acquire()


def test_a_process_id_that_is_used_again_is_no_holder(path: Path) -> None:
    write(path, replace(Holder.of_this_process(), started=1))
    HeadLock(path).acquire()


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
        HeadLock(path).acquire()
    assert path.read_bytes() == content


def test_a_lock_that_somebody_else_took_is_not_removed(path: Path) -> None:
    lock = HeadLock(path)
    lock.acquire()
    write(path, replace(Holder.of_this_process(), nonce="another"))
    assert not lock.is_held()
    lock.release()
    assert read_holder(path) is not None


def _contend(path: Path, start: object, results: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    try:
        HeadLock(path).acquire()
    except RunHeldError:
        results.put(False)  # type: ignore[attr-defined]
    else:
        results.put(True)  # type: ignore[attr-defined]
    start.wait()  # type: ignore[attr-defined]  # holders stay alive until all have tried


@pytest.mark.parametrize("is_stale", [False, True])
def test_of_many_that_start_at_once_one_gets_the_lock(path: Path, is_stale: bool) -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        path.unlink(missing_ok=True)
        if is_stale:
            write(path, dead_holder())
        barrier, results = context.Barrier(8), context.Queue()
        contenders = [context.Process(target=_contend, args=(path, barrier, results)) for _ in range(8)]
        for contender in contenders:
            contender.start()
        assert sum(results.get(timeout=30) for _ in contenders) == 1
        for contender in contenders:
            contender.join()
