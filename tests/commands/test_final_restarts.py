"""A full-size training that is killed, or asked to stop, at its call k, for k = 1, 2, 3, ..., until it ends before.

A call is a step, a checkpoint's write, an image batch of the evaluation, the weights, result.json, or the row of the
population. Afterwards the same command ends in the row and the weights of an undisturbed training, and leaves nothing else.
"""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from hpcnas.population.queries import Population
from hpcnas.population.sql_store import SQLStore
from hpcnas.records import Final
from hpcnas.run_folder import RunFolder
from hpcnas.training.full_size.batches import ResidentData
from hpcnas.training.full_size.step import FullTraining
from tests.apart import start_apart
from tests.commands.conftest import command, tiny

pytestmark = [pytest.mark.usefixtures("outside_of_slurm"), pytest.mark.timeout(900)]

# A step; a batch of training or test images; what reaches the disk; the row.
SEAM = (
    *((FullTraining, "step"), (ResidentData, "_standardised"), (SQLStore, "record_final")),
    *((os, "fsync"), (os, "replace"), (os, "unlink"), (os, "link")),
)
KILLED, STOPPED = 137, 143
PATIENCE_S = 120


def kill() -> None:
    os._exit(KILLED)


def ask_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def count_calls(patch: pytest.MonkeyPatch, k: int = 0, fault: Callable[[], None] = kill) -> list[str]:
    """Let `fault` happen before the call number `k` of the faultpoints; returns the list that takes the names of the calls."""
    calls: list[str] = []

    def wrap(name: str, original: Callable) -> Callable:
        def call(*given: object, **named: object) -> object:
            calls.append(name)
            if len(calls) == k:
                fault()
            return original(*given, **named)

        return call

    for owner, name in SEAM:
        patch.setattr(owner, name, wrap(name, getattr(owner, name)))
    return calls


def train(arguments: list[str], k: int, fault: Callable[[], None]) -> int:
    """`hpcnas final` in a process of its own, `fault` at call `k`; its exit code."""

    def run() -> None:
        torch.set_num_threads(1)
        with pytest.MonkeyPatch.context() as patch:
            count_calls(patch, k, fault)
            code = command(*arguments)
        os._exit(code)

    process = start_apart(run)
    process.join(PATIENCE_S)
    assert process.exitcode is not None, f"call {k}: the training hangs"
    return process.exitcode


def row(folder: RunFolder) -> Final:
    with Population.open(folder) as population:
        (found,) = population.finals()
    return found


def what_is_the_same(final: Final) -> tuple[object, ...]:
    details = final.details
    return final.digest, final.error_top1, final.parameters, details["train_loss"], details["tested"], details["skipped"]


def left(folder: RunFolder) -> dict[str, bytes]:
    (place,) = folder.path.glob("final/*/*/run-0")
    # The lock sweeps its own records.
    return {path.name: path.read_bytes() for path in place.iterdir() if not path.name.startswith(".training.lock")}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the processes have, so that all weights are added up in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def calm(searched: RunFolder, genotype_file: str) -> RunFolder:
    """The run after an undisturbed training."""
    folder = RunFolder(Path(shutil.copytree(searched.path, searched.path.with_name("calm"))))
    assert command(*arguments(genotype_file, folder)) == 0
    return folder


def arguments(genotype_file: str, folder: RunFolder) -> list[str]:
    return tiny(genotype_file, folder.path, "--runs", "1", "--device", "cpu", "--checkpoint-minutes", "1e-9")


@pytest.mark.parametrize(("fault", "code"), [(kill, KILLED), (ask_to_stop, STOPPED)], ids=["killed", "stopped"])
def test_restart_at_every_point_ends_in_the_same_row_and_weights(
    searched: RunFolder, calm: RunFolder, genotype_file: str, fault: Callable[[], None], code: int
) -> None:
    disturbed = RunFolder(searched.path.with_name("disturbed"))
    restarted, met = 0, count_of_calls(searched, genotype_file)
    for k in range(1, met + 1):
        shutil.copytree(searched.path, disturbed.path)
        ended = train(arguments(genotype_file, disturbed), k, fault)
        if ended == code:
            restarted += 1
            ended = command(*arguments(genotype_file, disturbed))  # a process of its own would take the longer start again
        assert ended == 0, f"call {k}"
        check_same(disturbed, calm, f"call {k}")
        shutil.rmtree(disturbed.path)
    assert restarted > met // 2


def count_of_calls(searched: RunFolder, genotype_file: str) -> int:
    """How often an undisturbed training calls the faultpoints."""
    folder = RunFolder(Path(shutil.copytree(searched.path, searched.path.with_name("counted"))))
    with pytest.MonkeyPatch.context() as patch:
        calls = count_calls(patch)
        assert command(*arguments(genotype_file, folder)) == 0
    return len(calls)


def check_same(disturbed: RunFolder, calm: RunFolder, where: str) -> None:
    assert what_is_the_same(row(disturbed)) == what_is_the_same(row(calm)), where
    assert row(disturbed).details["images_per_s"] > 0, where
    files = left(disturbed)
    assert sorted(files) == ["result.json", "weights.safetensors"], where
    weights, others = (load(found["weights.safetensors"]) for found in (files, left(calm)))
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights), where
    json.loads(files["result.json"], parse_constant=pytest.fail)
