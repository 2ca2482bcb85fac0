"""Tasks whose worker said that it leaves: squeue may go on showing them for a while."""

import time
from collections.abc import Mapping

FORGET_S = 30.0  # how long squeue may go on showing such a task


class Leavers:
    """Keeps the tasks to leave out."""

    def __init__(self) -> None:
        self._since_s: dict[str, float] = {}

    def add(self, task: str) -> None:
        """Leave `task` out until it is shown waiting again, or running still after half a minute."""
        self._since_s[task] = time.monotonic()

    def among(self, active: Mapping[str, str]) -> set[str]:
        """Those of the active tasks (name -> state) to leave out; the others are remembered no more."""
        now = time.monotonic()
        gone = {
            name
            for name, since in self._since_s.items()
            if active.get(name) in ("RUNNING", "COMPLETING") and now - since < FORGET_S
        }
        self._since_s = {name: self._since_s[name] for name in gone}
        return gone
