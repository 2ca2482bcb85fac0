"""Full-size runs together at a tiny size, in Triton's interpreter; started by test_kernels.py."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from hpcnas.errors import HpcnasError, StoppedBySignal
from hpcnas.records import Final
from hpcnas.training.full_size import kernel_steps, runs, together
from hpcnas.training.full_size.checkpoint import checkpoints, load_checkpoint
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.kernel_steps import KernelSteps
from hpcnas.training.full_size.loop import Trainer
from hpcnas.training.full_size.ranks import RankInfo
from hpcnas.training.full_size.recipe import full_recipe
from hpcnas.training.full_size.runs import train_runs
from hpcnas.training.full_size.step import FullTraining
from hpcnas.training.full_size.task import RunOptions, TrainingTask
from hpcnas.training.full_size.train import train_full
from tests.networks.gpu.interpreter import mend
from tests.networks.gpu.material import tiny
from tests.training.full_size.material import weights
from tests.training.full_size.test_train import stopping_after

mend()
STEPS = 2
RECIPE = full_recipe(
    "cifar", dataset="digits", channels=2, cells=1, steps=STEPS, batch=4, crop=3, runs=2, milestones=(0.5,), learning_rate=0.02
)


def trained(folder: Path, numbers: list[int], **options: object) -> list[Final]:
    tasks = [TrainingTask(tiny("smallest"), RECIPE, run, folder / f"run-{run}") for run in numbers]
    with closing(train_runs(tasks, Group(RankInfo()), RunOptions(**options))) as found:
        return [result for _, result in found]


def are_same(one: Path, other: Path) -> bool:
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def last_momenta(patch: pytest.MonkeyPatch) -> dict[int, dict[str, torch.Tensor]]:
    """Of each run, by its place among those that are trained together, as the kernels last gave them back."""
    found: dict[int, dict[str, torch.Tensor]] = {}
    store = KernelSteps.store

    def kept(self: KernelSteps, run: int, step: int) -> None:
        store(self, run, step)
        found[run] = {name: momentum.clone() for name, momentum in self._trainings[run].momenta().items()}

    patch.setattr(KernelSteps, "store", kept)
    return found


@dataclass
class Calm:
    """Both runs together, undisturbed."""

    folder: Path
    results: list[Final]
    momenta: dict[int, dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    folder = tmp_path_factory.mktemp("calm")
    with pytest.MonkeyPatch.context() as patch:
        momenta = last_momenta(patch)
        return Calm(folder, trained(folder, [0, 1]), momenta)


def test_two_runs_together_leave_what_each_leaves_alone_to_the_bit(
    tmp_path: Path, calm: Calm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FullTraining, "step", None)  # torch makes none of them
    folder, both = calm.folder, calm.results
    (alone,) = trained(tmp_path, [1])
    assert are_same(tmp_path / "run-1", folder / "run-1")
    assert not are_same(folder / "run-0", folder / "run-1")
    assert [result.run for result in both] == [0, 1]
    assert (alone.error_top1, alone.details["train_loss"], alone.details["seed"]) == (
        both[1].error_top1,
        both[1].details["train_loss"],
        both[1].details["seed"],
    )
    assert trained(folder, [0, 1]) == both  # read back


def test_runs_stopped_in_the_middle_end_with_the_same_bits(tmp_path: Path, calm: Calm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are written for each run, and taken up together: weights, statistics and momenta."""
    with pytest.raises(StoppedBySignal, match="SIGTERM stopped the training at step 1 of 2"):
        trained(tmp_path, [0, 1], stop_code=stopping_after(2))
    assert [path.name[:19] for run in (0, 1) for path in checkpoints(tmp_path / f"run-{run}")] == ["checkpoint-00000001"] * 2
    momenta = last_momenta(monkeypatch)
    results = trained(tmp_path, [0, 1])
    assert [result.details["restarts"] for result in results] == [1, 1]
    assert all(are_same(tmp_path / f"run-{run}", calm.folder / f"run-{run}") for run in (0, 1))
    for run in (0, 1):
        assert momenta[run].keys() == calm.momenta[run].keys()
        assert all(torch.equal(momentum, calm.momenta[run][name]) for name, momentum in momenta[run].items())
        assert all(momentum.any() for momentum in momenta[run].values())


def test_torch_goes_on_with_what_the_kernels_began(tmp_path: Path, calm: Calm) -> None:
    """And ends where they would have, but for rounding: it finds the momenta that its own first step would have left."""
    with pytest.raises(StoppedBySignal):
        trained(tmp_path, [1], stop_code=stopping_after(2))
    task, torchs = (TrainingTask(tiny("smallest"), RECIPE, 1, tmp_path / name) for name in ("run-1", "torch"))
    with pytest.raises(StoppedBySignal):
        train_full(torchs, Group(RankInfo()), RunOptions(stop_code=stopping_after(2)))
    mine, right = (momenta_in(checkpoints(one.folder)[0], one) for one in (task, torchs))
    assert len(mine) == len(right) > 0
    largest = max(float(wanted.norm()) for wanted in right)  # some are 0 but for rounding
    assert all((found - wanted).norm() < 1e-4 * largest for found, wanted in zip(mine, right, strict=True))
    train_full(task, Group(RankInfo()), RunOptions())
    ours, theirs = weights(task.folder), weights(calm.folder / "run-1")
    assert all(torch.allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5) for name in theirs)


def momenta_in(checkpoint: Path, task: TrainingTask) -> list[torch.Tensor]:
    """In the order of the weights."""
    _, state = load_checkpoint(checkpoint, task.recipe.settings(task.digest, task.run, "fp32"))
    return [one["momentum_buffer"] for _, one in sorted(state["optimizer"]["state"].items())]


def test_a_run_that_diverges_fails_when_the_others_are_through(
    tmp_path: Path, calm: Calm, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = KernelSteps.losses
    monkeypatch.setattr(KernelSteps, "losses", lambda self: [losses(self)[0], float("nan")])
    found: list[Final] = []
    tasks = [TrainingTask(tiny("smallest"), RECIPE, run, tmp_path / f"run-{run}") for run in (0, 1)]
    with pytest.raises(HpcnasError, match="run 1: the training loss is nan at step 2; try --precision fp32"):
        found.extend(result for _, result in train_runs(tasks, Group(RankInfo()), RunOptions()))
    assert [result.run for result in found] == [0]
    assert are_same(tmp_path / "run-0", calm.folder / "run-0")
    assert checkpoints(tmp_path / "run-1") == []


def test_runs_that_wait_are_trained_though_all_before_them_diverged(
    tmp_path: Path, calm: Calm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run fits at a time; the first fails only when the second is through."""
    losses, seen = KernelSteps.losses, list[KernelSteps]()

    def first_is_nan(self: KernelSteps) -> list[float]:
        seen.extend([] if self in seen else [self])
        return [float("nan")] if self is seen[0] else losses(self)

    monkeypatch.setattr(KernelSteps, "losses", first_is_nan)
    monkeypatch.setattr(together, "fitting_runs", lambda *sizes: 1)
    found: list[Final] = []
    tasks = [TrainingTask(tiny("smallest"), RECIPE, run, tmp_path / f"run-{run}") for run in (0, 1)]
    with pytest.raises(HpcnasError, match="run 0: the training loss is nan"):
        found.extend(result for _, result in train_runs(tasks, Group(RankInfo()), RunOptions()))
    assert [result.run for result in found] == [1]
    assert are_same(tmp_path / "run-1", calm.folder / "run-1")


def test_a_run_that_diverged_makes_no_checkpoint_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is saved of it any more, so its last checkpoint stays old: the others would be saved at every step."""
    losses, save, saved = KernelSteps.losses, Trainer.save, list[tuple[int, int]]()

    def noted(self: Trainer, training: FullTraining, step: int) -> None:
        saved.append((self.settings["run"], step))
        save(self, training, step)

    monkeypatch.setattr(KernelSteps, "losses", lambda self: [float("nan"), losses(self)[1]])
    monkeypatch.setattr(Trainer, "save", noted)
    monkeypatch.setattr(Trainer, "is_due", property(lambda self: self.settings["run"] == 0))
    recipe = replace(RECIPE, steps=3)
    tasks = [TrainingTask(tiny("smallest"), recipe, run, tmp_path / f"run-{run}") for run in (0, 1)]
    with pytest.raises(HpcnasError, match="run 0: the training loss is nan"):
        list(train_runs(tasks, Group(RankInfo()), RunOptions()))
    assert [step for run, step in saved if run == 1] == [0, 1, 3]


def test_memory_that_runs_out_halves_the_runs_and_then_leaves_them_to_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[int] = []

    def too_large(self: KernelSteps, plan: object, trainings: list[FullTraining], *rest: object) -> None:
        tried.append(len(trainings))
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(together.KernelSteps, "__init__", too_large)
    assert [result.run for result in trained(tmp_path, [0, 1])] == [0, 1]
    assert tried == [2, 1]
    said = capsys.readouterr().err
    assert "2 runs do not fit into memory together: going on with 1 at a time" in said
    assert "the runs are trained one after the other: one does not fit (CUDA out of memory)" in said


def test_how_many_fit_is_known_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = kernel_steps.pass_plan(TrainingTask(tiny("smallest"), RECIPE, 0, Path()), 10, 1, 32)
    group, window = Group(RankInfo()), 3
    data = type("Data", (), {"images": window * RECIPE.batch})()
    for at_once, wanted in ((5, 5), (3, 5), (1, 2)):
        need = plan.memory_bytes(at_once, window) + kernel_steps.MEMORY_MARGIN
        monkeypatch.setattr(kernel_steps, "free_bytes", lambda device, need=need: need)
        assert kernel_steps.fitting_runs(plan, data, group, wanted) == at_once


@pytest.mark.parametrize("options", [{"compile": True}])
def test_a_compiled_training_is_torchs(monkeypatch: pytest.MonkeyPatch, options: dict[str, bool]) -> None:
    seen: list[Callable] = []
    monkeypatch.setattr(runs, "train_full", lambda *given: seen.append(given[0]))
    list(train_runs([TrainingTask(tiny("smallest"), RECIPE, 0, Path())], Group(RankInfo()), RunOptions(**options)))
    assert len(seen) == 1
