"""`hpcnas bench startup`: how long a command and a worker take from their start to what they are started for.

Wall time is what a person waits; processor time (user + system) moves less with what else the machine does.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hpcnas.benchmarks.store_rows import fill
from hpcnas.benchmarks.store_text import store_machine_line, store_versions
from hpcnas.config import RecipeConfig
from hpcnas.errors import HpcnasError
from hpcnas.population.protocol.secret import read_secret
from hpcnas.population.protocol.service import Service
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.run_folder import RunFolder

GENOTYPES = 7_000  # of the run whose status is read: the paper's
LONGEST_S = 120.0  # of one start, on a busy machine
LOOK_S = 0.001
VERSION, STATUS, CLAIM, CLAIM_TRAIN = "version", "status", "claim", "claim_train"
NAMES = {
    VERSION: "hpcnas --version",
    STATUS: f"hpcnas status of {GENOTYPES:,} genotypes",
    CLAIM: "a worker's first claim, synthetic fitness",
    CLAIM_TRAIN: "a worker's first claim, trained fitness",
}
GOALS_S = {VERSION: 0.25, STATUS: 0.6, CLAIM: 0.3}  # on a quiet machine

Start = Callable[[], tuple[float, float]]  # gives wall and processor seconds


def run(starts: int = 9, *, dataset: str = "", genotypes: int = GENOTYPES) -> dict[str, Any]:
    """Start each process `starts` times, in turns, after one start that is not counted.

    Args:
        dataset: also measure a worker that trains on it, on a CPU; empty: none.
        genotypes: of the run whose status is read.
    Returns:
        {"machine", "versions", "rows", "summary"}. Each process has a row: median and spread of its wall time, median of its
        processor time. The summary has version_s, status_s, claim_s (and claim_train_s).
    Raises:
        HpcnasError: a process failed; with its last words.
    """
    with ExitStack() as opened:
        path = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="hpcnas-bench-")))
        fill(RunFolder(path / STATUS), genotypes, 0)
        processes: dict[str, Start] = {
            VERSION: lambda: _command("--version"),
            STATUS: lambda: _command("status", "--run", str(path / STATUS)),
        }
        recipes = {CLAIM: RecipeConfig(fitness=f"synthetic:{LONGEST_S:g}", repeats=1)}
        if dataset:
            recipes[CLAIM_TRAIN] = RecipeConfig(dataset=dataset, repeats=1)
        for key, recipe in recipes.items():
            processes[key] = opened.enter_context(_claims(RunFolder(path / key), recipe, starts + 1))
        seconds = _in_turns(processes, starts)
    rows = [_row(key, values) for key, values in seconds.items()]
    return {
        "machine": store_machine_line(Path(tempfile.gettempdir())),
        "versions": store_versions(),
        "rows": rows,
        "summary": {f"{key}_s": row["median"] for key, row in zip(seconds, rows, strict=True)},
    }


def text(report: dict[str, Any]) -> str:
    """The report for a person."""
    lines = [report["machine"], ", ".join(f"{name} {version}" for name, version in report["versions"].items()), ""]
    for row in report["rows"]:
        measured = f"{row['median']:.3f} ({row['low']:.3f} to {row['high']:.3f}) s, processor {row['processor_s']:.3f} s"
        goal = f", goal {row['goal']:g} s" if row["goal"] is not None else ""
        lines.append(f"{row['name']:<44} {measured}, n = {row['n']}{goal}")
    return "\n".join(lines)


def _in_turns(processes: dict[str, Start], starts: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each start; in turns, so that a slower minute of the machine falls on all processes."""
    seconds: dict[str, list[tuple[float, float]]] = {key: [] for key in processes}
    for number in range(starts + 1):
        for key, start in processes.items():
            measured = start()
            if number:  # the first one fills the page cache
                seconds[key].append(measured)
    return seconds


def _row(key: str, values: list[tuple[float, float]]) -> dict[str, Any]:
    wall = [wall_s for wall_s, _ in values]
    processor_s = statistics.median(processor_s for _, processor_s in values)
    median = {"n": len(wall), "median": statistics.median(wall), "low": min(wall), "high": max(wall), "unit": "s"}
    return {"name": NAMES[key], **median, "processor_s": processor_s, "goal": GOALS_S.get(key)}


def _command(*arguments: str) -> tuple[float, float]:
    """One command to its end."""
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = _start("hpcnas", arguments, said.fileno())
        processor_s, code = _end_of(process)
        wall_s = time.monotonic() - began
        if code:
            raise HpcnasError(f"`hpcnas {' '.join(arguments)}` ended with exit code {code}: {_last_line(said.fileno())}")
    return wall_s, processor_s


@contextmanager
def _claims(folder: RunFolder, recipe: RecipeConfig, starts: int) -> Iterator[Start]:
    """A head's service in this process, and what starts a worker of it and ends it when it has a genotype."""
    fill(folder, 0, starts, recipe)
    store = SQLiteStore.open(folder, backup_s=None)
    service = Service(store, read_secret(folder))
    try:
        service.start()
        service.publish(folder, store.begin_epoch())
        yield lambda: _claim(folder, store)
    finally:
        service.stop()
        store.close()


def _claim(folder: RunFolder, store: SQLiteStore) -> tuple[float, float]:
    """One worker until a genotype is leased to it."""
    leased = store.counts().leased
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = _start("hpcnas.worker", ("--run", str(folder.path)), said.fileno())
        try:
            while store.counts().leased == leased:
                if process.poll() is not None or time.monotonic() - began > LONGEST_S:
                    raise HpcnasError(f"a worker claimed nothing: {_last_line(said.fileno())}")
                time.sleep(LOOK_S)
            wall_s = time.monotonic() - began
        finally:
            # It has its genotype; what it would train for is not measured.
            process.kill()
        processor_s, _ = _end_of(process)
    return wall_s, processor_s


def _start(module: str, arguments: tuple[str, ...], said: int) -> subprocess.Popen[bytes]:
    # Without a GPU and with one thread, so that machines can be compared.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)


def _end_of(process: subprocess.Popen[bytes]) -> tuple[float, int]:
    """Wait for it; its processor seconds and its exit code."""
    # wait4 and not Popen.wait: it gives the processor time of this one child.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # so that nobody waits for it again
    return usage.ru_utime + usage.ru_stime, process.returncode


def _last_line(said: int) -> str:
    lines = os.pread(said, 1 << 20, 0).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
