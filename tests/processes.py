"""Real processes for tests: the command line, heads and workers, each ended again whatever happens."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hpcnas.population.queries import Population
from hpcnas.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


GATE = """
import importlib.abc, os, sys

class Gate(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == os.environ["GATE_MODULE"]:
            sys.meta_path.remove(self)
            open(os.environ["GATE"] + ".reached", "w").close()
            open(os.environ["GATE"]).close()  # a pipe: until somebody opens its other end
        return None

sys.meta_path.insert(0, Gate())
"""


class ImportBarrier:
    """Holds a Python process, started with `environment`, inside its import of a module."""

    def __init__(self, folder: Path, module: str) -> None:
        (folder / "site").mkdir()
        (folder / "site/sitecustomize.py").write_text(GATE)
        self.pipe, self.reached = folder / "gate", folder / "gate.reached"
        os.mkfifo(self.pipe)
        self.environment = {"PYTHONPATH": str(folder / "site"), "GATE": str(self.pipe), "GATE_MODULE": module}

    def open(self) -> None:
        """Let it go on; waits until it has come to the pipe."""
        os.close(os.open(self.pipe, os.O_WRONLY))


def hpcnas(
    *arguments: str | Path, cwd: Path = ROOT, timeout_s: float = 60.0, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command = [sys.executable, "-m", "hpcnas", *map(str, arguments)]
    surroundings = {**ENVIRONMENT, **(environment or {})}
    return subprocess.run(command, cwd=cwd, env=surroundings, capture_output=True, text=True, timeout=timeout_s, check=False)


@contextlib.contextmanager
def running(
    *arguments: str | Path, log: Path, module: str = "hpcnas", environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A command in the background, its output in `log`; killed at the end if it still runs."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=ROOT,
            env={**ENVIRONMENT, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def wait_until(is_true: Callable[[], bool], timeout_s: float = 90.0) -> None:
    """Look every few milliseconds; the limit is for a busy machine. Raises TimeoutError."""
    end = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout_s:g} s")
        time.sleep(0.02)


def evaluated(folder: RunFolder) -> int:
    """Genotypes evaluated by now; 0 while there is no run."""
    if not folder.config.exists():
        return 0
    with Population.open(folder) as population:
        return population.counts().evaluated


def command_lines() -> list[tuple[int, list[str]]]:
    """Id and words of every process of this machine."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                found.append((int(entry.name), (entry / "cmdline").read_text(encoding="utf-8", errors="replace").split("\0")))
    return found


def processes_of(folder: Path) -> list[int]:
    """Processes that name the folder on their command line, ascending."""
    return sorted(pid for pid, words in command_lines() if any(str(folder) in word for word in words))


def end_processes(folder: Path) -> None:
    """Kill what a test left of a run."""
    for pid in processes_of(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def head_arguments(folder: RunFolder, *more: str) -> Sequence[str]:
    """A small search with synthetic fitness on this machine."""
    return (
        *("head", "--run", str(folder.path), "--cluster", "local", "--fitness", "synthetic:0.02", "--population", "5"),
        *("--repeats", "2", "--channels", "4", *more),
    )
