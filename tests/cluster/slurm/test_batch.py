"""What Slurm's refusals become, which options pass through, and which files of ended jobs are pruned."""

import json
from pathlib import Path

import pytest

from hpcnas.cluster.pruning import prune_folder
from hpcnas.cluster.slurm.batch import batch_parameters, refusal, signal_delay_s
from hpcnas.cluster.slurm.command import SlurmFailed
from hpcnas.cluster.slurm.submission import job_id
from hpcnas.config import ClusterConfig
from hpcnas.errors import UsageError


@pytest.mark.slow
@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("Invalid job array specification", "lower --workers"),
        ("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)", "ask for fewer --workers"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "--time 5 must be within"),
        ("Invalid account or account/partition combination specified", "--account (your default) is not yours"),
        ("Something new", "see `sinfo`"),
    ],
)
def test_every_refusal_says_what_to_do_in_one_sentence(message: str, advice: str) -> None:
    said = refusal(message, 2, ClusterConfig(time="5"))
    assert said.startswith(f"Slurm refused to start 2 workers: {message}; ")
    assert advice in said
    assert "\n" not in said


@pytest.mark.parametrize(("limit_s", "delay_s"), [(None, 90), (60.0, 5), (600.0, 50), (86400.0, 90)])
def test_short_limits_are_announced_shortly_before(limit_s: float | None, delay_s: int) -> None:
    assert signal_delay_s(limit_s) == delay_s


def test_options_pass_through_and_reserved_ones_are_refused() -> None:
    config = ClusterConfig(time="60", slurm=("constraint=a100", "--exclusive=", "mail_type=END"))
    extra = batch_parameters(config, "mark", ["n9"])["additional_parameters"]
    assert extra == {"requeue": True, "constraint": "a100", "exclusive": True, "mail-type": "END"}
    for reserved in ("array=0-3", "comment=x", "job_name=y"):
        with pytest.raises(UsageError, match="hpcnas sets"):
            batch_parameters(ClusterConfig(time="60", slurm=(reserved,)), "mark")


def test_an_answer_without_a_number_is_no_answer() -> None:
    assert job_id("Submitted batch job 12 on cluster x") == "12"
    with pytest.raises(SlurmFailed) as failed:
        job_id("OK")
    assert not failed.value.is_certain


def test_foreign_files_and_those_of_open_jobs_are_never_pruned(tmp_path: Path) -> None:
    ended = ["7_0_submitted.pkl", "7_0_0_result.pkl", "7_submission.sh", "31_0_log.err"]
    kept = ["8_0_submitted.pkl", "8_submission.sh", "8_0_0_log.out", "submissions.jsonl", "notes.txt", "7_plan.sh"]
    for name in ended + kept:
        (tmp_path / name).write_text(json.dumps(name))
    assert prune_folder(tmp_path, {"8"}) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "31_0_log.err"])


def test_ended_tasks_of_an_open_array_are_pruned(tmp_path: Path) -> None:
    for name in ("8_0_submitted.pkl", "8_1_submitted.pkl", "8_1_0_result.pkl", "8_submission.sh", "1_0_log.out"):
        (tmp_path / name).touch()
    assert prune_folder(tmp_path, {"8", "1"}, frozenset({"8_1", "1_0"})) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1_0_log.out", "8_0_submitted.pkl", "8_submission.sh"]
