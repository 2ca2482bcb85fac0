"""The worker's decisions beside a fake queue."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hpcnas.cluster.signals import StopFlag
from hpcnas.cluster.task import Deadline
from hpcnas.config import RunConfig
from hpcnas.errors import DataError, UnfitHostError
from hpcnas.records import Claim, Verdict, WorkerInfo
from hpcnas.run_folder import RunFolder
from hpcnas.worker.loop import Worker
from tests.head.fakes import FakeQueue, lease
from tests.worker.material import config_of

pytestmark = pytest.mark.timeout(300)


class Scripted(FakeQueue):
    """Grants the leases it is given, then says FINISHED."""

    def __init__(self, config: RunConfig, claims: list[Claim]) -> None:
        super().__init__()
        self.config, self.claims, self.claim_ids = config, claims, []  # type: ignore[var-annotated]

    def join(self, worker: WorkerInfo) -> str:
        self._note("join", worker)
        return json.dumps(self.config.to_dict())

    def claim(self, worker_id: str, claim_id: str) -> Claim:
        self.claim_ids.append(claim_id)
        self._note("claim", claim_id)
        return self.claims.pop(0) if self.claims else Claim(Verdict.FINISHED)


def scripted_worker(folder: RunFolder, claims: list[Claim], left_s: float | None = None) -> tuple[Worker, Scripted]:
    config = config_of("synthetic")
    queue = Scripted(config, claims)
    return Worker(folder, config, queue, StopFlag(), Deadline(left_s)), queue


def granted(expected_s: float | None = None) -> Claim:
    return Claim(Verdict.OK, lease(expected_s=expected_s))


def test_each_question_has_a_claim_id_of_its_own(run_folder: RunFolder) -> None:
    worker, queue = scripted_worker(run_folder, [granted(), granted()])
    assert worker.run() == 0
    assert len(set(queue.claim_ids)) == len(queue.claim_ids) == 3


def test_a_question_without_an_answer_is_asked_again_under_the_same_claim_id(run_folder: RunFolder) -> None:
    """The grant may have been made and its answer lost: another claim_id would be a second lease."""
    worker, queue = scripted_worker(run_folder, [granted()])
    note, failures = queue._note, iter([True, True])

    def lossy(what: str, detail: object) -> Verdict:
        from hpcnas.errors import StoreUnavailable

        answer = note(what, detail)
        if what == "claim" and next(failures, False):
            raise StoreUnavailable("the answer was lost")
        return answer

    queue._note = lossy  # type: ignore[method-assign]
    assert worker.run() == 0
    assert queue.claim_ids[0] == queue.claim_ids[1] == queue.claim_ids[2] != queue.claim_ids[3]


def test_a_genotype_that_cannot_be_finished_in_time_is_given_back_and_no_more_is_claimed(run_folder: RunFolder) -> None:
    worker, queue = scripted_worker(run_folder, [granted(expected_s=100.0), granted()], left_s=110.0)
    assert worker.run() == 0
    assert queue.heard("release") == ["too little time left"]
    assert len(queue.claim_ids) == 1
    assert not queue.heard("record")


def test_repeats_that_end_together_must_all_fit_into_the_time_that_is_left(
    run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """130 s are enough for one repeat of 100 s after the other, not for two that end after 200 s."""
    monkeypatch.setattr("hpcnas.training.fitness.synthetic.SyntheticEvaluator.at_once", 2)
    worker, queue = scripted_worker(run_folder, [granted(expected_s=100.0)], left_s=130.0)
    assert worker.config.recipe.repeats >= 2
    assert worker.run() == 0
    assert queue.heard("release") == ["too little time left"]
    assert not queue.heard("record")


def test_a_genotype_that_can_be_finished_in_time_is_begun(run_folder: RunFolder) -> None:
    worker, queue = scripted_worker(run_folder, [granted(expected_s=100.0)], left_s=130.0)
    assert worker.run() == 0
    assert len(queue.heard("record")) == 2


def test_a_worker_without_a_head_waits_for_a_lease_and_ends(run_folder: RunFolder) -> None:
    worker, queue = scripted_worker(run_folder, [])
    queue.is_away = True
    worker._patience_s = lambda: 0.3  # type: ignore[method-assign]
    assert worker.run() == 1


def test_a_worker_that_loses_its_head_while_it_waits_leaves_with_the_reason(run_folder: RunFolder) -> None:
    worker, queue = scripted_worker(run_folder, [granted()])
    worker._patience_s = lambda: 0.3  # type: ignore[method-assign]
    claim = queue.claim

    def claim_and_go(worker_id: str, claim_id: str) -> Claim:
        queue.is_away = len(queue.claim_ids) >= 1
        return claim(worker_id, claim_id)

    queue.claim = claim_and_go  # type: ignore[method-assign]
    reasons: list[str] = []
    queue.leave = lambda worker_id, reason: reasons.append(reason)  # type: ignore[method-assign]
    assert worker.run() == 1
    assert len(queue.heard("record")) == 2
    (reason,) = reasons
    assert reason.startswith("no head for ")


def test_a_goodbye_does_not_wait_for_a_silent_head(run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcnas.worker.loop.LEAVE_S", 0.2)
    worker, queue = scripted_worker(run_folder, [])
    is_over = threading.Event()
    queue.leave = lambda worker_id, reason: is_over.wait(60) and None  # type: ignore[method-assign]
    began = time.monotonic()
    assert worker.run() == 0
    took_s = time.monotonic() - began
    is_over.set()
    assert took_s < 20


def test_a_worker_that_hangs_before_its_first_claim_ends_soon_after_it_is_told_to(
    run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_loading, has_ended = threading.Event(), threading.Event()

    def load(*_: object, **__: object) -> None:
        is_loading.set()
        assert has_ended.wait(20)

    monkeypatch.setattr("hpcnas.worker.loop.load_evaluator", load)
    monkeypatch.setattr("hpcnas.worker.loop.STOP_S", 0.3)
    worker, queue = scripted_worker(run_folder, [granted()])
    monkeypatch.setattr(worker, "_end", has_ended.set)
    working = threading.Thread(target=worker.run)
    working.start()
    assert is_loading.wait(10)
    worker.flag.request("terminated")
    working.join(30)
    assert has_ended.is_set()
    assert queue.claim_ids == []


def leavers(queue: Scripted) -> list[str]:
    """Reasons from now on."""
    reasons: list[str] = []
    queue.leave = lambda worker_id, reason: reasons.append(reason)  # type: ignore[method-assign]
    return reasons


def training_worker(folder: RunFolder, data: Path, gpus: int = 1) -> tuple[Worker, Scripted]:
    worker, queue = scripted_worker(folder, [granted()])
    recipe = replace(queue.config.recipe, fitness="train", dataset="cifar10", data=str(data))
    queue.config = replace(queue.config, recipe=recipe, cluster=replace(queue.config.cluster, gpus_per_worker=gpus))
    return worker, queue


def test_a_worker_that_cannot_work_claims_no_genotype(run_folder: RunFolder, tmp_path: Path) -> None:
    """Released again and again by such workers, a genotype would count as preempted and fail in the end."""
    worker, queue = training_worker(run_folder, tmp_path / "nothing", gpus=0)
    reasons = leavers(queue)
    with pytest.raises(DataError):
        worker.run()
    assert queue.claim_ids == []
    assert len(reasons) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine's GPU is seen")
def test_a_worker_that_was_given_a_gpu_and_sees_none_refuses(
    run_folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    worker, queue = training_worker(run_folder, tmp_path)
    reasons = leavers(queue)
    with pytest.raises(UnfitHostError, match=r"gave this process a GPU .* or give --gpus-per-worker 0 to the head"):
        worker.run()
    assert queue.claim_ids == []
    assert reasons[0].startswith("unfit host: ")


def test_a_worker_of_a_head_that_asks_for_no_gpu_trains_without_one(
    run_folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets as far as the data, which are not there."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    worker, _ = training_worker(run_folder, tmp_path / "nothing", gpus=0)
    with pytest.raises(DataError):
        worker.run()
