"""The process of a worker: `python -m hpcnas.worker --run RUN`, or what submitit calls in a Slurm job."""

import argparse
import logging
import sys

from hpcnas.cluster.signals import StopFlag
from hpcnas.cluster.task import Deadline
from hpcnas.config import RunConfig
from hpcnas.config_file import read_config
from hpcnas.errors import HpcnasError
from hpcnas.population import open_queue
from hpcnas.run_folder import RunFolder
from hpcnas.worker.loop import EXIT_UNFIT, Worker

log = logging.getLogger("hpcnas.worker")


def run_worker(run: str) -> int:
    """One worker for the run in folder `run`, until it leaves.

    Returns:
        0, 1 when this worker cannot work (three failures in a row, no head), 128 + n after signal n.
    Raises:
        HpcnasError: there is no such run, its secret is readable by others, the data set is missing, ...
    """
    _log_to_stderr()
    flag = StopFlag().install()  # after submitit's own handlers, which ignore SIGTERM
    folder = RunFolder.from_option(run).require()
    config = RunConfig.from_dict(read_config(folder.config))
    queue = open_queue(folder, config)
    return Worker(folder, config, queue, flag, Deadline.of_this_task()).run()


def _log_to_stderr() -> None:
    """Into submitit's log of the task, or the terminal of a worker started by hand; no further file."""
    root = logging.getLogger("hpcnas")
    if not root.handlers:  # in a debug head's process the head has its own
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        root.addHandler(handler)
        root.setLevel(logging.INFO)


def main(arguments: list[str] | None = None) -> int:
    """The command `python -m hpcnas.worker`; argparse, which starts faster than typer."""
    parser = argparse.ArgumentParser(prog="python -m hpcnas.worker", description="One worker of a run.")
    parser.add_argument("--run", default=None, help="the run folder (default $HPCNAS_RUN, else runs/default)")
    given = parser.parse_args(arguments)
    try:
        return run_worker(str(RunFolder.from_option(given.run).path))
    except HpcnasError as error:
        print(f"hpcnas worker: {error}", file=sys.stderr)
        return error.exit_code
    except Exception:
        log.exception("this worker ends by a bug")
        return EXIT_UNFIT
