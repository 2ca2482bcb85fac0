"""Trouble that may pass, such as a full disk: how long it lasts, and what was reported of it."""

import logging
from collections.abc import Callable

from hpcnas.head.display import Display

log = logging.getLogger(__name__)

PATIENCE_S = 600.0  # with a population that cannot be written
SIGNALLED_S = 5.0  # the same after a signal: what cannot be written is not drained
REPORT_EVERY_S = 60.0  # one and the same trouble


class Trouble:
    """The trouble of one head; there is none at first."""

    def __init__(self, display: Display, clock: Callable[[], float]) -> None:
        self._display, self._clock = display, clock
        self._since_s: float | None = None
        self._reported_s: dict[str, float] = {}  # what -> when it was reported last

    def lasts_s(self) -> float:
        """Since when there is trouble, in seconds; it begins now if there was none."""
        now = self._clock()
        self._since_s = now if self._since_s is None else self._since_s
        return now - self._since_s

    def end(self) -> None:
        """There is none any more."""
        self._since_s = None

    def report(self, what: str) -> None:
        """Log and show it, the same thing once a minute."""
        now = self._clock()
        if now - self._reported_s.get(what, -REPORT_EVERY_S) >= REPORT_EVERY_S:
            self._reported_s[what] = now
            log.error("%s", what)
            self._display.log(what)
