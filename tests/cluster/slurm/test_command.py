"""The environment of Slurm's commands, and the one line that is left of their errors."""

from hpcnas.cluster.slurm import command
from hpcnas.cluster.slurm.command import clean_environment


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
    assert command._message("sbatch: error: Batch job submission failed: Invalid partition name specified\n") == (
        "Invalid partition name specified"
    )
    assert command._message("sbatch: note\nsbatch: error: QOSLimit\nallocation failure: Job violates policy\n") == (
        "QOSLimit: Job violates policy"
    )
