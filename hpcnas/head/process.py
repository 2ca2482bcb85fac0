"""The process of a head, `python -m hpcnas.head`: its signals, its run and its display, from start to exit code."""

import signal
import threading

from hpcnas.cluster.signals import StopFlag
from hpcnas.config import RunConfig
from hpcnas.head.display import make_display
from hpcnas.head.loop import Head
from hpcnas.head.start import open_run, show_plan
from hpcnas.run_folder import RunFolder


def run_head(config: RunConfig, folder: RunFolder, *, download: bool = False, dry_run: bool = False, address: str = "") -> int:
    """Search, from wherever the run stands, until it is finished, drained or left.

    Args:
        download: fetch the data set first if it is not there.
        dry_run: only print the configuration and what would be submitted; `download` is done all the same.
        address: of this machine, which workers are to try first; "" for its name.
    Returns:
        0, or 128 + n after signal n.
    Raises:
        HpcnasError: see its children; a refused start leaves nothing behind.
    """
    if dry_run:
        print(show_plan(folder, config, download=download))
        return 0
    flag = StopFlag(exit_on_second=False).install()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a connection that drops ends the display, not the search
    with open_run(folder, config, download=download, address=address) as run:
        if run.is_done:
            print(f"nothing to do: {folder.path} has its {config.search.steps} evaluated genotypes; raise --steps to go on")
            return 0
        display = make_display()
        try:
            return Head(run, flag, display).search()
        finally:
            display.close()
