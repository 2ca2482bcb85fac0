"""The stop flag: set by signals, read between two steps."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import pytest

from hpcnas.cluster import signals
from hpcnas.cluster.signals import StopFlag


@pytest.fixture
def flag() -> Iterator[StopFlag]:
    before = {number: signal.getsignal(number) for number in signals.STOP_SIGNALS}
    yield StopFlag(exit_on_second=False).install()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "reason", "code"),
    [
        (signal.SIGTERM, "terminated", 143),
        (signal.SIGUSR2, "time limit or preemption", 140),
        (signal.SIGINT, "interrupted", 130),
    ],
)
def test_a_signal_sets_the_flag_and_names_itself(flag: StopFlag, number: signal.Signals, reason: str, code: int) -> None:
    assert not flag
    assert (flag.reason, flag.exit_code, flag.signal_name) == ("", 0, "")
    signal.raise_signal(number)
    assert flag
    assert (flag.reason, flag.exit_code, flag.signal_name, flag.count) == (reason, code, number.name, 1)


def test_signals_of_one_event_count_once(flag: StopFlag, monkeypatch: pytest.MonkeyPatch) -> None:
    """scancel and preemption deliver SIGTERM more than once, and after SIGUSR2."""
    for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGTERM):
        signal.raise_signal(number)
    assert (flag.count, flag.reason) == (1, "time limit or preemption")
    monkeypatch.setattr(signals, "SAME_EVENT_S", -1.0)
    signal.raise_signal(signal.SIGTERM)
    assert flag.count > 1


def test_ctrl_c_twice_counts_twice_however_fast(flag: StopFlag) -> None:
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    assert flag.count == 2


def test_a_signal_wakes_who_waits(flag: StopFlag) -> None:
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    started = time.monotonic()
    assert flag.wait(30)
    assert time.monotonic() - started < 10


def test_a_request_sets_the_flag_without_a_signal(flag: StopFlag) -> None:
    flag.request("drain")
    flag.request("too late")
    assert flag.wait(30)
    assert (flag.reason, flag.exit_code) == ("drain", 0)


def test_many_signals_do_not_fill_up_anything(flag: StopFlag, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", _full_pipe)
    signal.raise_signal(signal.SIGTERM)
    assert flag


def test_flags_that_nobody_holds_leave_no_file_descriptor() -> None:
    """A notebook starts one search after another in one process."""
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        StopFlag()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def _full_pipe(descriptor: int, text: bytes) -> int:
    raise BlockingIOError


@pytest.mark.parametrize(
    ("sent", "code"), [(["INT", "INT"], 130), (["USR2", "INT"], 130), (["TERM"], 7), (["USR2", "TERM"], 7)]
)
def test_a_second_signal_leaves_at_once(sent: list[str], code: int) -> None:
    program = textwrap.dedent(f"""
        import signal
        from hpcnas.cluster.signals import StopFlag
        StopFlag().install()
        for name in {sent}:
            signal.raise_signal(getattr(signal, "SIG" + name))
        raise SystemExit(7)
    """)
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == code


def test_outside_the_main_thread_nothing_is_installed() -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=StopFlag().install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
