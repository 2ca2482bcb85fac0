"""The heartbeat beside trainings that starve it, and beside a head that is silent."""

import ctypes
import threading
import time
from collections.abc import Iterator

import pytest

from hpcnas.cluster.signals import StopFlag
from hpcnas.records import Verdict
from hpcnas.worker.heartbeat import Heartbeat, StopTraining
from tests.head.fakes import FakeQueue, lease
from tests.processes import wait_until

HOLDS_GIL = ctypes.PyDLL(None)  # calls through it keep the interpreter's lock
LOCK_TRIPS = 5  # a beat over a socket gives the interpreter's lock away so often, and has to get it back


class RemoteQueue(FakeQueue):
    """Each beat gives the interpreter's lock away as often as a socket does."""

    def heartbeat(self, individual_id: int, token: int, progress: float) -> Verdict:
        for _ in range(LOCK_TRIPS):
            time.sleep(0)
        return super().heartbeat(individual_id, token, progress)


class SilentQueue(FakeQueue):
    """Beats are sent and never answered, until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.is_over = threading.Event(), threading.Event()

    def heartbeat(self, individual_id: int, token: int, progress: float) -> Verdict:
        self.is_asked.set()
        self.is_over.wait(60)
        return Verdict.OK


@pytest.fixture
def silent() -> Iterator[SilentQueue]:
    queue = SilentQueue()
    yield queue
    queue.is_over.set()


def pulse_over(queue: FakeQueue, every_s: float, flag: StopFlag | None = None, grace_s: float = 60.0) -> Heartbeat:
    return Heartbeat(queue, lease(), StopFlag() if flag is None else flag, every_s, lambda reason: None, grace_s)


def test_a_training_that_keeps_the_interpreters_lock_lets_the_beats_go_out() -> None:
    """Two beats at least in 4.9 s, one due every 0.5 s; the lock is free for moments only, every 0.7 s."""
    queue = RemoteQueue()
    with pulse_over(queue, every_s=0.5) as heartbeat:
        for step in range(7):
            HOLDS_GIL.usleep(700_000)
            heartbeat.report(step / 7)
        beats = len(queue.heard("heartbeat"))
    assert beats >= 2


def test_a_training_waits_for_a_silent_head_once_per_beat(silent: SilentQueue) -> None:
    with pulse_over(silent, every_s=0.01) as heartbeat:
        assert silent.is_asked.wait(10)
        wait_until(lambda: heartbeat.clock() > heartbeat._due_s + 0.5)
        began = time.monotonic()
        for step in range(1000):
            heartbeat.report(step / 1000)
        took_s = time.monotonic() - began
        silent.is_over.set()
    assert took_s < 5.0


def test_a_training_that_ignores_a_stop_is_ended_beside_a_silent_head(silent: SilentQueue) -> None:
    flag, codes, ended = StopFlag(), [], threading.Event()

    def leave(code: int) -> None:
        codes.append(code)
        ended.set()

    heartbeat = pulse_over(silent, 0.01, flag, grace_s=0.3)
    heartbeat.leave = leave
    with heartbeat:
        assert silent.is_asked.wait(10)
        flag.request("terminated")
        was_ended = ended.wait(10)
        silent.is_over.set()
    assert was_ended


def test_an_outbox_that_hangs_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcnas.worker.heartbeat.ABANDON_S", 0.2, raising=False)
    flag, ended, is_over = StopFlag(), threading.Event(), threading.Event()
    heartbeat = Heartbeat(FakeQueue(), lease(), flag, 60.0, lambda reason: bool(is_over.wait(60)) and None, grace_s=0.1)
    heartbeat.leave = lambda code: ended.set()
    with heartbeat:
        flag.request("terminated")
        was_ended = ended.wait(10)
        is_over.set()
    assert was_ended


def test_a_training_that_stops_does_not_wait_for_a_silent_head(silent: SilentQueue) -> None:
    flag, left = StopFlag(), threading.Event()

    def train() -> None:
        with pulse_over(silent, 0.01, flag) as heartbeat:
            silent.is_asked.wait(10)
            flag.request("terminated")
            with pytest.raises(StopTraining):
                heartbeat.report(0.5)
        left.set()

    threading.Thread(target=train, daemon=True).start()
    assert left.wait(10)
