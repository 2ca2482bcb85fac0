"""Between the command line of `hpcnas final` and its training: signals are handled before torch is imported."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from hpcnas.cluster.signals import LIMIT_SIGNALS, STOP_SIGNALS, StopFlag
from hpcnas.commands.final_preparation import Preparation
from hpcnas.errors import HpcnasError, StoppedBySignal
from hpcnas.training.full_size.ranks import RankInfo, find_rank

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
    rank_info = find_rank()
    recipe.batch_per_rank(rank_info.world_size)  # before ranks wait for each other
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        stop = StopFlag().install(STOP_SIGNALS)
        preparing = Preparation(stop, partial(leave, rank_info=rank_info))
        with preparing():
            from hpcnas.commands.final_here import train_here
        return train_here(options, recipe, resolve, rank_info, stop, preparing)
    except StoppedBySignal as stopped:
        return leave(stopped, rank_info)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def leave(stopped: StoppedBySignal, rank_info: RankInfo) -> int:
    """Say why; near the time limit put the job back into the queue, where it goes on. Returns the exit code."""
    if rank_info.rank != 0:
        # Slurm signals every rank. One sentence and one requeue are enough.
        return stopped.exit_code
    print(f"hpcnas: {stopped}", file=sys.stderr, flush=True)
    if stopped.exit_code in REQUEUE_CODES and os.environ.get("SLURM_JOB_ID"):
        from hpcnas.cluster.slurm.full_jobs import requeue_this_job

        refusal = requeue_this_job()
        if refusal:
            sentence = f"Slurm does not requeue this job ({refusal}); submit it again: it goes on where it stopped"
            print(f"hpcnas: {sentence}", file=sys.stderr, flush=True)
            # Not 128 + the signal: that stands for a job that is in the queue again, and this one is not.
            return HpcnasError.exit_code
    return stopped.exit_code
