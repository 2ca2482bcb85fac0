"""Hosts that their workers call unfit: quarantined by the store, logged by the head."""

from collections.abc import Iterable

import pytest

from hpcnas.cluster import Launcher
from hpcnas.errors import HpcnasError
from hpcnas.head.display import Display, Snapshot
from hpcnas.head.unfit_hosts import UnfitHosts
from hpcnas.population.store import Store
from hpcnas.records import UNFIT_HOST, WorkerInfo
from hpcnas.run_folder import RunFolder

WHY = "torch sees none: its build is for the CPU alone"


class Cluster(Launcher):
    """Keeps the excluded hosts."""

    def __init__(self, reaches_other_hosts: bool) -> None:
        self.reaches_other_hosts = reaches_other_hosts
        self.excluded: list[str] = []
        self.is_cancelled = False

    def submit(self, count: int) -> list[str]:
        return []

    def alive(self) -> dict[str, str] | None:
        return {}

    def cancel(self, tasks: Iterable[str] | None = None, *, waiting_only: bool = False) -> int:
        self.is_cancelled = True
        return 0

    def exclude(self, hosts: Iterable[str]) -> None:
        self.excluded += hosts


class Told(Display):
    """Keeps the lines of the log."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def log(self, text: str) -> None:
        self.said.append(text)

    def show(self, snapshot: Snapshot) -> None:
        return

    def close(self) -> None:
        return


class Rig:
    """A head's look at workers that come and go."""

    def __init__(self, folder: RunFolder, store: Store, *, reaches_other_hosts: bool = True) -> None:
        self.store, self.cluster, self.display = store, Cluster(reaches_other_hosts), Told()
        self.unfit = UnfitHosts(folder, store, self.cluster, self.display)

    def join(self, worker_id: str, host: str) -> None:
        self.store.join(WorkerInfo(worker_id, host, 1))

    def refuse(self, worker_id: str, host: str) -> None:
        self.join(worker_id, host)
        self.store.leave(worker_id, UNFIT_HOST + WHY)


def test_one_unfit_host_of_a_cluster_is_told_once_and_excluded(store: Store, folder: RunFolder) -> None:
    rig = Rig(folder, store)
    rig.join("w1", "good")
    for worker_id, host in (("w2", "bad"), ("w3", "bad")):
        rig.refuse(worker_id, host)
        rig.unfit.look()
    assert rig.cluster.excluded == ["bad"]
    assert rig.display.said == [f"bad is quarantined: {WHY}"]


def test_unfit_hosts_beside_one_that_works_end_nothing(store: Store, folder: RunFolder) -> None:
    rig = Rig(folder, store)
    rig.join("w0", "good")
    for number in range(1, 6):
        rig.refuse(f"w{number}", f"bad{number}")
        rig.unfit.look()
    assert len(rig.cluster.excluded) == 5


def test_a_search_whose_hosts_are_all_unfit_ends_with_the_reason(store: Store, folder: RunFolder) -> None:
    rig = Rig(folder, store)
    for number in (1, 2):
        rig.refuse(f"w{number}", f"bad{number}")
        rig.unfit.look()
    assert not rig.cluster.is_cancelled
    rig.refuse("w3", "bad3")
    with pytest.raises(HpcnasError, match=WHY):
        rig.unfit.look()
    assert rig.cluster.is_cancelled


def test_workers_on_one_machine_end_the_search_when_it_is_unfit(store: Store, folder: RunFolder) -> None:
    rig = Rig(folder, store, reaches_other_hosts=False)
    rig.join("w0", "here")  # it has not looked yet
    rig.refuse("w1", "here")
    with pytest.raises(HpcnasError, match=WHY):
        rig.unfit.look()


def test_a_host_where_genotypes_failed_is_left_to_whoever_quarantined_it(store: Store, folder: RunFolder) -> None:
    rig = Rig(folder, store, reaches_other_hosts=False)
    store.quarantine("odd")
    rig.unfit.look()
    assert rig.display.said == []
