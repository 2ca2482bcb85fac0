"""The way of one full-size training: begin or go on, step, agree with the other ranks, save, stop."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from typing import Any

from torch import nn

from hpcnas.errors import HpcnasError
from hpcnas.training.checkpoint import load_checkpoint, newest_sound, save_checkpoint
from hpcnas.training.distributed import Group
from hpcnas.training.full_data import Batch, FullData
from hpcnas.training.full_loop import FullTraining, fitting_micro_batch
from hpcnas.training.full_network import build_full_network
from hpcnas.training.full_progress import Progress, Voice, shown, tensorboard_writer
from hpcnas.training.full_result import device_name
from hpcnas.training.full_task import Stopped, Surroundings, Task

# What a rank wishes before a step; the greatest wish of all ranks counts. Between: 128 + a signal's number.
SAVE = 1
FAILED = 256


class Course:
    """One training under way. All ranks call everything.

    Args:
        settings: what checkpoints must agree with.
        voice: says lines to the person; progress is shown through it while steps are made.

    Attributes:
        restarts: how often it was gone on with.
        loss: of the last step that was looked at, on rank 0; nan before.
        images_per_s: of the steps of this process, all ranks together; nan when none was left to do.
    """

    def __init__(
        self,
        task: Task,
        settings: dict[str, Any],
        precision: str,
        data: FullData,
        group: Group,
        around: Surroundings,
        voice: Voice,
    ) -> None:
        self._task, self._settings, self._precision = task, settings, precision
        self._data, self._group, self._around, self._voice = data, group, around, voice
        self._earlier_s, self.restarts = 0.0, 0
        self.loss = self.images_per_s = math.nan
        self._started = self._saved_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time of the training so far, over all restarts."""
        return self._earlier_s + time.monotonic() - self._started

    def train(self) -> FullTraining:
        """Make all steps that are left.

        Raises:
            Stopped: a signal came to any rank; the checkpoint is written.
            HpcnasError: see `hpcnas.training.final.train_full`.
        """
        task, group = self._task, self._group
        network = group.together(lambda: build_full_network(task.genotype, task.recipe, self._data, task.seed, group))
        first, state = self._saved()
        training = FullTraining(network, task.recipe, group, self._precision, self._micro_batch(network, state))
        with group.watched():
            training.warm_up(self._data.in_channels)
        if state is not None:
            group.together(lambda: training.restore(state))
        self._step_through(training, first)
        return training

    def _saved(self) -> tuple[int, dict[str, Any] | None]:
        """The step to go on with and the state of the newest sound checkpoint; rank 0 chooses it for all."""
        chosen = newest_sound(self._task.folder, self._voice) if self._group.is_first else None
        name = self._group.gather(chosen.name if chosen else "")[0]
        if not name:
            return 0, None
        step, state = self._group.together(lambda: load_checkpoint(self._task.folder / name, self._settings))
        self._earlier_s, self.restarts = state["seconds"], state["restarts"] + 1
        if self._group.is_first:
            self._voice(f"goes on at step {step} of {self._task.recipe.steps}, from {name}")
            if state["world_size"] != self._group.place.world_size:
                self._voice(
                    f"{self._group.place.world_size} ranks go on with what {state['world_size']} began: the result is "
                    "as good, but not the same to the bit"
                )
        return step, state

    def _micro_batch(self, network: nn.Module, state: dict[str, Any] | None) -> int:
        per_rank = self._task.recipe.batch_per_rank(self._group.place.world_size)
        if state is not None and per_rank % state["micro_batch"] == 0:
            return int(state["micro_batch"])
        found = fitting_micro_batch(
            network, self._precision, self._group, per_rank, self._data.in_channels, self._task.recipe.crop
        )
        if found < per_rank and self._group.is_first:
            self._voice(
                f"{per_rank} images do not fit {device_name(self._group.device)} at once: {found} at a "
                f"time, {per_rank // found} times a step"
            )
        return found

    def _step_through(self, training: FullTraining, first: int) -> None:
        recipe, group = self._task.recipe, self._group
        batches = self._data.batches(first, recipe.steps, training.micro_batch)
        failure: HpcnasError | None = None
        with closing(batches), self._shown(first) as progress:  # loader processes end with the batches
            self._voice.progress = progress
            began = time.monotonic()
            for step in range(first, recipe.steps):
                group.step = step
                pieces, failure = _take(batches, training.pieces, failure)
                self._agree(training, step, failure)
                loss = training.step(step, pieces)
                failure = _attempt(lambda: progress.advance(step + 1, loss, recipe.learning_rate_at(step)))  # noqa: B023 - called at once
            self._agree(training, recipe.steps, failure)
            self.loss, self._voice.progress = progress.loss, None
        if first < recipe.steps:
            self.images_per_s = (recipe.steps - first) * recipe.batch / (time.monotonic() - began)
            self._save(training, recipe.steps)

    def _shown(self, first: int) -> AbstractContextManager[Progress]:
        recipe, is_first = self._task.recipe, self._group.is_first
        scalars = tensorboard_writer(self._task.folder / "tensorboard") if self._around.tensorboard and is_first else None
        title = f"{recipe.folder_name} run {self._task.run}"
        return shown(title, recipe.steps, recipe.batch, first, is_first=is_first, every_s=self._around.log_s, scalars=scalars)

    def _agree(self, training: FullTraining, step: int, failure: HpcnasError | None) -> None:
        """Before a step all ranks agree whether to go on, to save, to stop, or to fail."""
        is_due = time.monotonic() - self._saved_at > 60 * self._around.checkpoint_minutes
        wish = FAILED if failure else self._around.stop_code() or (SAVE if is_due and self._group.is_first else 0)
        code = self._group.greatest(wish)
        if code == FAILED:
            self._group.together(lambda: _raise(failure))
        if code:
            self._save(training, step)
        if code > SAVE:
            raise Stopped(
                f"{signal.Signals(code - 128).name} stopped the training at step {step} of {self._task.recipe.steps}; "
                "the same command goes on there",
                code,
            )

    def _save(self, training: FullTraining, step: int) -> None:
        self._saved_at = time.monotonic()
        state = training.state() | {
            "seconds": self.seconds,
            "restarts": self.restarts,
            "world_size": self._group.place.world_size,
        }
        if not self._group.is_first:
            return
        failure = _attempt(lambda: save_checkpoint(self._task.folder, step, self._settings, state))
        # A full disk may be emptied before the next checkpoint; it is no reason to lose the steps that are still to come.
        if failure or step < self._task.recipe.steps:
            self._voice(str(failure) if failure else f"checkpoint of step {step} written")


def _take(batches: Iterator[Batch], pieces: int, failure: HpcnasError | None) -> tuple[list[Batch], HpcnasError | None]:
    """The batches of one step, and why there are none."""
    taken: list[Batch] = []
    return taken, failure or _attempt(lambda: taken.extend(next(batches) for _ in range(pieces)))


def _attempt(work: Callable[[], object]) -> HpcnasError | None:
    try:
        work()
    except HpcnasError as error:
        return error
    return None


def _raise(failure: HpcnasError | None) -> None:
    if failure is not None:
        raise failure
