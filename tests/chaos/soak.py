"""`make soak`: a run under faults for an hour, then the checks. `python -m tests.chaos.soak --minutes 60 --seed 1`.

The seed is printed and gives the same schedule again; when something breaks, the run's folder is kept.
"""

import argparse
import contextlib
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hpcnas.errors import HpcnasError
from tests.chaos.arena import Arena, remove
from tests.chaos.checker import Verdict, check
from tests.chaos.nemesis import Fault, Nemesis
from tests.processes import wait_until

FINISH_S = 180.0  # for the rest of the run once the faults are over: far more than lease + one evaluation
FAR_STEPS = 1_000_000


def storm(folder: Path, *, seconds: float, seed: int, mean_s: float, report: bool = False) -> tuple[Verdict, Nemesis, Arena]:
    """Run under faults for that long, let the run end in peace, and check it."""
    arena = Arena(folder, seed=seed, steps=FAR_STEPS)
    nemesis = Nemesis(arena, seed, mean_s)
    try:
        arena.start()
        arena.wait_evaluated(1)
        nemesis.rage(seconds, _printer(arena, nemesis) if report else lambda fault: None)
        verdict = _end_in_peace(arena)
    finally:
        arena.close()
    verdict.figures["faults"] = sum(nemesis.injected.values())
    verdict.figures["heads"] = len(arena.exits) + 1
    return verdict, nemesis, arena


def _end_in_peace(arena: Arena) -> Verdict:
    """Let a last head finish a few more genotypes; nothing may be left over."""
    arena.set_steps(arena.evaluated() + 40)
    arena.signal_head(15)  # drains; the next head has the new number of steps
    if not arena.wait_finished(FINISH_S):
        verdict = check(arena.run, arena.history, steps=arena.steps)
        verdict.problems.insert(0, f"not finished {FINISH_S:g} s after the faults were over")
        return verdict
    with contextlib.suppress(TimeoutError):  # what is left then is a problem, below
        wait_until(lambda: not arena.orphans(), 30)
    verdict = check(arena.run, arena.history, steps=arena.evaluated())
    verdict.problems += [f"process {pid} was left over" for pid in arena.orphans()]
    return verdict


def _printer(arena: Arena, nemesis: Nemesis) -> Callable[[Fault], None]:
    def show(fault: Fault) -> None:
        injected = sum(nemesis.injected.values())
        if injected % 50 == 0:
            print(f"{time.strftime('%H:%M:%S')} {injected} faults, {_evaluated(arena)} evaluated", flush=True)

    return show


def _evaluated(arena: Arena) -> str:
    try:
        return str(arena.evaluated())
    except HpcnasError:  # the nemesis has damaged the database just now
        return "unknown number"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="A search under faults.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--mean-s", type=float, default=1.5, help="mean pause between two faults")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="hpcnas-soak-"))
    print(f"seed {seed}, {given.minutes:g} minutes, in {folder}", flush=True)
    verdict, nemesis, _ = storm(folder, seconds=60 * given.minutes, seed=seed, mean_s=given.mean_s, report=True)
    print(json.dumps({"seed": seed, "minutes": given.minutes, **verdict.figures}, indent=1))
    print("\n".join(f"{count:6d} x {kind}" for kind, count in nemesis.injected.most_common()))
    if verdict.problems:
        print(f"{len(verdict.problems)} promises broken (the run is kept in {folder}):", *verdict.problems[:50], sep="\n  ")
        return 1
    print("every promise held")
    remove(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
