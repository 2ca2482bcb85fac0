"""A signal in the seconds in which torch is imported: the process leaves with the signal's exit code, with a word."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcnas.config import RunConfig
from hpcnas.head.breeder import Breeder
from hpcnas.head.create import create_run
from hpcnas.population import open_store
from hpcnas.population.protocol.secret import read_secret
from hpcnas.population.protocol.service import Service
from hpcnas.population.store import Store
from hpcnas.run_folder import RunFolder
from tests.processes import ImportBarrier, running, wait_until

pytestmark = pytest.mark.usefixtures("outside_of_slurm")

SOON_S = 10.0  # 2 s, and patience with a busy machine
NUMBERS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2]


@pytest.fixture
def barrier(tmp_path: Path) -> ImportBarrier:
    return ImportBarrier(tmp_path, "torch")


@pytest.fixture
def served(run_folder: RunFolder) -> Iterator[Store]:
    """A run whose genotypes are to be trained, with its service in this process."""
    config = RunConfig.from_dict({"recipe": {"dataset": "digits"}, "cluster": {"workers": 1, "cluster": "local"}})
    create_run(run_folder, config)
    store = open_store(run_folder, config)
    epoch = store.begin_epoch()
    service = Service(store, read_secret(run_folder), Breeder(store, config).breed)
    service.start()
    service.publish(run_folder, epoch)
    yield store
    service.stop()
    store.close()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_full_size_training_leaves_at_once_and_says_so(
    barrier: ImportBarrier, tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "log"
    arguments = ("final", "published", "--dataset", "digits", "--device", "cpu", "--run", tmp_path / "run")
    with running(*arguments, log=log, environment=barrier.environment) as process:
        wait_until(barrier.reached.exists)
        process.send_signal(number)
        assert process.wait(SOON_S) == 128 + number
    assert log.read_text() == f"hpcnas: {number.name} stopped the preparation; the same command goes on there\n"


@pytest.mark.parametrize("module", ["hpcnas", "hpcnas.worker"])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_worker_leaves_when_the_import_ends_and_says_goodbye(
    barrier: ImportBarrier, served: Store, run_folder: RunFolder, tmp_path: Path, number: signal.Signals, module: str
) -> None:
    arguments = ("worker",) * (module == "hpcnas") + ("--run", run_folder.path)
    with running(*arguments, log=tmp_path / "log", module=module, environment=barrier.environment) as process:
        wait_until(barrier.reached.exists)
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        barrier.open()
        assert process.wait(4 * SOON_S) == 128 + number  # the import itself is still to be done
    assert served.claims() == 0
    assert served.counts().workers == 0


@pytest.mark.parametrize("number", NUMBERS)
def test_a_head_leaves_when_the_import_ends_and_has_made_nothing(
    barrier: ImportBarrier, tmp_path: Path, number: signal.Signals
) -> None:
    """It imports a fitness function's module before it makes a run."""
    (tmp_path / "site/slowly.py").write_text("import torch\ndef score(genotype, **given): return 0.5\n")
    log, run = tmp_path / "log", tmp_path / "run"
    arguments = ("head", "--cluster", "local", "--workers", "1", "--fitness", "slowly:score", "--run", run)
    with running(*arguments, log=log, environment=barrier.environment) as process:
        wait_until(barrier.reached.exists)
        process.send_signal(number)
        barrier.open()
        assert process.wait(4 * SOON_S) == 128 + number
    assert log.read_text() == f"hpcnas: {number.name} stopped the start; the same command goes on there\n"
    assert not run.exists()
