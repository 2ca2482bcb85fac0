"""What tests run as a task in the place of a worker."""

import json
import os
import signal
import time
from pathlib import Path

from hpcnas.cluster.signals import StopFlag


def wait_for_signal(run: str) -> None:
    """Note every signal in a file of the run folder, with seconds since the first; leave half a second after it."""
    flag = StopFlag(exit_on_second=False).install()
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    name = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    start = os.environ.get("SLURM_RESTART_COUNT", "0")
    here = Path(run) / "seen"
    here.mkdir(exist_ok=True)
    write(here / f"{name}-{start}.env", json.dumps(dict(os.environ)))
    flag.wait(600)
    time.sleep(0.5)  # later signals of the same event
    seen = [[signal.Signals(number).name, round(moment - flag._seen[0][1], 3)] for number, moment in flag._seen]
    write(here / f"{name}-{start}.signals", json.dumps(seen))


def write(path: Path, text: str) -> None:
    """At once, so that a reader sees all or nothing."""
    beside = path.with_suffix(".tmp" + path.suffix)
    beside.write_text(text)
    beside.rename(path)
