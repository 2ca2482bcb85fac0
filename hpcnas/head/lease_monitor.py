"""Finds leases that have lapsed or stalled, by the head's own monotonic clock (docs/reliability.md, "Leases and fencing")."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from hpcnas.records import LeaseView

MISSED_BEATS = 2.5  # of a worker whose task is gone
SLEPT_S = 3.0  # between two looks, which are half a second apart: only with leases of seconds, as tests have them


@dataclass(slots=True)
class _Observation:
    token: int
    heartbeat: int
    progress: float
    beat_s: float  # when (token, heartbeat) last changed
    moved_s: float  # when (token, progress) last changed


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Leases to take away: `lost` (no heartbeat) and `stalled` (heartbeats, no progress)."""

    lost: tuple[LeaseView, ...]
    stalled: tuple[LeaseView, ...]


class LeaseWatch:
    """Records when the counter of each lease last changed. Reads no wall clock, so clocks may jump and differ.

    After a long gap between two looks (a suspended or stopped head) every observation starts anew: no change in
    that time proves nothing about a worker.
    """

    def __init__(self, lease_s: float, stall_s: float, heartbeat_s: float, clock: Callable[[], float]) -> None:
        self.lease_s = lease_s
        self.gone_s = min(lease_s, MISSED_BEATS * heartbeat_s)
        self.stall_s = stall_s
        self.clock = clock
        self._seen: dict[int, _Observation] = {}
        self._looked_s: float | None = None

    def look(self, leases: Sequence[LeaseView], gone: Collection[str] = ()) -> Verdicts:
        """Compare the running leases with the last look, and name those that stood still for too long.

        Args:
            gone: workers whose task the cluster does not list any more. That shortens their lease and
                does not end it: a killed job's process may go on, and a cluster may be wrong.
        """
        now = self.clock()
        if self._looked_s is not None and now - self._looked_s > max(SLEPT_S, self.lease_s / 2):
            self._seen.clear()
        self._looked_s = now
        self._seen = {lease.individual_id: self._observe(lease, now) for lease in leases}
        lost = tuple(
            lease for lease in leases if self._silent_s(lease, now) > (self.gone_s if lease.worker_id in gone else self.lease_s)
        )
        stalled = tuple(lease for lease in leases if lease not in lost and self._still_s(lease, now) > self.stall_s)
        return Verdicts(lost, stalled)

    def _observe(self, lease: LeaseView, now: float) -> _Observation:
        seen = self._seen.get(lease.individual_id)
        if seen is None or seen.token != lease.token:
            return _Observation(lease.token, lease.heartbeat, lease.progress, now, now)
        if seen.heartbeat != lease.heartbeat:
            seen.heartbeat, seen.beat_s = lease.heartbeat, now
        if seen.progress != lease.progress:
            seen.progress, seen.moved_s = lease.progress, now
        return seen

    def _silent_s(self, lease: LeaseView, now: float) -> float:
        return now - self._seen[lease.individual_id].beat_s

    def _still_s(self, lease: LeaseView, now: float) -> float:
        return now - self._seen[lease.individual_id].moved_s
