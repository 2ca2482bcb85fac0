"""A run with a store of every kind: the head's side and a worker's side, and a way to restart the head."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from hpcnas.config import RecipeConfig, RunConfig
from hpcnas.config_file import config_toml
from hpcnas.population.invariants import check_invariants
from hpcnas.population.postgres.store import PostgresStore
from hpcnas.population.protocol.client import ServiceClient
from hpcnas.population.protocol.secret import read_secret
from hpcnas.population.protocol.service import Service
from hpcnas.population.queries import Population
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.population.store import Store, WorkQueue
from hpcnas.records import Failure, FailureKind, Fitness, Individual, Lease, LeaseView, OffspringRecord, WorkerInfo
from hpcnas.run_folder import RunFolder

KINDS = ("sqlite-wal", "sqlite-journal", "service", "postgres")
REPEATS = 2
CRASH = Failure(FailureKind.CRASH, "boom", "Traceback ...")


def offspring_record(number: int = 0, **changes: object) -> OffspringRecord:
    values = {
        "digest": f"digest{number}",
        "genotype": f'{{"number": {number}}}',
        "parent_id": None,
        "mutation": "",
        "parameters": 7,
    }
    return OffspringRecord(**{**values, **changes})  # type: ignore[arg-type]


def fitness(repeat: int, accuracy: float = 0.5) -> Fitness:
    return Fitness(repeat=repeat, accuracy=accuracy, seed=repeat, steps=10, seconds=2.0, device="cpu")


def worker(name: str = "w1", host: str = "h1") -> WorkerInfo:
    return WorkerInfo(worker_id=name, host=host, pid=1)


def make_folder(path: Path, config: RunConfig) -> RunFolder:
    folder = RunFolder(path)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.config.write_text(config_toml(config), encoding="utf-8")
    folder.secret.write_text(secrets.token_hex(32), encoding="ascii")
    folder.secret.chmod(0o600)
    return folder


@dataclass
class Rig:
    """One run: `head` is the store of its head, `queue` what a worker sends to."""

    kind: str
    folder: RunFolder
    config: RunConfig
    breed: Callable[[], bool] = lambda: False
    head: Store = field(init=False)
    queue: WorkQueue = field(init=False)
    service: Service | None = None

    def start(self) -> "Rig":
        self.head = self._open()
        epoch = self.head.begin_epoch()
        if self.kind == "service":
            self.service = Service(self.head, read_secret(self.folder), lambda: self.breed())
            self.service.start()
            self.service.publish(self.folder, epoch)
        self.queue = self.another_queue()
        return self

    def another_queue(self) -> WorkQueue:
        if self.kind == "service":
            return ServiceClient(self.folder)
        return self._open() if self.kind == "postgres" else self.head

    def stop(self) -> None:
        if self.service is not None:
            self.service.stop()
        if self.queue is not self.head:
            self.queue.close()
        self.head.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _open(self) -> Store:
        if self.kind == "postgres":
            found = (self.folder.path / "run.id").exists()
            return (PostgresStore.open if found else PostgresStore.create)(self.folder, self.config)
        found = self.folder.database.exists()
        network = self.kind == "sqlite-journal"
        if found:
            return SQLiteStore.open(self.folder, network=network)
        return SQLiteStore.create(self.folder, self.config, network=network)


def ready(rig: Rig, offspring: int = 1) -> None:
    """A worker that has joined, and genotypes that wait."""
    rig.queue.join(worker())
    rig.head.add([offspring_record(number) for number in range(offspring)])


def claim(rig: Rig, claim_id: str = "c1", name: str = "w1") -> Lease:
    """A claim that is granted."""
    lease = rig.queue.claim(name, claim_id).lease
    assert lease is not None
    return lease


def individual(rig: Rig, number: int = 1) -> Individual:
    with Population.open(rig.folder) as population:
        return population.individual(number)


def view(rig: Rig, number: int = 1) -> LeaseView:
    """Its lease as the head sees it."""
    return next(lease for lease in rig.head.leases() if lease.individual_id == number)


@pytest.fixture
def config() -> RunConfig:
    return RunConfig(recipe=RecipeConfig(repeats=REPEATS))


@pytest.fixture
def make_rig(memory_path: Path, config: RunConfig, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Rig]]:
    rigs: list[Rig] = []

    def make(kind: str) -> Rig:
        store = request.getfixturevalue("postgres") if kind == "postgres" else "sqlite"
        mine = replace(config, store=store)
        rig = Rig(kind, make_folder(memory_path / f"run{len(rigs)}", mine), mine).start()
        rigs.append(rig)
        return rig

    yield make
    for rig in rigs:
        rig.stop()


@pytest.fixture(params=KINDS)
def rig(request: pytest.FixtureRequest, make_rig: Callable[[str], Rig]) -> Rig:
    return make_rig(request.param)


@pytest.fixture
def served(make_rig: Callable[[str], Rig]) -> Rig:
    """A run whose workers use the head's service."""
    return make_rig("service")


@pytest.fixture
def invariants(rig: Rig) -> Iterator[None]:
    """Whatever a test did, the promises hold at its end."""
    yield
    with Population.open(rig.folder) as population:
        assert check_invariants(population) == []
