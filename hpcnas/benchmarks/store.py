"""`hpcnas bench store`: what the store costs beside raw sqlite3, through the service, and as it grows.

A cycle is a claim and the record of its one repeat, both durable. Ratios are of medians over rounds
that take turns in one process, so that a busy machine slows both sides alike.
"""

import os
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpcnas.benchmarks.store_clients import drive_apart
from hpcnas.benchmarks.store_rows import GENOTYPE, RawCycles, fill, queue_more
from hpcnas.benchmarks.store_text import store_machine_line, store_versions
from hpcnas.config import RecipeConfig, RunConfig
from hpcnas.population import create_store, open_queue, open_store
from hpcnas.population.protocol.secret import read_secret
from hpcnas.population.protocol.service import Service
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.population.store import Store, WorkQueue
from hpcnas.records import Fitness, WorkerInfo
from hpcnas.run_folder import RunFolder

Row = dict[str, Any]
Breeder = Callable[[], object]


def run(
    make_breeder: Callable[[Store, RunConfig], Breeder],
    *,
    rounds: int = 9,
    cycles: int = 60,
    clients: int = 200,
    seconds: float = 10.0,
    sizes: tuple[int, int, int] = (100, 7_000, 100_000),
    postgres: str = "",
    folder: Path | None = None,
    log_line: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure this machine.

    Args:
        make_breeder: gives a function that breeds one child into a store, as a head does.
        rounds, cycles: medians are over `rounds` rounds of `cycles` cycles each.
        clients, seconds: of the service's measurement.
        sizes: small, paper's and large population.
        postgres: connection string of a server to measure too; empty: none.
        folder: where to put the databases; by default a temporary folder, which is what the disk's speed is of.
        log_line: called with the name of each measurement.

    Returns:
        machine, versions, rows (each with name, n, median and spread) and summary, as docs/performance.md names them.
    """
    with tempfile.TemporaryDirectory(prefix="hpcnas-bench-", dir=folder, ignore_cleanup_errors=True) as path:
        bench = _Bench(Path(path), rounds, cycles, log_line)
        small, paper, large = sizes
        summary = bench.cycles(small, large)
        summary |= bench.service(clients, seconds)
        summary |= bench.breeding((paper, large), make_breeder)
        if postgres:
            bench.postgres(postgres)
    return {
        "machine": store_machine_line(Path(folder or tempfile.gettempdir())),
        "versions": store_versions(),
        "rows": bench.rows,
        "summary": summary,
    }


class _Bench:
    def __init__(self, path: Path, rounds: int, cycles: int, log_line: Callable[[str], None]) -> None:
        self.path, self.rounds, self.n, self.log_line = path, rounds, cycles, log_line
        self.rows: list[Row] = []

    def cycles(self, small: int, large: int) -> dict[str, float]:
        """raw_ratio, growth_ratio, cycles_per_s."""
        self.log_line(f"cycles at {small} and {large} genotypes, and raw sqlite3 doing the same statements")
        stores = {size: self._store(f"cycles{size}", size, self.rounds * self.n + 1) for size in (small, large)}
        raw = RawCycles(self._folder("raw", small, self.rounds * self.n + 1))
        times: dict[str, list[float]] = {"flush": [], "raw": [], str(small): [], str(large): []}
        for _ in range(self.rounds):
            # In turns, so that a slower minute of the machine falls on all of them.
            times["flush"].append(_flush_s(self.path, self.n))
            times["raw"].append(self._timed(raw.cycle))
            for size, store in stores.items():
                times[str(size)].append(self._timed(lambda store=store: _cycle(store)))  # type: ignore[misc]
        raw.close()
        for store in stores.values():
            store.close()
        self._row("flush of one small write", [1000 * s for s in times["flush"]], "ms", self.n)
        self._row("raw sqlite3, same statements, WAL and FULL", [1 / s for s in times["raw"]], "cycles/s", self.n)
        self._row(f"store, {small} genotypes", [1 / s for s in times[str(small)]], "cycles/s", self.n)
        self._row(f"store, {large} genotypes", [1 / s for s in times[str(large)]], "cycles/s", self.n)
        median = {name: statistics.median(values) for name, values in times.items()}
        return {
            "cycles_per_s": 1 / median[str(small)],
            "raw_ratio": median["raw"] / median[str(small)],
            "growth_ratio": median[str(large)] / median[str(small)],
        }

    def service(self, clients: int, seconds: float) -> dict[str, float]:
        """service_cycles_per_s, service_p99_ms, fairness; and what the service costs when 200 workers really train."""
        self.log_line(f"the service with {clients} clients over loopback")
        store = self._store("service", 100, int(seconds * 6000) + clients)
        service = Service(store, read_secret(RunFolder(store.path.parent)))
        service.start()
        service.publish(RunFolder(store.path.parent), store.begin_epoch())
        try:
            found = drive_apart(store.path.parent, clients, seconds, 0.0, service.cpu_s)
            # With pauses, as of workers that train: what the service costs when it is not the limit.
            idle = drive_apart(store.path.parent, clients, seconds, 30.0, service.cpu_s)
        finally:
            service.stop()
            store.close()
        rates = sorted(found["cycles"])
        self._row(f"service, {clients} clients", [sum(rates) / found["seconds"]], "cycles/s", sum(rates))
        self._row("processor time of the service for a cycle", [1e6 * found["cpu_s"] / max(1, sum(rates))], "us", sum(rates))
        self._row("claim through the service, median", [found["p50_ms"]], "ms", sum(rates))
        self._row("claim through the service, 99 %", [found["p99_ms"]], "ms", sum(rates))
        self._row("slowest client against the fastest", [rates[0] / max(1, rates[-1])], "", clients)
        self._row(
            f"service with {clients} clients, a genotype every 30 s",
            [100 * idle["cpu_s"] / idle["seconds"]],
            "% of one core",
            1,
        )
        return {
            "service_cycles_per_s": sum(rates) / found["seconds"],
            "service_p99_ms": found["p99_ms"],
            "fairness": rates[0] / max(1, rates[-1]),
        }

    def breeding(self, sizes: tuple[int, int], breeder: Callable[[Store, RunConfig], Breeder]) -> dict[str, float]:
        """breed_ms of each size: tournament, mutation, durable insert."""
        summary = {}
        for size in sizes:
            self.log_line(f"breeding at {size} genotypes")
            store = self._store(f"breed{size}", size, 0)
            config = RunConfig(recipe=RecipeConfig(repeats=1))
            # More steps than genotypes: a run that has all of its steps breeds no more.
            grown = RunConfig.from_dict({"search": {"steps": 10 * size}}, config)
            breed = breeder(store, grown)
            breed()  # reads the population once, as a head does when it starts
            with store.batch():
                for _ in range(self.rounds):
                    self._timed(breed)  # a processor that was idle before takes a while to come to speed
                in_memory = [self._timed(breed) for _ in range(self.rounds)]
            durable = [self._timed(breed) for _ in range(self.rounds)]
            store.close()
            self._row(f"breeding at {size} genotypes, durable", [1000 * s for s in durable], "ms", self.n)
            self._row(f"breeding at {size} genotypes, without flush", [1000 * s for s in in_memory], "ms", self.n)
            summary[f"breed_ms_{size}"] = 1000 * statistics.median(durable)
        return summary

    def postgres(self, address: str) -> None:
        """Cycles with 1, 8 and 32 connections to a PostgreSQL server; leaves a schema of its own there."""
        self.log_line("PostgreSQL with 1, 8 and 32 connections")
        folder = RunFolder(self.path / "postgres")
        folder.path.mkdir()
        config = RunConfig.from_dict({"store": address, "recipe": {"repeats": 1}})
        create_store(folder, config)
        head = open_store(folder, config)
        try:
            head.begin_epoch()
            head.join(_WORKER)
            for connections in (1, 8, 32):
                queues = [open_queue(folder, config) for _ in range(connections)]
                # About as many cycles in all for each number of connections.
                cycles = max(1, 4 * self.n // connections)
                queue_more(head, cycles * connections)
                self._row(f"PostgreSQL, {connections} connections", [_race(queues, cycles)], "cycles/s", cycles * connections)
                for queue in queues:
                    queue.close()
        finally:
            head.close()

    def _store(self, name: str, evaluated: int, queued: int) -> SQLiteStore:
        return SQLiteStore.open(self._folder(name, evaluated, queued), backup_s=None)

    def _folder(self, name: str, evaluated: int, queued: int) -> RunFolder:
        folder = RunFolder(self.path / name)
        fill(folder, evaluated, queued)
        return folder

    def _timed(self, cycle: Callable[[], object]) -> float:
        start = time.perf_counter()
        for _ in range(self.n):
            cycle()
        return (time.perf_counter() - start) / self.n

    def _row(self, name: str, values: list[float], unit: str, n: int) -> None:
        row: Row = {"name": name, "n": n * len(values), "median": statistics.median(values), "unit": unit}
        if len(values) > 1:
            row |= {"low": min(values), "high": max(values)}
        self.rows.append(row)


_WORKER = WorkerInfo("bench", "bench", 1)


def _cycle(store: WorkQueue) -> None:
    lease = store.claim("bench", uuid.uuid4().hex).lease
    if lease is None:
        raise RuntimeError("the bench has too few genotypes")
    store.record(lease.individual_id, lease.token, Fitness(0, 0.5, 1, 5000, 1.0, "cpu"))


def _flush_s(path: Path, n: int) -> float:
    with (path / "flush").open("ab", buffering=0) as file:
        start = time.perf_counter()
        for _ in range(n):
            file.write(GENOTYPE.encode())
            os.fdatasync(file.fileno())
        return (time.perf_counter() - start) / n


def _race(queues: list[WorkQueue], cycles: int) -> float:
    def work(queue: WorkQueue) -> None:
        barrier.wait()
        for _ in range(cycles):
            _cycle(queue)

    # With this thread, so that the clock starts when all connections are ready.
    barrier = threading.Barrier(len(queues) + 1)
    threads = [threading.Thread(target=work, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return cycles * len(queues) / (time.perf_counter() - start)
