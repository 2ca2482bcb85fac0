"""RUN/logs/head.log: what the head and its threads report; the same sentence at most once a minute."""

import contextlib
import logging
import time
from collections.abc import Callable

from hpcnas.run_folder import RunFolder

AGAIN_S = 60.0


class NoRepeats(logging.Filter):
    """Lets the same message through once a minute: a full disk is met by every message of every worker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record goes into the log."""
        now, message = self._clock(), record.getMessage()
        self._said_s = {said: at_s for said, at_s in self._said_s.items() if now - at_s < AGAIN_S}
        if message in self._said_s:
            return False
        self._said_s[message] = now
        return True


def log_to_file(folder: RunFolder, stack: contextlib.ExitStack) -> None:
    """Write the log of this process into the run folder until `stack` is closed."""
    logging.raiseExceptions = False  # a full disk must not fill the terminal with its own report
    folder.logs.mkdir(exist_ok=True)
    handler = logging.FileHandler(folder.logs / "head.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(NoRepeats())
    root = logging.getLogger("hpcnas")
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    stack.callback(handler.close)
    stack.callback(root.removeHandler, handler)
