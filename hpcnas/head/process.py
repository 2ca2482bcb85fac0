"""The process of a head, `python -m hpcnas.head`: its signals, its run and its display, from start to exit code."""

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable

from hpcnas.cluster.signals import StopFlag
from hpcnas.config import RunConfig
from hpcnas.head.display import make_display
from hpcnas.head.endings.notification import Ending, notify
from hpcnas.head.log import log_to_file
from hpcnas.head.loop import Head
from hpcnas.head.page import PageWriter
from hpcnas.head.start import OpenRun, open_run, show_plan
from hpcnas.run_folder import RunFolder

log = logging.getLogger(__name__)


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
    endings: list[Ending] = []
    page = PageWriter(folder, config.cluster.page_every_s)
    try:
        with open_run(folder, config, download=download, address=address, flag=flag) as run:
            if run.is_done:
                print(f"nothing to do: {folder.path} has its {config.search.steps} evaluated genotypes; raise --steps to go on")
                return 0
            return _search(run, flag, page, endings.append)
    finally:  # not under the run's lock: nobody waits for the last page or a command of the user there
        if endings:
            _conclude(folder, page, endings[-1], config)


def _conclude(folder: RunFolder, page: PageWriter, ending: Ending, config: RunConfig) -> None:
    """Write the last page and run the user's command, with the lines of both in the run's log if it can be written."""
    with contextlib.ExitStack() as stack:
        if folder.logs.is_dir():
            with contextlib.suppress(OSError):  # a disk that became read-only may be the failure that the command reports
                log_to_file(folder, stack)  # the run's own log is closed by now
            page.finish()
        log.info("the search %s%s", ending.state, f": {ending.reason}" if ending.reason else "")
        _notify(config, ending)


def _notify(config: RunConfig, ending: Ending) -> None:
    """Run the user's command; what went wrong is printed too, as somebody may sit at the terminal."""
    trouble = notify(config.cluster.on_failure if ending.state == "failed" else config.cluster.on_end, ending)
    if trouble and sys.stderr is not None:
        with contextlib.suppress(OSError):  # a terminal that is gone
            print(trouble, file=sys.stderr, flush=True)


def _search(run: OpenRun, flag: StopFlag, page: PageWriter, leave: Callable[[Ending], None]) -> int:
    """Search, and say to `leave` how it ended; a head that goes on in its next job has not ended."""
    display = make_display()
    head = Head(run, flag, display)
    page.start(display.log)
    try:
        code = head.search()
    except Exception as error:
        leave(_ending(head, error))
        raise
    finally:
        page.stop()
        display.close()
    if head.state != "left":
        leave(_ending(head))
    return code


def _ending(head: Head, error: Exception | None = None) -> Ending:
    """The outcome of a head that ended by itself or by `error`."""
    return Ending(
        run=str(head.folder.path),
        state="failed" if error else head.state,
        reason=str(error).partition("\n")[0] if error else "" if head.state == "finished" else head.reason,
        evaluated=len(head.run.breeder),
        steps=head.steps,
        best=head.run.breeder.best,
    )
