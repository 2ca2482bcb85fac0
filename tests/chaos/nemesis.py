"""The nemesis: a schedule of faults drawn from a seed, and what each of them does to an arena."""

import json
import os
import random
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.arena import Arena, send

Undo = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """One entry of the schedule.

    Attributes:
        after_s: pause before it.
        choice: in [0, 1), picks the victim among those that are there.
        lasts_s: until it is undone, where there is something to undo.
    """

    number: int
    kind: str
    after_s: float
    choice: float
    lasts_s: float


# kind -> weight in the draw
WEIGHTS = {
    "kill worker": 10,
    "kill several workers": 2,
    "kill controller": 2,
    "stop worker": 5,  # longer than the lease: it wakes as a zombie
    "terminate worker": 3,
    "kill head": 6,
    "head away": 2,  # longer than a training
    "stop head": 3,
    "drain head": 1,
    "cut connections": 4,
    "reset connections": 4,
    "delay": 3,
    "black hole": 3,
    "refuse connections": 2,
    "disk full for head": 3,
    "disk full for worker": 3,
    "garbage head.json": 2,
    "half head.json": 1,
    "garbage outbox": 2,
    "garbage lock": 1,
    "garbage request": 1,
    "damaged database": 1,  # and restored, as the head's refusal says
    "truncated database": 1,
}


def schedule(seed: int, mean_s: float) -> Iterator[Fault]:
    """The faults of a seed, without end: the same seed gives the same ones."""
    rng = random.Random(f"nemesis {seed}")
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    number = 0
    while True:
        number += 1
        kind = rng.choices(kinds, weights)[0]
        yield Fault(number, kind, rng.expovariate(1 / mean_s), rng.random(), rng.uniform(0.5, 8.0))


class Nemesis:
    """Carries a schedule out.

    Attributes:
        injected: how often each kind took effect; a fault without a victim does not count.
    """

    def __init__(self, arena: Arena, seed: int, mean_s: float = 1.5) -> None:
        self.arena = arena
        self.schedule = schedule(seed, mean_s)
        self.injected: Counter[str] = Counter()
        self._undo: list[tuple[float, Undo]] = []
        self._over = threading.Event()

    def rage(self, seconds: float, on_fault: Callable[[Fault], None] = lambda fault: None) -> None:
        """Inject for that long, then undo everything that lasts."""
        end = time.monotonic() + seconds
        for fault in self.schedule:
            self._pause(min(end, time.monotonic() + fault.after_s))
            if time.monotonic() >= end:
                break
            undo = getattr(self, "_" + fault.kind.replace(" ", "_").replace(".", "_"))(fault)
            if undo is not None:
                self.injected[fault.kind] += 1
                self._undo.append((time.monotonic() + fault.lasts_s, undo))
                on_fault(fault)
        self._undo_due(everything=True)

    def _pause(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            self._undo_due()
            time.sleep(min(left, 0.05))
        self._undo_due()

    def _undo_due(self, *, everything: bool = False) -> None:
        due = [entry for entry in self._undo if everything or entry[0] <= time.monotonic()]
        self._undo = [entry for entry in self._undo if entry not in due]
        for _, undo in due:
            undo()

    # Every method answers how to undo itself, or None when there was no victim.

    def _kill_worker(self, fault: Fault) -> Undo | None:
        return self._signal_worker(fault, signal.SIGKILL)

    def _kill_several_workers(self, fault: Fault) -> Undo | None:
        pids = self.arena.workers()[: 2 + int(3 * fault.choice)]
        for pid in pids:
            send(pid, signal.SIGKILL)
        return _nothing if pids else None

    def _kill_controller(self, fault: Fault) -> Undo | None:
        controllers = [pid for pid in self.arena.orphans() if pid not in self.arena.workers() and pid != _pid(self.arena)]
        return _nothing if controllers and send(_pick(controllers, fault), signal.SIGKILL) else None

    def _stop_worker(self, fault: Fault) -> Undo | None:
        pids = self.arena.workers()
        if not pids:
            return None
        pid = _pick(pids, fault)
        send(pid, signal.SIGSTOP)
        return lambda: _discard(send(pid, signal.SIGCONT))

    def _terminate_worker(self, fault: Fault) -> Undo | None:
        return self._signal_worker(fault, signal.SIGTERM)

    def _signal_worker(self, fault: Fault, number: int) -> Undo | None:
        pids = self.arena.workers()
        return _nothing if pids and send(_pick(pids, fault), number) else None

    def _kill_head(self, fault: Fault) -> Undo | None:
        return _nothing if self.arena.signal_head(signal.SIGKILL) else None

    def _head_away(self, fault: Fault) -> Undo | None:
        if not self.arena.end_head():
            return None
        return lambda: setattr(self.arena, "is_head_wanted", True)

    def _stop_head(self, fault: Fault) -> Undo | None:
        head = self.arena.head
        if head is None or not send(head.pid, signal.SIGSTOP):
            return None
        return lambda: _discard(send(head.pid, signal.SIGCONT))

    def _drain_head(self, fault: Fault) -> Undo | None:
        return _nothing if self.arena.signal_head(signal.SIGTERM) else None

    def _cut_connections(self, fault: Fault) -> Undo | None:
        return _nothing if self.arena.proxy.cut(reset=False) else None

    def _reset_connections(self, fault: Fault) -> Undo | None:
        return _nothing if self.arena.proxy.cut(reset=True) else None

    def _delay(self, fault: Fault) -> Undo | None:
        self.arena.proxy.weather.delay_s = 0.05 + fault.choice
        return lambda: setattr(self.arena.proxy.weather, "delay_s", 0.0)

    def _black_hole(self, fault: Fault) -> Undo | None:
        self.arena.proxy.weather.is_black_hole = True

        def clear() -> None:
            self.arena.proxy.weather.is_black_hole = False
            self.arena.proxy.cut(reset=True)  # what was swallowed never comes: half-open until now

        return clear

    def _refuse_connections(self, fault: Fault) -> Undo | None:
        self.arena.proxy.weather.is_refusing = True
        self.arena.proxy.cut(reset=False)
        return lambda: setattr(self.arena.proxy.weather, "is_refusing", False)

    def _disk_full_for_head(self, fault: Fault) -> Undo | None:
        head = self.arena.head
        return self._disk_full(head.pid, fault) if head is not None else None

    def _disk_full_for_worker(self, fault: Fault) -> Undo | None:
        pids = self.arena.workers()
        return self._disk_full(_pick(pids, fault), fault) if pids else None

    def _disk_full(self, pid: int, fault: Fault) -> Undo | None:
        if not self.arena.limit_files(pid, int(8192 * fault.choice)):
            return None
        return lambda: _discard(self.arena.limit_files(pid, -1))

    def _garbage_head_json(self, fault: Fault) -> Undo | None:
        self.arena.run.head_address.write_bytes(b"\x00\xff{" * 50)
        return self._rewrite_address

    def _half_head_json(self, fault: Fault) -> Undo | None:
        try:
            content = self.arena.run.head_address.read_bytes()
        except FileNotFoundError:
            return None
        self.arena.run.head_address.write_bytes(content[: len(content) // 2])
        return self._rewrite_address

    def _rewrite_address(self) -> None:
        """A damaged head.json stays until a head is started anew, as its error message says."""
        self.arena.signal_head(signal.SIGKILL)

    def _garbage_outbox(self, fault: Fault) -> Undo | None:
        if not self.arena.run.outbox.is_dir():
            return None
        contents = (b"{", b"\x00" * 100, b"[" * 5000, json.dumps({"format": "hpcnas-outbox", "version": 99}).encode())
        name = f"{uuid.UUID(int=fault.number).hex}.json"
        (self.arena.run.outbox / name).write_bytes(contents[int(len(contents) * fault.choice)])
        return _nothing

    def _garbage_lock(self, fault: Fault) -> Undo | None:
        """A head dies and its lock is damaged before the next one looks."""
        if not self.arena.end_head():
            return None
        self.arena.run.lock.write_bytes(os.urandom(40))
        return lambda: setattr(self.arena, "is_head_wanted", True)

    def _damaged_database(self, fault: Fault) -> Undo | None:
        def damage(path: Path) -> None:
            with path.open("r+b") as file:
                file.write(os.urandom(4096))

        return self._damage(damage)

    def _truncated_database(self, fault: Fault) -> Undo | None:
        return self._damage(lambda path: os.truncate(path, int(path.stat().st_size * fault.choice)))

    def _damage(self, damage: Callable[[Path], None]) -> Undo | None:
        if not self.arena.end_head():
            return None
        self.arena.write_back()
        damage(self.arena.run.database)

        def restore() -> None:
            self.arena.restore()
            self.arena.is_head_wanted = True

        return restore

    def _garbage_request(self, fault: Fault) -> Undo | None:
        self.arena.run.requests.mkdir(exist_ok=True)
        (self.arena.run.requests / f"request-{fault.number}").write_bytes(b"?" * 100)
        (self.arena.run.requests / "retry-999999999").touch()
        return _nothing


def _pick(victims: list[int], fault: Fault) -> int:
    return victims[int(len(victims) * fault.choice)]


def _pid(arena: Arena) -> int:
    return arena.head.pid if arena.head is not None else 0


def _nothing() -> None:
    """Nothing to undo."""


def _discard(answer: object) -> None:
    """An undo whose victim may be gone by now."""
