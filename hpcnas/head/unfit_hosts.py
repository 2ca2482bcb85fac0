"""Logs hosts that their workers call unfit, excludes them, and stops the search when no other is left."""

import logging

from hpcnas.cluster import Launcher
from hpcnas.errors import ClusterError, HpcnasError
from hpcnas.head.display import Display
from hpcnas.population.queries import Population
from hpcnas.population.store import Store
from hpcnas.run_folder import RunFolder
from hpcnas.system.background_call import ask, is_answered

log = logging.getLogger(__name__)

CANCEL_S = 5.0  # a cluster that takes longer for its answer is not waited for
MANY = 3  # unfit hosts, and no worker anywhere else: then it is what they share, such as the build of torch


class UnfitHosts:
    """The hosts that workers have called unfit since this head began."""

    def __init__(self, folder: RunFolder, store: Store, launcher: Launcher, display: Display) -> None:
        self.folder = folder
        self.store = store
        self.launcher = launcher
        self.display = display
        self._known = set(store.quarantined_hosts())
        self._why: dict[str, str] = {}

    def look(self) -> None:
        """Log new ones, and submit nothing more to them.

        Raises:
            HpcnasError: no worker is left on a host that can work, and none can be started.
        """
        quarantined = set(self.store.quarantined_hosts())
        if not self._why and quarantined == self._known:
            return
        with Population.open(self.folder) as population:
            why = {event.details["host"]: event.details.get("why", "") for event in population.events("quarantined")}
            at_work = {worker.host for worker in population.workers() if worker.ended is None} - quarantined
        for host in sorted(quarantined - self._known):
            self._take_in(host, why.get(host, ""))
        self._known = quarantined
        if self._why and not at_work and (len(self._why) >= MANY or not self.launcher.reaches_other_hosts):
            self._end_workers()
            reason = next(iter(self._why.values()))
            others = f" ({len(self._why)} hosts say so)" if len(self._why) > 1 else ""
            raise HpcnasError(f"no worker can train: {reason}{others}; mend that, then start the head again")

    def _end_workers(self) -> None:
        """Cancel workers that start or wait: they would find the same, and get their hosts quarantined by the next head."""
        answer = ask(self.launcher.cancel)
        if is_answered(answer, CANCEL_S) and isinstance(error := answer.exception(), ClusterError):
            log.warning("workers could not be cancelled, they end by themselves: %s", error)

    def _take_in(self, host: str, why: str) -> None:
        if why:  # else genotypes failed there, which was logged with the quarantine
            self._why[host] = why
            self.launcher.exclude([host])
            self.display.log(f"{host} is quarantined: {why}")
