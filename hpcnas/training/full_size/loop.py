"""Trains at full size: begins or goes on, makes steps, agrees with the other ranks, saves, stops."""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from typing import Any

from torch import nn

from hpcnas.errors import HpcnasError, StoppedBySignal
from hpcnas.training.full_size.agreement import MORE, agree, attempt
from hpcnas.training.full_size.batches import Batch, FullData
from hpcnas.training.full_size.checkpoint import (
    load_checkpoint,
    newest_sound,
    save_checkpoint,
    sound_checkpoints,
    step_of,
)
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.micro_batch import fitting_micro_batch
from hpcnas.training.full_size.network import build_full_network
from hpcnas.training.full_size.progress import Progress, Reporter, shown, tensorboard_writer
from hpcnas.training.full_size.result import device_name
from hpcnas.training.full_size.step import FullTraining
from hpcnas.training.full_size.task import RunOptions, TrainingTask

SAVE = MORE  # what a rank asks for before a step in which a checkpoint is due


class Trainer:
    """One training under way. All ranks call everything.

    Args:
        settings: what checkpoints must agree with.
        reporter: prints lines for the person, and shows progress while steps are made.
        together: trainings that share the device, of which this is one; its time is a share of the device's.

    Attributes:
        settings: see above.
        restarts: how often the training was resumed.
        loss: of the last step that was looked at, on rank 0, by this process or one before it; nan before.
    """

    def __init__(
        self,
        task: TrainingTask,
        settings: dict[str, Any],
        precision: str,
        data: FullData,
        group: Group,
        options: RunOptions,
        reporter: Reporter,
        together: int = 1,
    ) -> None:
        self._task, self.settings, self._precision = task, settings, precision
        self._data, self._group, self._options, self._reporter = data, group, options, reporter
        self._together = together
        self._earlier_s, self.restarts = 0.0, 0
        self._stepped, self._stepping_s = 0, 0.0  # steps whose time was taken, over all restarts
        self.loss = math.nan
        self._started = self._saved_at = self._stepping_since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time of the training so far, or its share, over all restarts."""
        return self._earlier_s + (time.monotonic() - self._started) / self._together

    @property
    def images_per_s(self) -> float | None:
        """Of the steps, over all restarts and all ranks; None when their time is not known."""
        return self._stepped * self._task.recipe.batch / self._stepping_s if self._stepping_s else None

    def prepare(self) -> tuple[FullTraining, int]:
        """Build the network, or take up the newest checkpoint; returns the training and the step to go on with."""
        task, group = self._task, self._group
        network = group.together(lambda: self._build())
        first, state = self._saved(network)
        training = FullTraining(network, task.recipe, group, self._precision, self._micro_batch(network, state))
        with group.watched():
            training.warm_up(self._data.in_channels, self._reporter if self._options.compile else None)
        if state is not None:
            group.together(lambda: training.restore(state))
        return training, first

    def prepare_at(self, step: int) -> FullTraining:
        """The same without what only a step of torch's needs: for a training whose steps are made elsewhere.

        Args:
            step: of a sound checkpoint; 0 begins anew.
        """
        network = self._build()
        self._reporter(self._plan(network, step))
        sound = sound_checkpoints(self._task.folder, lambda line: None)
        name = next((path.name for path in sound if step_of(path.name) == step), "") if step else ""
        _, state = self._take_up(name)
        training = FullTraining(network, self._task.recipe, self._group, self._precision, self._task.recipe.batch)
        if state is not None:
            training.restore(state)
        return training

    def begin_steps(self) -> None:
        """Their time counts from now on."""
        self._stepping_since = time.monotonic()

    def count_step(self) -> None:
        """A step was made."""
        self._stepped += 1

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is so old that another one is to be written."""
        return time.monotonic() - self._saved_at > 60 * self._options.checkpoint_minutes

    def _build(self) -> nn.Module:
        task, options = self._task, self._options
        return build_full_network(task.genotype, task.recipe, self._data, task.seed, self._group, is_compiled=options.compile)

    def _saved(self, network: nn.Module) -> tuple[int, dict[str, Any] | None]:
        """The step to go on with and the state of the newest sound checkpoint; rank 0 chooses it for all."""
        passed_over: list[str] = []
        chosen = newest_sound(self._task.folder, passed_over.append) if self._group.is_first else None
        name = self._group.gather(chosen.name if chosen else "")[0]
        if self._group.is_first:
            for line in (self._plan(network, step_of(name) if name else 0), *passed_over):
                self._reporter(line)
        return self._take_up(name)

    def _take_up(self, name: str) -> tuple[int, dict[str, Any] | None]:
        """The step and the state of a checkpoint of the output folder; 0 and None for no name."""
        if not name:
            return 0, None
        step, state = self._group.together(lambda: load_checkpoint(self._task.folder / name, self.settings))
        self._earlier_s, self.restarts = state["seconds"], state["restarts"] + 1
        # Of a checkpoint of version 0.1.0 these are not known.
        self.loss = state.get("loss", math.nan)
        self._stepped, self._stepping_s = state.get("stepped", 0), state.get("stepping_s", 0.0)
        if self._group.is_first:
            self._data.corrupt.update(state.get("corrupt", ()))
            self._reporter(f"goes on at step {step} of {self._task.recipe.steps}, from {name}")
            if state["world_size"] != self._group.rank_info.world_size:
                self._reporter(
                    f"{self._group.rank_info.world_size} ranks go on with what {state['world_size']} began: the result is "
                    "as good, but not the same to the bit"
                )
        return step, state

    def _plan(self, network: nn.Module, first: int) -> str:
        """The first line of a log: model, device and first step of the training."""
        recipe, data, ranks = self._task.recipe, self._data, self._group.rank_info.world_size
        parameters = sum(parameter.numel() for parameter in network.parameters())
        return (
            f"{recipe.folder_name} run {self._task.run}: {parameters:,} parameters, {recipe.dataset} of {data.images:,} "
            f"images, {ranks} x {device_name(self._group.device)}, {self._precision}, {recipe.steps:,} steps of "
            f"{recipe.batch} images, from step {first:,}"
        )

    def _micro_batch(self, network: nn.Module, state: dict[str, Any] | None) -> int:
        per_rank = self._task.recipe.batch_per_rank(self._group.rank_info.world_size)
        # As before the restart: BN statistics of other parts would be those of another training.
        if state is not None and per_rank % state["micro_batch"] == 0:
            return int(state["micro_batch"])
        found = fitting_micro_batch(
            network, self._precision, self._group, per_rank, self._data.in_channels, self._task.recipe.crop
        )
        if found < per_rank and self._group.is_first:
            self._reporter(
                f"{per_rank} images do not fit {device_name(self._group.device)} at once: {found} at a "
                f"time, {per_rank // found} times a step"
            )
        return found

    def train(self, training: FullTraining, first: int) -> None:
        """Make all steps that are left.

        Raises:
            StoppedBySignal: a signal came to any rank; the checkpoint is written.
            HpcnasError: see `hpcnas.training.full_size.train.train_full`.
        """
        recipe, group = self._task.recipe, self._group
        batches = self._data.batches(first, recipe.steps, training.micro_batch)
        failure: HpcnasError | None = None
        with closing(batches), self._shown(first) as progress:  # loader processes end with the batches
            self._reporter.progress = progress
            self.begin_steps()
            for step in range(first, recipe.steps):
                group.step = step
                pieces, failure = _take(batches, training.pieces, failure)
                self._agree(training, step, failure)
                loss = training.step(step, pieces)
                self.count_step()
                failure = attempt(lambda: progress.advance(step + 1, loss, recipe.learning_rate_at(step)))  # noqa: B023 - called at once
                self.loss = self.loss if math.isnan(progress.loss) else progress.loss
            # Saved whatever the time: the evaluation, too, may be stopped or killed.
            self._agree(training, recipe.steps, failure, is_last=first < recipe.steps)
            self._reporter.progress = None

    def _shown(self, first: int) -> AbstractContextManager[Progress]:
        recipe, is_first = self._task.recipe, self._group.is_first
        scalars = tensorboard_writer(self._task.folder / "tensorboard") if self._options.tensorboard and is_first else None
        title = f"{recipe.folder_name} run {self._task.run}"
        return shown(title, recipe.steps, recipe.batch, first, is_first=is_first, every_s=self._options.log_s, scalars=scalars)

    def _agree(self, training: FullTraining, step: int, failure: HpcnasError | None, *, is_last: bool = False) -> None:
        """Before a step all ranks agree whether to go on, to save, to stop, or to fail."""
        save = SAVE if (is_last or self.is_due) and self._group.is_first else 0
        code = agree(self._group, save, self._options.stop_code(), failure)
        if code:
            self.save(training, step)
        if code > SAVE:
            raise StoppedBySignal.by(code, f"the training at step {step} of {self._task.recipe.steps}")

    def save(self, training: FullTraining, step: int) -> None:
        """Write a checkpoint of the finished `step`; a full disk is said, and costs no step. All ranks call it."""
        self._saved_at = now = time.monotonic()
        self._stepping_s += (now - self._stepping_since) / self._together
        self._stepping_since = now
        state = training.state() | {
            "seconds": self.seconds,
            "stepped": self._stepped,
            "stepping_s": self._stepping_s,
            "loss": self.loss,
            "corrupt": sorted(self._data.corrupt),
            "restarts": self.restarts,
            "world_size": self._group.rank_info.world_size,
        }
        if not self._group.is_first:
            return
        failure = attempt(lambda: save_checkpoint(self._task.folder, step, self.settings, state))
        # A full disk may be emptied before the next checkpoint; it is no reason to lose the steps that are still to come.
        if failure or step < self._task.recipe.steps:
            self._reporter(str(failure) if failure else f"checkpoint of step {step} written")


def _take(batches: Iterator[Batch], pieces: int, failure: HpcnasError | None) -> tuple[list[Batch], HpcnasError | None]:
    """The batches of one step, and why there are none."""
    taken: list[Batch] = []
    return taken, failure or attempt(lambda: taken.extend(next(batches) for _ in range(pieces)))
