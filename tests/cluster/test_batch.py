"""What Slurm's answers and refusals become, and which options pass through."""

import json
from pathlib import Path

import pytest

from hpcnas.cluster import batch, slurm
from hpcnas.cluster.batch import batch_parameters, refusal, signal_delay_s
from hpcnas.cluster.ledger import Submission
from hpcnas.cluster.pruning import prune_folder
from hpcnas.cluster.slurm import QueuedTask, clean_environment, own_tasks
from hpcnas.config import ClusterConfig
from hpcnas.errors import UsageError


def task(name: str, comment: str, job_name: str = "hpcnas", state: str = "RUNNING", reason: str = "None") -> QueuedTask:
    return QueuedTask(name, state, "n1", reason, 1.0, job_name, comment)


def test_tasks_are_known_by_their_comment_and_where_it_was_rewritten_by_id_and_name() -> None:
    entries = [Submission("aaa", "slurm", 2, job="7")]
    mine = [task("7_0", "hpcnas-1/aaa"), task("7_1", "project x"), task("9_0", "hpcnas-1/aaa")]
    others = [task("7_0", "hpcnas-2/bbb"), task("7_0", "", job_name="mine"), task("8_0", "project x")]
    assert own_tasks([*mine, *others], entries) == mine


def test_a_job_that_can_only_be_released_by_hand_is_not_waited_for() -> None:
    assert not task("1_0", "", state="PENDING", reason="launch failed requeued held").is_active
    assert task("1_0", "", state="PENDING", reason="JobHeldUser").is_active
    assert not task("1_0", "", state="NODE_FAIL").is_active


def test_only_slurm_conf_is_kept_of_an_outer_job() -> None:
    outer = {
        "SLURM_CONF": "/etc/x",
        "SLURM_JOB_ID": "1",
        "SLURM_MEM_PER_CPU": "2",
        "SQUEUE_FORMAT": "%i",
        "HOME": "/root",
        "PMI_RANK": "0",
    }
    assert clean_environment(outer) == {"SLURM_CONF": "/etc/x", "HOME": "/root"}


def test_the_message_of_a_failed_command_is_one_line_without_prefixes() -> None:
    assert slurm._message("sbatch: error: Batch job submission failed: Invalid partition name specified\n") == (
        "Invalid partition name specified"
    )
    assert slurm._message("sbatch: note\nsbatch: error: QOSLimit\nallocation failure: Job violates policy\n") == (
        "QOSLimit: Job violates policy"
    )


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
    assert batch._job_id("Submitted batch job 12 on cluster x") == "12"
    with pytest.raises(slurm.SlurmFailed) as failed:
        batch._job_id("OK")
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
