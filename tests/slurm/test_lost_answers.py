"""Commands of Slurm that fail, hang or lie, and a head that dies before the answer: nothing is submitted twice or forgotten."""

import errno
import os

import pytest

from hpcnas.cluster import arrays, submission
from hpcnas.cluster.arrays import SlurmLauncher
from hpcnas.errors import ClusterError
from hpcnas.run_folder import RunFolder
from tests.slurm.conftest import CONFIG, StandIn, answer, started
from tests.slurm.starter import Cluster

pytestmark = pytest.mark.usefixtures("tasks_that_wait")


def test_an_answer_lost_after_the_submission_starts_nothing_twice(
    on_plain: Cluster, folder: RunFolder, stand_in: StandIn
) -> None:
    stand_in("sbatch", '$REAL "$@" >/dev/null; echo "sbatch: error: Batch job submission failed: Socket timed out" >&2; exit 1')
    names = SlurmLauncher(folder, CONFIG).submit(3)
    assert sorted(line.split()[0] for line in on_plain.squeue()) == sorted(names)
    assert len(names) == 3
    started(folder, on_plain, 3)  # they found their pickles


def test_a_head_killed_between_submission_and_answer_finds_its_tasks(
    on_plain: Cluster, folder: RunFolder, stand_in: StandIn
) -> None:
    first = SlurmLauncher(folder, CONFIG)
    first._ledger.new("slurm", 2)
    entry = first._ledger.open("slurm")[0]
    executor = first._executor(entry.intent)
    script = folder.slurm / "lost.sh"
    script.write_text(executor.script(2))
    on_plain.run("sbatch", str(script))  # and the head dies here
    later = SlurmLauncher(folder, CONFIG)
    on_plain.wait_until(lambda: len(answer(later) or {}) == 2, "the tasks are found")
    started(folder, on_plain, 2)


def test_while_a_submissions_fate_is_unknown_nothing_more_is_submitted(
    on_plain: Cluster, folder: RunFolder, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "SETTLE_S", 0.0)
    sbatch = stand_in(
        "sbatch", 'echo "sbatch: error: Batch job submission failed: Unable to contact slurm controller" >&2; exit 1'
    )
    squeue = stand_in("squeue", "exit 1")
    launcher = SlurmLauncher(folder, CONFIG)
    assert launcher.submit(2) == []
    sbatch.unlink()
    assert answer(launcher) is None
    assert launcher.submit(2) == [], "squeue does not say whether the first came through"
    squeue.unlink()
    assert answer(launcher) == {}
    assert len(launcher.submit(2)) == 2


def test_a_hanging_sbatch_is_given_up_and_looked_up(
    on_plain: Cluster, folder: RunFolder, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "SBATCH_TIMEOUT_S", 1.0)
    stand_in("sbatch", '$REAL "$@" >/dev/null; exec sleep 600')
    launcher = SlurmLauncher(folder, CONFIG)
    names = launcher.submit(2)
    assert sorted(line.split()[0] for line in on_plain.squeue()) == sorted(names)
    assert len(names) == 2


@pytest.mark.parametrize(
    "lie", ["exit 1", "echo garbage", "exec sleep 600", "kill -9 $$"], ids=["fails", "prints garbage", "hangs", "is killed"]
)
def test_a_squeue_that_gives_no_answer_is_unknown_and_holds_nobody_up(
    on_plain: Cluster, folder: RunFolder, stand_in: StandIn, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcnas.cluster.slurm.queue.__defaults__", (0.5,))
    launcher = SlurmLauncher(folder, CONFIG)
    names = launcher.submit(1)
    squeue = stand_in("squeue", lie)
    assert answer(launcher) is None
    with pytest.raises(ClusterError, match="does not answer squeue"):
        launcher.cancel()
    squeue.unlink()
    assert set(answer(launcher) or {}) == set(names)


def test_an_empty_answer_does_not_make_the_launcher_forget_its_tasks(
    on_plain: Cluster, folder: RunFolder, stand_in: StandIn
) -> None:
    launcher = SlurmLauncher(folder, CONFIG)
    names = launcher.submit(2)
    lie = stand_in("squeue", "exit 0")
    launcher._look()
    assert launcher.prune() == 0, "one such answer deletes nothing"
    lie.unlink()
    assert set(answer(launcher) or {}) == set(names)


def test_a_full_disk_is_a_refusal_and_no_end_of_watching(
    on_plain: Cluster, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = SlurmLauncher(folder, CONFIG)
    (name,) = launcher.submit(1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("hpcnas.cluster.ledger.os.fsync", full)
        with pytest.raises(ClusterError, match="No space left on device"):
            launcher.submit(1)
    with monkeypatch.context() as patch:
        patch.setattr(launcher, "_adopt", full)
        assert answer(launcher) is None
    assert set(answer(launcher) or {}) == {name}
