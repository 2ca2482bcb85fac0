"""`python -m tests.benchmarks.claims_beside_page`: how long claims wait while the page of the run is written beside them.

Rounds take turns: nothing beside, `hpcnas report --format html` again and again, the same at the niceness of the head's own
page. Clients are processes of their own with the client that workers use; their claims go over loopback.
"""

import argparse
import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from hpcnas.benchmarks.store_text import store_machine_line, store_versions
from hpcnas.config import RunConfig
from hpcnas.config_file import read_config
from hpcnas.head.page import NICENESS
from hpcnas.population import open_queue
from hpcnas.population.protocol.secret import read_secret
from hpcnas.population.protocol.service import Service
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.records import Fitness, OffspringRecord, WorkerInfo
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.presets import PUBLISHED
from hpcnas.run_folder import RunFolder
from tests.report.populations import make_run

BESIDE = {"nothing": None, "hpcnas report": 0, "the head's page": NICENESS}  # and its niceness
PAUSE_S = 0.2  # of a client between two genotypes
Waits = dict[str, list[list[float]]]


def main() -> None:
    """Measure, and print a line for each of BESIDE."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genotypes", type=int, default=7000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpcnas-bench-") as path:
        folder = make_run(Path(path) / "run", given.genotypes)
        folder.secret.touch(mode=0o600)
        folder.secret.write_text(secrets.token_hex(32), encoding="ascii")
        print(f"{store_machine_line(Path(path))}; {store_versions()}", flush=True)
        waits, pages = measure(folder, given.clients, given.rounds, given.seconds)
    for name, rounds in waits.items():
        print(line(name, rounds, pages[name]))


def measure(folder: RunFolder, clients: int, rounds: int, seconds: float) -> tuple[Waits, dict[str, list[float]]]:
    """The claims' waits in ms, a list for each round, and the seconds of the pages that were written meanwhile."""
    waits: Waits = {name: [] for name in BESIDE}
    pages: dict[str, list[float]] = {name: [] for name in BESIDE}
    store = SQLiteStore.open(folder)
    service = Service(store, read_secret(folder))
    service.start()
    service.publish(folder, store.begin_epoch())
    try:
        for _ in range(rounds):
            for name, niceness in BESIDE.items():
                count = int(clients * seconds / PAUSE_S) + clients
                text = genotype_to_json(PUBLISHED)
                store.add([OffspringRecord(uuid.uuid4().hex, text, None, "", 500_000) for _ in range(count)])
                with writing(folder, niceness, pages[name]):
                    waits[name].append(claim_apart(folder, clients, seconds))
    finally:
        service.stop()
        store.close()
    return waits, pages


@contextlib.contextmanager
def writing(folder: RunFolder, niceness: int | None, seconds: list[float]) -> Iterator[None]:
    """Write the page again and again; `seconds` gets how long each took."""
    is_over = threading.Event()
    thread = threading.Thread(target=write_pages, args=(folder, niceness, seconds, is_over))
    if niceness is not None:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        if niceness is not None:
            thread.join()


def write_pages(folder: RunFolder, niceness: int | None, seconds: list[float], is_over: threading.Event) -> None:
    """One page after the other until `is_over`."""
    while not is_over.is_set():
        began = time.monotonic()
        command = ["nice", "-n", str(niceness), sys.executable, "-m", "hpcnas", "report", "--run", str(folder.path)]
        subprocess.run([*command, "--format", "html", "--force"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.monotonic() - began)


def claim_apart(folder: RunFolder, clients: int, seconds: float) -> list[float]:
    """The waits of all clients, each a process."""
    command = [sys.executable, "-m", "tests.benchmarks.claims_beside_page", "client", str(folder.path), str(seconds)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(clients)]
    answers = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError("a client failed")
    return [wait for answer in answers for wait in json.loads(answer)]


def line(name: str, rounds: list[list[float]], pages: list[float]) -> str:
    """Median and 99 % with the lowest and highest of the rounds."""
    every = [wait for waits in rounds for wait in waits]
    medians, high = [statistics.median(waits) for waits in rounds], [percentile(waits) for waits in rounds]
    text = (
        f"{name}: median {statistics.median(every):.2f} ms ({min(medians):.2f} to {max(medians):.2f}), "
        f"99 % {percentile(every):.1f} ms ({min(high):.1f} to {max(high):.1f}), highest {max(every):.0f} ms, n = {len(every)}"
    )
    return text + (f"; {len(pages)} pages of {statistics.median(pages):.1f} s" if pages else "")


def percentile(waits: list[float]) -> float:
    """Within which 99 % are."""
    return sorted(waits)[min(len(waits) - 1, int(0.99 * len(waits)))]


def claim(folder: RunFolder, seconds: float) -> list[float]:
    """One client: claims, records all repeats, pauses; how long each claim took in ms."""
    config = RunConfig.from_dict(read_config(folder.config))
    queue, name, waits = open_queue(folder, config), f"client{os.getpid()}", list[float]()
    queue.join(WorkerInfo(name, "bench", os.getpid()))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        lease = queue.claim(name, uuid.uuid4().hex).lease
        waits.append(1000 * (time.perf_counter() - began))
        if lease is not None:
            for repeat in range(config.recipe.repeats):
                queue.record(lease.individual_id, lease.token, Fitness(repeat, 0.8, 1, 5000, 1.0, "cpu"))
        time.sleep(PAUSE_S)
    queue.close()
    return waits


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "client":
        print(json.dumps(claim(RunFolder(Path(sys.argv[2])), float(sys.argv[3]))))
    else:
        main()
