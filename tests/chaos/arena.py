"""A real run under test: one head process that is always started again, its own eight workers, a proxy before its port."""

import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

from hpcnas.run_folder import RunFolder
from hpcnas.system.processes import read_holder
from tests.chaos.fitness import HISTORY
from tests.chaos.proxy import Proxy
from tests.processes import command_lines, evaluated, processes_of, wait_until

ROOT = Path(__file__).resolve().parents[2]
# A parent by chance: a search that converges breeds genotypes that were trained before, and those need no worker.
SETTINGS = """\
[search]
steps = {steps}
population = 20
tournament = 0.0001
seed = {seed}
[recipe]
fitness = "{fitness}"
repeats = 3
[cluster]
cluster = "local"
workers = {workers}
cpus_per_worker = 1
lease_s = {lease_s}
heartbeat_s = {heartbeat_s}
stall_s = {stall_s}
"""


class Arena:
    """The processes of one run, and handles on them for the nemesis.

    Attributes:
        exits: exit codes of heads that ended.
        is_head_wanted: while False the head is away and stays away.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        steps: int,
        workers: int = 8,
        lease_s: float = 3.0,
        stall_s: float = 20.0,
        fitness: str = "tests.chaos.fitness:evaluate",
        environment: dict[str, str] | None = None,
        head_prefix: tuple[str, ...] = (),
    ) -> None:
        self.run = RunFolder(folder / "run")
        self.history = folder / "history"
        self.history.mkdir(parents=True, exist_ok=True)
        self.settings = folder / "settings.toml"
        values = {"steps": steps, "seed": seed, "workers": workers, "lease_s": lease_s, "stall_s": stall_s, "fitness": fitness}
        self.settings.write_text(SETTINGS.format(**values, heartbeat_s=lease_s / 6), encoding="utf-8")
        self.environment = environment or {}
        self.head_prefix = head_prefix
        self.log = (folder / "heads.log").open("ab")
        self.steps = steps
        self.exits: list[int] = []
        self.is_head_wanted = True
        self.proxy = Proxy()
        self.head: subprocess.Popen[bytes] | None = None
        self._is_over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        """Start the head, and keep it started."""
        self._keeper.start()

    def set_steps(self, steps: int) -> None:
        """The next head searches to this many genotypes."""
        self.steps = steps

    def is_finished(self) -> bool:
        """Whether a head has reached the last step and left."""
        return self._is_over.is_set()

    def wait_finished(self, timeout_s: float) -> bool:
        """Wait for the end of the run."""
        return self._is_over.wait(timeout_s)

    def workers(self) -> list[int]:
        """Process ids of this run's live workers, ascending."""
        return sorted(
            pid for pid, words in command_lines() if "submitit.core._submit" in words and str(self.run.slurm) in words
        )

    def orphans(self) -> list[int]:
        """Every process that names the run's folder on its command line."""
        return processes_of(self.run.path)

    def signal_head(self, number: int) -> bool:
        """Send a signal to the head, if there is one."""
        head = self.head
        return head is not None and send(head.pid, number)

    def end_head(self) -> bool:
        """Kill the head and let no new one start until `is_head_wanted`; whether there was one."""
        head = self.head
        if head is None or not self.is_head_wanted:
            return False
        self.is_head_wanted = False
        send(head.pid, signal.SIGKILL)
        while self.head is not None:  # the keeper takes note of its end
            time.sleep(0.01)
        return True

    def write_back(self) -> None:
        """Move the write-ahead log into the database: it would heal what is damaged there."""
        connection = sqlite3.connect(self.run.database, timeout=30)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def restore(self) -> None:
        """Runs the command that the head's refusal of a damaged database names."""
        command = [sys.executable, "-m", "hpcnas", "restore", "--run", str(self.run.path)]
        subprocess.run(command, cwd=ROOT, stdout=self.log, stderr=self.log, check=True)

    def limit_files(self, pid: int, bytes_: int) -> bool:
        """No file of that process may grow beyond; -1 for no limit."""
        try:
            hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (bytes_ if bytes_ >= 0 else hard, hard))
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        """End whatever is left."""
        self.is_head_wanted = False
        self._is_over.set()
        self.signal_head(signal.SIGCONT)
        self.signal_head(signal.SIGKILL)
        self._keeper.join()
        for pid in self.orphans():
            send(pid, signal.SIGKILL)
        self.proxy.close()
        self.log.close()

    def wait_evaluated(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until that many genotypes are evaluated."""
        wait_until(lambda: self.evaluated() >= count, timeout_s)

    def heads_said(self) -> str:
        """What all heads printed."""
        return Path(self.log.name).read_text(encoding="utf-8", errors="replace")

    def evaluated(self) -> int:
        """Genotypes evaluated by now; 0 while there is no run."""
        return evaluated(self.run)

    def _keep(self) -> None:
        known = None
        while not self._is_over.is_set():
            if self.head is None and self.is_head_wanted:
                self._clear_foreign_lock()
                self.head = self._start_head()
            elif self.head is not None and self.head.poll() is not None:
                self._note_exit(self.head.returncode)
                self.head = None
            known = self._put_proxy_before(known)
            time.sleep(0.02)
        if self.head is not None:
            self.head.wait()

    def _start_head(self) -> subprocess.Popen[bytes]:
        command = [*self.head_prefix, sys.executable, "-m", "hpcnas.head"]
        command += ["--run", str(self.run.path), "--config", str(self.settings)]
        return subprocess.Popen(
            [*command, "--steps", str(self.steps)],
            cwd=ROOT,
            env={**os.environ, HISTORY: str(self.history), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def _note_exit(self, code: int) -> None:
        self.exits.append(code)
        if code == 0 and self.evaluated() >= self.steps:
            self._is_over.set()

    def _clear_foreign_lock(self) -> None:
        """What a person does who reads the head's refusal: remove a lock that names no live head."""
        if self.run.lock.exists() and read_holder(self.run.lock) is None:
            self.run.lock.unlink()

    def _put_proxy_before(self, known: str | None) -> str | None:
        """Whenever a head has written its address, write the proxy's in its place."""
        try:
            text = self.run.head_address.read_text(encoding="utf-8")
            address = json.loads(text)
            port = int(address["port"])
        except (OSError, ValueError, TypeError, KeyError):
            return known
        if text == known or port == self.proxy.port:
            return known
        self.proxy.target = ("127.0.0.1", port)
        beside = self.run.head_address.with_suffix(".proxy")
        beside.write_text(json.dumps({**address, "port": self.proxy.port}), encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):
            os.replace(beside, self.run.head_address)
        return text


def send(pid: int, number: int) -> bool:
    """Send a signal; whether there was such a process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def remove(folder: Path) -> None:
    """Delete a run that is over."""
    shutil.rmtree(folder, ignore_errors=True)
