"""Compiled kernels on disk: made side by side before they are needed, once for all processes that share the folder.

Triton keeps compiled kernels in a folder, under a hash of everything that they depend on. A file beside lists the
variants that are there. Nodes of one kind share entries, nodes of different kinds have entries of their own.
"""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from hpcnas.networks.cpu.build import cache_folder
from hpcnas.networks.gpu.plans import PassPlan
from hpcnas.networks.gpu.variants import KernelVariant, variants_of
from hpcnas.system.flock import CannotLock, acquire_lock

log = logging.getLogger(__name__)

POLL_S = 0.5
ANNOUNCE_S = 10.0


def use_folder() -> Path:
    """The folder of compiled kernels, which Triton is set to: $TRITON_CACHE_DIR, else one beside the CPU's."""
    return Path(os.environ.setdefault("TRITON_CACHE_DIR", str(cache_folder() / "triton")))


def prepare(plan: PassPlan, arch: int, wait: Callable[[], None] = lambda: None) -> int:
    """Compile the variants that `plan` needs and that are not on disk yet.

    Args:
        arch: of the card, such as 90.
        wait: called twice a second meanwhile; what it raises goes through, and ends what compiles.
    Returns:
        How many variants this process compiled; others may have compiled the rest.
    """
    folder = use_folder()
    missing = _missing(plan, arch, folder)
    if not missing:
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder, wait):
        missing = _missing(plan, arch, folder)  # another process may have been faster
        if missing:
            _compile(plan, arch, missing, folder, wait)
    return len(missing)


def mark(folder: Path, variant: KernelVariant, arch: int) -> None:
    """Note that a variant is compiled."""
    place = _marker(folder, variant, arch)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()


def _marker(folder: Path, variant: KernelVariant, arch: int) -> Path:
    return folder / f"hpcnas-sm{arch}" / variant.digest


def _missing(plan: PassPlan, arch: int, folder: Path) -> list[KernelVariant]:
    return [variant for variant in variants_of(plan.launches(), arch) if not _marker(folder, variant, arch).exists()]


def _lock(folder: Path, wait: Callable[[], None]) -> AbstractContextManager[object]:
    said = False
    while True:
        try:
            return acquire_lock(str(folder / "hpcnas-compile.lock"), timeout_s=POLL_S)
        except TimeoutError:
            if not said:
                log.info("another process compiles the GPU's kernels into %s; waiting for it", folder)
            said = True
            wait()
        except CannotLock:
            # Nothing breaks without: Triton writes beside and renames into place; some is compiled twice.
            return nullcontext()


def _compile(plan: PassPlan, arch: int, missing: Sequence[KernelVariant], folder: Path, wait: Callable[[], None]) -> None:
    processes = min(len(missing), len(os.sched_getaffinity(0)))
    log.info("compiling %d GPU kernels for sm_%d in %d processes into %s, once", len(missing), arch, processes, folder)
    start = said = time.monotonic()
    question = {"plan": plan.to_json(), "arch": arch, "folder": str(folder)}
    shares = [json.dumps(question | {"digests": [v.digest for v in missing[i::processes]]}) for i in range(processes)]
    started = [_start(share) for share in shares]
    try:
        while any(process.poll() is None for process in started):
            time.sleep(POLL_S)
            wait()
            if time.monotonic() - said > ANNOUNCE_S:
                done = sum(_marker(folder, variant, arch).exists() for variant in missing)
                log.info("compiled %d of %d GPU kernels", done, len(missing))
                said = time.monotonic()
    finally:
        for process in started:
            process.kill()
            process.wait()
    for process in started:
        if process.returncode != 0:
            # Triton compiles what is missing at its first launch, one after the other.
            log.warning("a process that compiles GPU kernels ended with code %d", process.returncode)
    log.info("compiled %d GPU kernels in %.0f s", len(missing), time.monotonic() - start)


def _start(question: str) -> subprocess.Popen[bytes]:
    # As many processes as CPUs, so each takes one thread.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "hpcnas.networks.gpu.compile"], stdin=subprocess.PIPE, env=environment)
    assert process.stdin is not None
    with process.stdin as stream:
        stream.write(question.encode())
    return process
