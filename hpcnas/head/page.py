"""RUN/report.html while the search goes on: a process of its own writes it, so that neither lock nor breeding waits for it."""

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence

from hpcnas.run_folder import RunFolder
from hpcnas.system.durations import duration

log = logging.getLogger(__name__)

FIRST_S = 60.0  # from the head's start to the first page
PAUSE = 200  # times what the last page cost, at least: half a percent of one core
LONGEST_S = 300.0  # for one page; then its process is ended
NICENESS = 10
_POLL_S = 0.1


class PageWriter:
    """Writes the page again and again in a thread, and once more when the run is over.

    A page that cannot be written is one line of the log, whatever hinders it.
    """

    def __init__(self, folder: RunFolder, every_s: float, command: Sequence[str] = ()) -> None:
        """Start nothing yet.

        Args:
            every_s: from one page to the next, more where a page is dear; 0: never.
            command: what writes it; () for `hpcnas report`.
        """
        report = (sys.executable, "-m", "hpcnas", "report", "--run", str(folder.path), "--format", "html")
        self._page, self._every_s, self._command = folder.page, every_s, command or report
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._began_s = 0.0
        self._trouble = ""

    def start(self, say: Callable[[str], None]) -> None:
        """Begin; `say` gets a line for people when the first page is there."""
        self._began_s = time.monotonic()
        if self._every_s:
            self._thread = threading.Thread(target=self._run, args=(say,), name="page", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread, and the process that is writing."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def finish(self) -> None:
        """Write the page of a run that no head holds any more; not after a search so short that it has none."""
        if self._every_s and (self._page.exists() or time.monotonic() - self._began_s >= self._first_s):
            self._stopping.clear()
            self._write()

    @property
    def _first_s(self) -> float:
        return min(FIRST_S, self._every_s)

    def _run(self, say: Callable[[str], None]) -> None:
        wait_s, is_first = self._first_s, True
        while not self._stopping.wait(wait_s):
            cost_s = self._write()
            wait_s = max(self._every_s, PAUSE * cost_s)
            if is_first and not self._trouble:
                say(f"page: {self._page}, written anew every {duration(wait_s)}")
                is_first = False

    def _write(self) -> float:
        """Write one page; the seconds of a core that it took."""
        cost_s = 0.0
        try:
            with tempfile.TemporaryFile() as output:
                code, cost_s = self._end(self._begin(output.fileno()))
                output.seek(0)
                lines = output.read().decode(errors="replace").strip().splitlines()
        except OSError as error:
            self._report(str(error))
        else:
            self._report("" if code == 0 or self._stopping.is_set() else lines[-1] if lines else f"exit code {code}")
        return cost_s

    def _begin(self, output: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )  # a session of its own: Ctrl-C is for the head
        os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> tuple[int, float]:
        """Wait for the process, end it when it takes too long or the head leaves; exit code, and seconds of a core."""
        deadline = time.monotonic() + LONGEST_S
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        while not ended:
            is_late = self._stopping.wait(_POLL_S) or time.monotonic() > deadline
            if is_late:
                process.kill()
            ended, status, usage = os.wait4(process.pid, 0 if is_late else os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode, usage.ru_utime + usage.ru_stime

    def _report(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.warning("the page was not written: %s", trouble)
        self._trouble = trouble
