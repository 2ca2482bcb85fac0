"""`hpcnas final` of several genotypes, of which some have a training loss that is not finite."""

import os
from functools import partial
from pathlib import Path

import pytest
import torch

from hpcnas.commands import final_here
from hpcnas.population.queries import Population
from hpcnas.run_folder import RunFolder
from hpcnas.training.full_size import step as full_step
from tests.apart import start_apart
from tests.commands.conftest import command, free_port, tiny

pytestmark = pytest.mark.usefixtures("outside_of_slurm")

PATIENCE_S = 100


def train_ranks(arguments: list[str], ranks: int, diverging: set[int], folder: Path) -> tuple[list[int | None], list[str]]:
    """`hpcnas final` as `ranks` processes, in which the individuals `diverging` do; exit codes and lines of stderr."""
    port = free_port()

    def run(rank: int) -> None:
        torch.set_num_threads(1)
        trained, train_runs, loss = [], final_here.train_runs, full_step.cross_entropy

        def note(tasks, group, options):
            trained.append(tasks[0].individual_id)
            return train_runs(tasks, group, options)

        with (folder / f"said-{rank}").open("w") as said, pytest.MonkeyPatch.context() as patch:
            os.dup2(said.fileno(), 2)
            patch.setattr(final_here, "train_runs", note)
            patch.setattr(
                full_step,
                "cross_entropy",
                lambda logits, labels: loss(logits, labels) * (torch.nan if trained[-1] in diverging else 1),
            )
            for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "MASTER_PORT": port}.items():
                patch.setenv(name, str(value))
            patch.setenv("MASTER_ADDR", "127.0.0.1")
            os._exit(command(*arguments))

    processes = [start_apart(partial(run, rank)) for rank in range(ranks)]
    for process in processes:
        process.join(PATIENCE_S)
        process.kill()
        process.join()
    lines = [line for rank in range(ranks) for line in (folder / f"said-{rank}").read_text().splitlines()]
    return [process.exitcode for process in processes], lines


@pytest.mark.parametrize(("word", "ranks"), [("front", 1), ("best-so-far", 1), ("front", 2)])
def test_a_genotype_that_diverges_keeps_none_of_the_others_from_its_training(
    searched: RunFolder, tmp_path: Path, word: str, ranks: int
) -> None:
    """The first of two diverges: the second one's error is recorded, and one line at the end names the first."""
    arguments = tiny(word, searched.path, "--runs", "1", "--device", "cpu")
    codes, lines = train_ranks(arguments, ranks, {1}, tmp_path)
    assert codes == [1] * ranks, lines
    with Population.open(searched) as population:
        assert [final.individual_id for final in population.finals()] == [3]
    assert [line for line in lines if "genotype 1 diverged; the other genotypes go on" in line]
    (said,) = [line for line in lines if line.startswith("hpcnas: ")]
    assert said.startswith("hpcnas: 1 of 2 genotypes diverged (1); the first: ")
    assert "run 0: the training loss is nan at step 2" in said


def test_all_that_diverged_are_named(searched: RunFolder, tmp_path: Path) -> None:
    codes, lines = train_ranks(tiny("front", searched.path, "--runs", "1", "--device", "cpu"), 1, {1, 3}, tmp_path)
    assert codes == [1]
    assert lines[-1].startswith("hpcnas: 2 of 2 genotypes diverged (1, 3); the first: ")
