"""Tasks of which one answer of squeue is not enough: their worker said that it leaves, or they are missing for once."""

import time
from collections.abc import Collection, Mapping

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


def unlisted(before: Mapping[str, str], listed: Collection[str], absent: Mapping[str, int]) -> dict[str, str]:
    """Tasks that squeue does not list for the first time, as it showed them last; ended ones it goes on listing for minutes.

    Args:
        before: name -> state by the answer before.
        listed: names of all tasks of this answer, ended ones among them.
        absent: in how many answers in a row a task was not active, this one included.
    """
    return {name: state for name, state in before.items() if name not in listed and absent.get(name) == 1}
