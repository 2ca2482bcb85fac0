"""What Slurm is handed: the very batch scripts, the environment of sbatch, and options of users. No Slurm is needed here."""

import sys
from pathlib import Path

import pytest

from hpcnas.cluster.slurm import queries as slurm
from hpcnas.cluster.slurm.arrays import SlurmLauncher
from hpcnas.cluster.slurm.batch import OWN, batch_parameters
from hpcnas.cluster.slurm.full_jobs import full_executor
from hpcnas.cluster.slurm.job_shape import JobShape
from hpcnas.cluster.slurm.sbatch_options import check_log_path, submission_environment, user_options
from hpcnas.cluster.slurm.submission import BatchExecutor
from hpcnas.config import ClusterConfig
from hpcnas.errors import UsageError
from hpcnas.run_folder import RunFolder

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """srun and sbatch that are there and say nothing: a script is written without asking them."""
    for name in ("srun", "sbatch", "scontrol", "squeue"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("HPCNAS_DATA", raising=False)


def test_the_folder_of_data_sets_reaches_tasks_where_a_site_passes_no_environment_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPCNAS_DATA", "/data/it's here")
    line = "export HPCNAS_DATA='/data/it'\"'\"'s here'"
    assert line in SlurmLauncher(RunFolder(tmp_path / "run"), ClusterConfig(time="60")).script(1)
    assert line in full_executor(tmp_path / "slurm", "name", JobShape(), "INTENT").script()


def plain(text: str, folder: Path) -> str:
    """The script without what differs from machine to machine."""
    return text.replace(sys.executable, "PYTHON").replace(str(folder), "FOLDER")


def test_the_script_of_workers_is_the_known_one(tmp_path: Path) -> None:
    """Whoever changes it sees so: write the new text into the golden file, and say why."""
    config = ClusterConfig(
        **{"partition": "gpu", "account": "lab", "time": "8:00:00", "mem": "16G", "exclude": "n[1,3]", "workers": 200},
        **{"setup": ("module load cuda",), "slurm": ("constraint=a100",)},
    )
    launcher = SlurmLauncher(RunFolder(tmp_path / "run"), config)
    launcher._excluded = {"bad7", "bad2"}
    assert plain(launcher.script(200), tmp_path / "run") == (GOLDEN / "workers.sh").read_text()


def test_the_script_of_a_full_size_training_is_the_known_one(tmp_path: Path) -> None:
    shape = JobShape(nodes=2, ranks_per_node=8, gpus_per_node=8, partition="a100", time="1-0", slurm=("gres=gpu:h100:8",))
    executor = full_executor(tmp_path / "slurm", "hpcnas-final-best", shape, "INTENT")
    assert plain(executor.script(), tmp_path / "slurm") == (GOLDEN / "full_size.sh").read_text()


@pytest.mark.parametrize("option", ["gpus-per-node=v100:1", "gres=gpu:a100:1", "gpus_per_task=1", "--gpus=2", "G=2"])
def test_a_kind_of_gpu_that_the_user_names_takes_the_place_of_the_default(tmp_path: Path, option: str) -> None:
    for script in (
        SlurmLauncher(RunFolder(tmp_path / "run"), ClusterConfig(time="60", slurm=(option,))).script(2),
        full_executor(tmp_path / "slurm", "name", JobShape(slurm=(option,)), "INTENT").script(),
    ):
        asked = [line for line in script.splitlines() if line.startswith(("#SBATCH --gpus", "#SBATCH --gres"))]
        assert len(asked) == 1
        assert asked[0].endswith(option.partition("=")[2])


def test_memory_by_core_takes_the_place_of_memory_by_node(tmp_path: Path) -> None:
    script = SlurmLauncher(RunFolder(tmp_path / "run"), ClusterConfig(time="60", mem="8G", slurm=("mem-per-cpu=2G",))).script(1)
    assert "--mem-per-cpu=2G" in script
    assert "--mem=" not in script


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ("cpus-per-task=3", "--cpus-per-worker 3"),
        ("cpus_per_task=3", "--cpus-per-worker 3"),
        ("c=3", "--cpus-per-worker 3"),
        ("--partition=x", "--partition x"),
        ("p=x", "--partition x"),
        ("time=5", "--time 5"),
        ("exclude=n1", "--exclude n1"),
        ("parti=x", "write the name of the option out"),
        ("outp=x", "write the name of the option out"),
        ("J=x", "hpcnas sets job-name itself"),
        ("nodes=2", "hpcnas sets nodes itself"),
        ("constraint", "KEY=VALUE"),
    ],
)
def test_an_option_that_hpcnas_acts_upon_is_refused_by_name(option: str, instead: str) -> None:
    with pytest.raises(UsageError, match=instead):
        user_options([option], OWN)
    with pytest.raises(UsageError):
        JobShape(slurm=(option,))


def test_nothing_of_the_environment_overrides_what_a_script_says() -> None:
    """Nor what hpcnas relies on: sbatch that waits for the job, another output, another name."""
    names = "TIMELIMIT ARRAY_INX MEM_PER_CPU GRES GPUS OUTPUT WAIT JOB_NAME SIGNAL NO_REQUEUE OPEN_MODE PARSABLE"
    set_by_a_site = {f"SBATCH_{name}": "x" for name in names.split()}
    kept = {"PATH": "/bin", "SBATCH_ACCOUNT": "lab", "SBATCH_PARTITION": "gpu", "SBATCH_EXPORT": "NONE"}
    options = ["time", "array", "mem", "gpus_per_node", "requeue", "job_name"]
    assert submission_environment({**set_by_a_site, **kept}, options) == kept


def test_an_account_that_was_given_is_not_overridden_by_the_sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SBATCH_ACCOUNT", "SBATCH_QOS", "SLURM_EXPORT_ENV", "SRUN_CPUS_PER_TASK", "SALLOC_PARTITION"):
        monkeypatch.setenv(name, "site")
    parameters = batch_parameters(ClusterConfig(account="mine", time="60"), "mark")
    environment = BatchExecutor(tmp_path / "slurm", "INTENT", parameters, is_array=True).environment
    assert {name for name, value in environment.items() if value == "site"} == {"SBATCH_QOS"}


@pytest.mark.parametrize("name", ["a%jb", "a%ub", "100%", "a\\b", "a\nb", "a\rb", "caf\udce9"])
def test_a_folder_that_slurm_would_name_otherwise_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="choose another folder with --run"):
        SlurmLauncher(RunFolder(tmp_path / name), ClusterConfig(time="60")).script(1)
    with pytest.raises(UsageError, match="choose another folder with --run"):
        full_executor(tmp_path / name, "name", JobShape(), "INTENT")
    assert not (tmp_path / name).exists()


def test_other_strange_folders_are_taken() -> None:
    check_log_path(Path("/r/a b#c[1,2]'\"é🚀$x;&(){}*?~" + "n" * 200))


OWN_LINE = "12_0|RUNNING|n1|1:02|None|hpcnas|hpcnas-mark/intent"


@pytest.mark.parametrize(
    "strange",
    [
        "13|RUNNING|n1|0:01|None|train|first line\nsecond line",
        "13|PENDING||0:00|Resources|a|b|c|d",
        "13|RUNNING|n1|0:01|None|na\nme|comment",
        "13_[2-4%2]|PENDING||0:00|Priority||",
        "13+0|RUNNING|n1|0:01|None|het|",
        "|||||||||",
        "slurm_load_jobs warning: something",
    ],
)
def test_what_other_jobs_are_called_hides_none_of_ours(monkeypatch: pytest.MonkeyPatch, strange: str) -> None:
    monkeypatch.setattr(slurm, "ask_slurm", lambda command, timeout_s: f"{strange}\n{OWN_LINE}\n{strange}\n")
    queued = slurm.queue()
    assert queued is not None
    [own] = [task for task in queued if task.name == "12_0"]
    assert (own.state, own.node, own.elapsed_s, own.job_name, own.comment) == (
        "RUNNING",
        "n1",
        62.0,
        "hpcnas",
        "hpcnas-mark/intent",
    )


@pytest.mark.parametrize(("answer", "tasks"), [("", 0), ("\n\n", 0), ("squeue: moved to bjobs\n", None), (None, None)])
def test_an_answer_without_any_task_is_an_empty_queue_only_if_it_is_empty(
    monkeypatch: pytest.MonkeyPatch, answer: str | None, tasks: int | None
) -> None:
    monkeypatch.setattr(slurm, "ask_slurm", lambda command, timeout_s: answer)
    queued = slurm.queue()
    assert (None if queued is None else len(queued)) == tasks
