"""`make quick`: what one runs while writing, under a minute on two cores: no process, Slurm, PostgreSQL, browser, compiler.

CHOSEN is the whole choice: the files whose tests take milliseconds. A test of theirs that is marked `slow`, or is of a store in
PostgreSQL, is left to `make test`. During the others, starting a process is an error.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent

# folder of tests -> names of its files, without test_ and .py
CHOSEN = {
    "": "config docstrings quick",
    "cluster": "ledger task",
    "cluster/slurm": "batch command probe queries",
    "commands": "simulate status_view",
    "docs": "house named_tests",
    "evolution": "breeding duplicates mutation selection",
    "head": "breeder display lease_monitor log loop refill requests scaling scaling_trouble trouble unfit_hosts",
    "head/endings": "budget",
    "head/start": "create show_plan start",
    "networks": "counts",
    "networks/cpu": "body",
    "networks/gpu": "support",
    "population": "invariants leases outcomes pace quarantine rules store_contract twins",
    "population/protocol": "client connection messages outbox secret",
    "population/sqlite": "file",
    "report": "lineage page quoting read_run",
    "report/charts": "charts svg",
    "report/drawing": "drawing",
    "report/tables": "formats formatting paper",
    "representation": "canonical codec genotype live own_names space",
    "simulation": "search",
    "system": "background_call file_system home network",
    "training": "visible_gpu",
    "training/data": "augment datasets images own_images pixels prepare",
    "training/fitness": "evaluators synthetic",
    "training/full_size": "result",
    "worker": "attempt delivery heartbeat",
}
FILES = {TESTS / folder / f"test_{name}.py" for folder, names in CHOSEN.items() for name in names.split()}
LEFT_OUT = {"slow", "slurm", "chaos", "gpu", "nightly", "serial"}  # marks
STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec"}  # audit events

_is_refused = [False]


def is_on_the_way(path: Path) -> bool:
    """Whether it is a chosen file, or a folder that holds one."""
    return path in FILES or any(path in file.parents for file in FILES)


def is_quick(item: pytest.Item) -> bool:
    """Whether a test of a chosen file is one of `make quick`."""
    marks = {mark.name for mark in item.iter_markers()}
    return not LEFT_OUT & marks and "postgres" not in item.name.partition("[")[2] + " ".join(getattr(item, "fixturenames", ()))


@contextmanager
def processes_refused() -> Iterator[None]:
    """While inside, whoever starts a process gets a RuntimeError."""
    _is_refused[0] = True
    try:
        yield
    finally:
        _is_refused[0] = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _is_refused[0] and event in STARTS:
        raise RuntimeError(f"a quick test starts a process ({event} {arguments[:2]}): mark it `slow`, see tests/quick.py")


sys.addaudithook(_audit)
