"""The runs of one genotype: on one GPU together where its kernels can run them, else one after the other."""

from collections.abc import Generator, Mapping, Sequence

from hpcnas.errors import TrainingDiverged
from hpcnas.networks.gpu.support import reason_against
from hpcnas.records import Final
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.progress import Reporter
from hpcnas.training.full_size.task import RunOptions, TrainingTask
from hpcnas.training.full_size.train import train_full


def train_runs(
    tasks: Sequence[TrainingTask], group: Group, options: RunOptions
) -> Generator[tuple[TrainingTask, Final], None, None]:
    """Train every task to its end, or go on with it; all ranks call it. Close it, or its locks stay a while.

    A run's bits do not depend on which others are trained with it, so that one alone goes the same way as five.

    Args:
        tasks: one or more runs of one genotype and recipe.
    Yields:
        Each task with its result, as soon as it is there; finished ones too.
    Raises:
        As `train_full`. One that diverged is raised when the others are through: its seed would only diverge again.
    """
    if _suits_together(tasks, group, options):
        from hpcnas.training.full_size.together import train_together

        yield from train_together(tasks, group, options)
        return
    first: TrainingDiverged | None = None
    for task in tasks:
        try:
            result = train_full(task, group, options)
        except TrainingDiverged as diverged:
            first = first or diverged
            if group.is_first and task is not tasks[-1]:
                Reporter(0, 1, task.run)("diverged; the others go on")
        else:
            yield task, result
    if first is not None:
        raise first


def _suits_together(tasks: Sequence[TrainingTask], group: Group, options: RunOptions) -> bool:
    """Whether the kernels train these runs; if it is a single GPU's CIFAR model and they cannot, one line says why not."""
    recipe = tasks[0].recipe
    if recipe.model != "cifar" or not group.is_alone or options.compile:
        return False
    reason = reason_against(group.device, recipe.precision)
    if not reason:
        from hpcnas.training.full_size.together import reason_against_network

        reason = reason_against_network(tasks[0])
    if reason and group.device.type == "cuda":
        Reporter(0, 1)(f"the runs are trained one after the other: {reason}")
    return not reason


def choose_runs(steps: Mapping[int, Sequence[int]], at_once: int) -> tuple[list[int], int]:
    """Choose the runs that are trained together next, and their first step.

    Args:
        steps: of each run that is not finished, those of its sound checkpoints; [0] where it has none.
        at_once: how many fit.
    Returns:
        The first run and others, in order, that have a step in common; the latest such step.
    """
    chosen: list[int] = []
    common: set[int] = set()
    for run, own in steps.items():
        shared = common & set(own) if chosen else set(own)
        if shared and len(chosen) < at_once:
            chosen.append(run)
            common = shared
    return chosen, max(common)
