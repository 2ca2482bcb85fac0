"""For `hpcnas final`: genotypes to train, alone and in a searched run, and arguments that make it short."""

import os
import socket
from pathlib import Path

import pytest

from hpcnas.cli import main
from hpcnas.config import RecipeConfig, RunConfig, SearchConfig
from hpcnas.head.create import create_run
from hpcnas.population import open_store
from hpcnas.records import Fitness, OffspringRecord, WorkerInfo
from hpcnas.representation.canonical import digest
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.run_folder import RunFolder
from tests.training.full_size.material import SMALL


@pytest.fixture
def genotype_file(tmp_path: Path) -> str:
    """The small genotype as a file."""
    path = tmp_path / "small.json"
    path.write_text(genotype_to_json(SMALL))
    return str(path)


@pytest.fixture
def searched(tmp_path: Path) -> RunFolder:
    """A run with four evaluated genotypes, of which the first and the third set records and are the front."""
    folder = RunFolder(tmp_path / "searched")
    recipe = RecipeConfig(dataset="digits", repeats=1)
    create_run(folder, RunConfig(search=SearchConfig(steps=4, population=4), recipe=recipe))
    store = open_store(folder, RunConfig())
    store.begin_epoch()
    genotypes = [Genotype(((Motif(((k,), (3, 4))),),)) for k in (1, 2, 3, 4)]
    store.add([OffspringRecord(digest(one), genotype_to_json(one), None, "", 100 * k) for k, one in enumerate(genotypes, 1)])
    store.join(WorkerInfo("w", "host", 1))
    for accuracy in (0.5, 0.4, 0.6, 0.6):
        lease = store.claim("w", f"c{accuracy}{os.urandom(4).hex()}").lease
        assert lease is not None
        store.record(lease.individual_id, lease.token, Fitness(0, accuracy, 1, 1, 1.0))
    store.close()
    return folder


def command(*arguments: str) -> int:
    """`hpcnas final` in this process; its exit code."""
    return main(["final", *arguments])


def tiny(genotype: str, run: Path, *more: str) -> list[str]:
    """Arguments for two steps of the smallest network."""
    settings = "--dataset digits --channels 2 --cells 1 --steps 2 --batch 16"
    return [genotype, "--run", str(run), *settings.split(), *more]


def free_port() -> int:
    """For ranks of this machine to meet."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
