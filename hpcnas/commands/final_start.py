"""Between the command line of `hpcnas final` and its training: signals are handled before torch is imported."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from hpcnas.cluster.signals import LIMIT_SIGNALS, STOP_SIGNALS, StopFlag
from hpcnas.commands.final_preparation import Preparation
from hpcnas.errors import HpcnasError
from hpcnas.training.full_size.ranks import Place, find_place
from hpcnas.training.full_size.task import Stopped

if TYPE_CHECKING:
    from hpcnas.commands.final_options import FinalOptions
    from hpcnas.commands.final_pin import Named
    from hpcnas.training.full_size.recipe import FullRecipe

REQUEUE_CODES = tuple(128 + number for number in LIMIT_SIGNALS)


def start_training(options: "FinalOptions", recipe: "FullRecipe", resolve: "Callable[[], list[Named]]") -> int:
    """Train every run of every genotype, as one of the ranks that srun or torchrun started, or alone.

    Returns:
        The exit code: 0, or 128 + the number of the signal that stopped it.
    """
    place = find_place()
    recipe.batch_per_rank(place.world_size)  # before ranks wait for each other
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        stop = StopFlag().install(STOP_SIGNALS)
        preparing = Preparation(stop, partial(leave, place=place))
        with preparing():
            from hpcnas.commands.final_here import train_here
        return train_here(options, recipe, resolve, place, stop, preparing)
    except Stopped as stopped:
        return leave(stopped, place)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def leave(stopped: Stopped, place: Place) -> int:
    """Say why; near the time limit put the job back into the queue, where it goes on. Returns the exit code."""
    if place.rank != 0:
        return stopped.exit_code
    print(f"hpcnas: {stopped}", file=sys.stderr, flush=True)
    if stopped.exit_code in REQUEUE_CODES and os.environ.get("SLURM_JOB_ID"):
        from hpcnas.cluster.slurm.full_jobs import requeue_this_job

        refusal = requeue_this_job()
        if refusal:
            sentence = f"Slurm does not requeue this job ({refusal}); submit it again: it goes on where it stopped"
            print(f"hpcnas: {sentence}", file=sys.stderr, flush=True)
            return HpcnasError.exit_code
    return stopped.exit_code
