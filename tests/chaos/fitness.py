"""The fitness function of chaos runs: a value that anybody can compute again, and a history of what was acknowledged.

It runs inside real workers, whose code has nothing for tests: its first call wraps the client's methods.
"""

import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpcnas.population.protocol.client import ServiceClient
from hpcnas.records import Claim, Fitness, Verdict
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.genotype import Genotype

HISTORY = "HPCNAS_CHAOS_HISTORY"  # folder of the history files, one per process
POISON_SHARE = 0.02


def value(genotype_json: str, seed: int) -> float:
    """f(genotype, seed), uniform in [0, 1)."""
    return int.from_bytes(hashlib.sha256(f"{genotype_json}|{seed}".encode()).digest()[:6], "big") / (1 << 48)


def evaluate(genotype: Genotype, *, repeat: int, seed: int, progress: Callable[[float], None]) -> float:
    """Some 0.1 to 0.5 s of reporting progress, then f; a few genotypes fail or kill their worker, always the same ones."""
    _write_history_from_now_on()
    text = genotype_to_json(genotype)
    chance = random.Random(text)
    _perhaps_fail(chance.random())
    for step in range(20):
        time.sleep(chance.uniform(0.005, 0.025))
        progress(step / 20)
    return value(text, seed)


def _perhaps_fail(draw: float) -> None:
    if draw < POISON_SHARE / 2:
        raise RuntimeError("a genotype that always fails")
    if draw < POISON_SHARE * 3 / 4:
        os.kill(os.getpid(), signal.SIGSEGV)
    elif draw < POISON_SHARE:
        raise SystemExit(0)


def _write_history_from_now_on() -> None:
    folder = os.environ.get(HISTORY)
    if not folder or hasattr(ServiceClient, "history"):
        return
    history = (Path(folder) / f"{os.getpid()}-{time.time_ns()}.jsonl").open("a", encoding="utf-8", buffering=1)
    ServiceClient.history = history  # type: ignore[attr-defined]
    claim, record = ServiceClient.claim, ServiceClient.record

    def noted_claim(self: ServiceClient, worker_id: str, claim_id: str) -> Claim:
        answer = claim(self, worker_id, claim_id)
        if answer.lease is not None:
            _note(history, event="granted", id=answer.lease.individual_id, token=answer.lease.token, worker=worker_id)
        return answer

    def noted_record(self: ServiceClient, individual_id: int, token: int, fitness: Fitness) -> Verdict:
        verdict = record(self, individual_id, token, fitness)
        if verdict is not Verdict.STALE:
            _note(
                history, event="acknowledged", id=individual_id, token=token, repeat=fitness.repeat, accuracy=fitness.accuracy
            )
        return verdict

    ServiceClient.claim, ServiceClient.record = noted_claim, noted_record  # type: ignore[method-assign]


def _note(history: Any, **line: object) -> None:
    history.write(json.dumps(line) + "\n")
