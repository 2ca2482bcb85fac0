"""Several full-size runs of one genotype as one network of Triton kernels on one GPU; imported only where Triton is.

What a run leaves, its checkpoints too, is of the same form as that of a run whose steps torch makes.
"""

import math
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from statistics import fmean

import torch

from hpcnas.errors import StoppedBySignal, TrainingDiverged
from hpcnas.networks.gpu.kernel_cache import prepare
from hpcnas.networks.gpu.support import release_memory
from hpcnas.records import Final
from hpcnas.training.fitness.repeats import is_out_of_memory
from hpcnas.training.full_size.batches import ResidentData
from hpcnas.training.full_size.checkpoint import sound_checkpoints, step_of
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.kernel_steps import KernelSteps, NotTogether, fitting_runs, pass_plan
from hpcnas.training.full_size.loop import Trainer
from hpcnas.training.full_size.progress import Progress, Reporter, shown, tensorboard_writer
from hpcnas.training.full_size.runs import choose_runs
from hpcnas.training.full_size.step import FullTraining, resolve_precision
from hpcnas.training.full_size.task import RunOptions, TrainingTask
from hpcnas.training.full_size.train import conclude, enter_folder, open_data, train_full

STEPS_BETWEEN_LOOKS = 10  # losses are read, which waits for the device: a signal must not wait for many steps


def reason_against_network(task: TrainingTask) -> str:
    """Why the kernels cannot train this network; "" if they can.

    Raises:
        GenotypeError: the cell's sink cannot be reached from its source.
    """
    plan = pass_plan(task, classes=10, in_channels=3, image_px=32)
    return plan.reason_against(plan.structure())


def train_together(
    tasks: Sequence[TrainingTask], group: Group, options: RunOptions
) -> Generator[tuple[TrainingTask, Final], None, None]:
    """Train as many runs at once as fit, see `runs.train_runs`; if not one does, torch trains them, in smaller pieces."""
    left, reason = list(tasks), ""
    try:
        with ExitStack() as stack:
            for task, result in _train(tasks, group, options, stack):
                left.remove(task)
                yield task, result
    except NotTogether as error:
        reason = str(error)  # the exception itself would keep memory
    if reason:
        Reporter(0, 1)(f"the runs are trained one after the other: {reason}")
        for task in left:
            yield task, train_full(task, group, options)


def _train(
    tasks: Sequence[TrainingTask], group: Group, options: RunOptions, stack: ExitStack
) -> Generator[tuple[TrainingTask, Final], None, None]:
    precision = resolve_precision(tasks[0].recipe.precision, group.device)
    waiting: dict[int, TrainingTask] = {}
    for task in tasks:
        finished = enter_folder(stack, task, task.recipe.settings(task.digest, task.run, precision), group)
        if finished is None:
            waiting[task.run] = task
        else:
            yield task, finished
    if not waiting:
        return
    with options.preparing():
        data = stack.enter_context(closing(open_data(next(iter(waiting.values())), group, options, Reporter(0, 1))))
        assert isinstance(data, ResidentData), "the CIFAR model's data sets lie on the device"
        plan = pass_plan(tasks[0], data.classes, data.in_channels, data.image_px)
        reason = plan.structure().reason_against()
        if reason:
            raise NotTogether(reason)
        at_once = fitting_runs(plan, data, group, len(waiting))
    failures: list[TrainingDiverged] = []
    while waiting:
        chosen, first = choose_runs({run: _kept_steps(task) for run, task in waiting.items()}, at_once)
        runs = _Runs([waiting[run] for run in chosen], group, options, data, precision)
        try:
            runs.prepare(first)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            at_once = _fewer(len(chosen), error)
            continue
        runs.train(first)
        yield from runs.conclude()
        failures += runs.failures.values()
        for run in chosen:
            del waiting[run]
    if failures:
        raise failures[0]


class _Runs:
    """Runs that are trained together, from one step on.

    Attributes:
        failures: of those that diverged, by their place among the tasks; the others go on.
    """

    def __init__(
        self, tasks: Sequence[TrainingTask], group: Group, options: RunOptions, data: ResidentData, precision: str
    ) -> None:
        self._tasks, self._group, self._options, self._data = tasks, group, options, data
        self._recipe = tasks[0].recipe
        self._reporters = [Reporter(0, 1, task.run) for task in tasks]
        self._trainers = [
            Trainer(
                task,
                task.recipe.settings(task.digest, task.run, precision),
                precision,
                data,
                group,
                options,
                reporter,
                len(tasks),
            )
            for task, reporter in zip(tasks, self._reporters, strict=True)
        ]
        self._trainings: list[FullTraining] = []
        self._steps: KernelSteps | None = None
        self.failures: dict[int, TrainingDiverged] = {}

    @property
    def _name(self) -> str:
        numbers = ", ".join(str(task.run) for task in self._tasks)
        return f"{self._recipe.folder_name} run{'s' if len(self._tasks) > 1 else ''} {numbers}"

    def prepare(self, first: int) -> None:
        """Build the networks or take up checkpoints of the step `first`; see that the device is ready for the next one."""
        data, device = self._data, self._group.device
        with self._options.preparing():
            self._trainings = [trainer.prepare_at(first) for trainer in self._trainers]
            if first == self._recipe.steps:
                return
            plan = pass_plan(self._tasks[0], data.classes, data.in_channels, data.image_px)
            if device.type == "cuda":
                major, minor = torch.cuda.get_device_capability(device)
                prepare(plan, 10 * major + minor)
            self._steps = KernelSteps(plan, self._trainings, [task.seed for task in self._tasks], data, first)

    def train(self, first: int) -> None:
        """Make all steps that are left, unless every run diverges.

        Raises:
            StoppedBySignal: a signal came; the checkpoints are written.
        """
        if self._steps is None:
            return
        with self._shown(first) as progress:
            for reporter, trainer in zip(self._reporters, self._trainers, strict=True):
                reporter.progress = progress
                trainer.begin_steps()
            for step in range(first, self._recipe.steps + 1):
                self._save_if_due(step, first)
                if step == self._recipe.steps:
                    break
                self._steps.run(step)
                for trainer in self._trainers:
                    trainer.count_step()
                if (step + 1) % STEPS_BETWEEN_LOOKS == 0 or step + 1 == self._recipe.steps:
                    if not self._look(step + 1):
                        break
                    progress.advance(step + 1, torch.tensor(self._mean_loss), self._recipe.learning_rate_at(step))
        for reporter in self._reporters:
            reporter.progress = None
        self._steps = None
        if self._group.device.type == "cuda":
            torch.cuda.empty_cache()  # the evaluation is torch's

    def conclude(self) -> Generator[tuple[TrainingTask, Final], None, None]:
        """Evaluate the runs that did not fail, one after the other, and leave their results."""
        for place, (task, trainer, training) in enumerate(zip(self._tasks, self._trainers, self._trainings, strict=True)):
            if place not in self.failures:
                yield task, conclude(task, trainer.settings, self._data, self._group, self._options, trainer, training)

    def _save_if_due(self, step: int, first: int) -> None:
        code = self._options.stop_code()
        is_due = any(one.is_due for place, one in enumerate(self._trainers) if place not in self.failures)
        if code or step == self._recipe.steps or is_due:
            # First the losses: a run that diverged since the last look must leave no checkpoint.
            if step > first:
                self._look(step)
            self._save(step)
        if code:
            raise StoppedBySignal.by(code, f"the training at step {step} of {self._recipe.steps}")

    def _save(self, step: int) -> None:
        assert self._steps is not None, "only while steps are made"
        for place, (trainer, training) in enumerate(zip(self._trainers, self._trainings, strict=True)):
            if place not in self.failures:
                self._steps.store(place, step)
                trainer.save(training, step)

    def _look(self, step: int) -> bool:
        """Read the losses; a run that diverged has failed. Whether any goes on: runs that wait for their turn still do."""
        assert self._steps is not None, "only while steps are made"
        for place, loss in enumerate(self._steps.losses()):
            if math.isfinite(loss):
                self._trainers[place].loss = loss
            elif place not in self.failures:
                title = f"{self._recipe.folder_name} run {self._tasks[place].run}"
                advice = "try --precision fp32, or another --seed"
                self.failures[place] = TrainingDiverged(f"{title}: the training loss is {loss} at step {step}; {advice}")
                self._reporters[place]("diverged; the others go on" if len(self._tasks) > 1 else "diverged")
        return len(self.failures) < len(self._tasks)

    @property
    def _mean_loss(self) -> float:
        return fmean(trainer.loss for place, trainer in enumerate(self._trainers) if place not in self.failures)

    def _shown(self, first: int) -> AbstractContextManager[Progress]:
        recipe, options = self._recipe, self._options
        scalars = _Scalars(self._tasks, self._trainers) if options.tensorboard else None
        batch = recipe.batch * len(self._tasks)
        return shown(self._name, recipe.steps, batch, first, is_first=True, every_s=options.log_s, scalars=scalars)


class _Scalars:
    """TensorBoard's writers of several runs as one; each gets its own loss."""

    def __init__(self, tasks: Sequence[TrainingTask], trainers: Sequence[Trainer]) -> None:
        self._trainers = trainers
        self._writers = [tensorboard_writer(task.folder / "tensorboard") for task in tasks]

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """To each run's folder."""
        for writer, trainer in zip(self._writers, self._trainers, strict=True):
            own = trainer.loss if name == "loss" else value
            writer.add_scalar(name, own, step)  # type: ignore[attr-defined]


def _kept_steps(task: TrainingTask) -> list[int]:
    """Those of the sound checkpoints; [0] for a run that begins."""
    return [step_of(path.name) for path in sound_checkpoints(task.folder, Reporter(0, 1, task.run))] or [0]


def _fewer(at_once: int, error: BaseException) -> int:
    release_memory(error)
    if at_once == 1:
        raise NotTogether(f"one does not fit ({str(error).splitlines()[0][:200]})") from error
    Reporter(0, 1)(f"{at_once} runs do not fit into memory together: going on with {at_once // 2} at a time")
    return at_once // 2
