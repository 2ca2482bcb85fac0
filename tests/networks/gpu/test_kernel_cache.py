"""Many processes that need the same kernels at once compile each of them once."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("triton")

from hpcnas.networks.gpu import kernel_cache
from hpcnas.networks.gpu.kernel_cache import prepare
from hpcnas.networks.gpu.plans import PassPlan
from hpcnas.networks.gpu.variants import compile_variant, variants_of
from hpcnas.representation.codec import genotype_to_json
from tests.networks.gpu.machine_code import usage
from tests.networks.gpu.material import tiny

PROCESSES, WORKERS = 8, 200
PLAN = PassPlan(genotype_to_json(tiny("smallest")), 8, 1, 2, 1, 8, 8, 10, evaluation_batch=8)
ARCH = 90
PROGRAM = """
import os, sys, time
from pathlib import Path
from hpcnas.networks.gpu import kernel_cache
from hpcnas.networks.gpu.plans import PassPlan
start = kernel_cache._start

def noted(question):
    print("starts a compiling process", flush=True)
    return start(question)

kernel_cache._start = noted
place = Path(sys.argv[1])
(place / f"ready-{os.getpid()}").touch()
while not (place / "go").exists():
    time.sleep(0.01)
print("compiled", kernel_cache.prepare(PassPlan.from_json(sys.argv[2]), int(sys.argv[3])), flush=True)
"""


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made(cache: Path) -> list[Path]:
    return list(cache.rglob("*.cubin"))


@pytest.mark.timeout(600)
def test_processes_that_start_at_once_compile_each_variant_once(tmp_path, cache):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), PLAN.to_json(), str(ARCH)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(PROCESSES)]
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("ready-*"))) < PROCESSES and time.monotonic() < deadline:
        time.sleep(0.02)
    (tmp_path / "go").touch()
    said = [process.communicate(timeout=500)[0] for process in started]
    assert all(process.returncode == 0 for process in started)
    needed = len(variants_of(PLAN.launches(), ARCH))
    counts = sorted(int(text.split()[-1]) for text in said)
    assert counts == [0] * (PROCESSES - 1) + [needed]
    assert sum("starts a compiling process" in text for text in said) == 1
    assert len(made(cache)) == needed
    assert prepare(PLAN, ARCH) == 0


@pytest.mark.serial
@pytest.mark.timeout(300)
def test_of_200_workers_that_start_at_once_one_compiles(tmp_path, cache, monkeypatch):
    """One variant for all, so that it is the lock and the cache that work, not the compiler."""
    (variant,) = variants_of(PLAN.launches(), ARCH)[:1]
    monkeypatch.setattr(kernel_cache, "variants_of", lambda launches, arch: [variant])
    context = multiprocessing.get_context("fork")  # all of them have Triton at once
    all_there, counts = context.Barrier(WORKERS), context.Queue()

    def work() -> None:
        all_there.wait()
        counts.put(prepare(PLAN, ARCH))

    workers = [context.Process(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    found = [counts.get(timeout=200) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(found) == [0] * (WORKERS - 1) + [1]
    assert all(worker.exitcode == 0 for worker in workers)
    assert len(made(cache)) == 1
    assert not [path for path in cache.rglob("*") if "tmp" in path.name], "nothing is left half-written"
    monkeypatch.undo()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(cache))
    assert usage(compile_variant(variant, ARCH)).registers > 0, "the entry is whole"
    assert len(made(cache)) == 1


def test_what_waiting_raises_goes_through_and_leaves_the_lock(cache, monkeypatch):
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(PLAN, ARCH, stop)
    monkeypatch.setattr("hpcnas.networks.gpu.kernel_cache._compile", lambda *args: None)
    assert prepare(PLAN, ARCH) > 0


def test_cards_of_different_kinds_have_entries_of_their_own(cache, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr("hpcnas.networks.gpu.kernel_cache._compile", lambda plan, arch, *args: asked.append(arch))
    prepare(PLAN, 80)
    prepare(PLAN, 90)
    assert asked == [80, 90]
