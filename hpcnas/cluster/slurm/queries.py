"""Queries to Slurm: its answers as values, "no answer" as None.

No decision is taken from "no answer". Nothing here needs accounting but `gpu_seconds`.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hpcnas.cluster.ledger import Submission
from hpcnas.cluster.slurm.command import ASK_TIMEOUT_S, ask_slurm
from hpcnas.cluster.task import duration_s

JOB_NAME = "hpcnas"  # of workers
DEFAULT_MAX_ARRAY_SIZE = 1001  # Slurm's own default
MAX_NAMES = 5000  # of jobs in one question: an argument of a command has at most 128 KiB
ENDED_STATES = frozenset(
    (
        "COMPLETED",
        "CANCELLED",
        "FAILED",
        "TIMEOUT",
        "PREEMPTED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "BOOT_FAIL",
        "DEADLINE",
        "REVOKED",
    )
)


# A line of `queue`. Users may write anything into names and comments, line breaks and bars included. A line that does not
# begin like a task is the rest of a comment. Our own names and comments have neither.
_TASK = re.compile(r"(\d+(?:[_+][\d\[\],%*-]+)*)\|([A-Z_]+)\|([^|]*)\|([^|]*)\|([^|]*)\|(.*)\|([^|]*)")


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A line of squeue: one job, or one task of an array.

    Attributes:
        name: job id, or array job and index such as 12_3.
        reason: why it waits, as Slurm puts it; "None" when it does not.
        node: "" while it waits.
        elapsed_s: since its (last) start.
    """

    name: str
    state: str
    node: str
    reason: str
    elapsed_s: float
    job_name: str
    comment: str

    @property
    def is_active(self) -> bool:
        """Whether it runs, waits, or is about to do either again."""
        # A job that cannot be launched is requeued and held: only a person starts it again.
        return self.state not in ENDED_STATES and self.reason != "launch failed requeued held"


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition as scontrol shows it; times in seconds, None for unlimited or not set."""

    name: str
    is_default: bool
    state: str
    default_time_s: float | None
    max_time_s: float | None
    nodes: str


def queue(timeout_s: float = ASK_TIMEOUT_S) -> list[QueuedTask] | None:
    """All jobs of this user, one line per array task, those that ended minutes ago included; None without an answer."""
    form = "%i|%T|%N|%M|%r|%j|%k"
    command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", f"--format={form}"]
    answer = ask_slurm(command, timeout_s)
    if answer is None:
        return None
    found = [match for line in answer.splitlines() if (match := _TASK.fullmatch(line))]
    if not found and answer.strip():
        return None  # whatever this is, it is not squeue's answer
    return [
        QueuedTask(name, state, node, reason, duration_s(elapsed) or 0.0, job_name, comment.strip())
        for name, state, node, elapsed, reason, job_name, comment in (match.groups() for match in found)
    ]


def own_tasks(queued: Iterable[QueuedTask], entries: Iterable[Submission]) -> list[QueuedTask]:
    """Those of `queued` that `entries` submitted: by their comment; by job id and name where a site rewrites comments."""
    intents = {entry.intent: entry.job for entry in entries}
    jobs = set(filter(None, intents.values()))
    return [
        task
        for task in queued
        if task.comment.rpartition("/")[2] in intents
        or (task.name.split("_")[0] in jobs and task.job_name == JOB_NAME and not task.comment.startswith("hpcnas-"))
    ]


def max_array_size() -> int | None:
    """The largest number of tasks of an array, 0 if the site has switched arrays off; None without an answer."""
    answer = ask_slurm(["scontrol", "show", "config"])
    if answer is None:
        return None
    # MaxArraySize ends the indices, which begin at 0; max_array_tasks, among SchedulerParameters, may be lower.
    limits = re.findall(r"^MaxArraySize\s*=\s*(\d+)|\bmax_array_tasks=(\d+)", answer, re.MULTILINE)
    return min((int(index or tasks) for index, tasks in limits), default=DEFAULT_MAX_ARRAY_SIZE)


def partitions() -> list[Partition] | None:
    """Every partition that this user may see; None without an answer."""
    answer = ask_slurm(["scontrol", "--oneliner", "show", "partition"])
    if answer is None:
        return None
    found = []
    for line in answer.splitlines():
        values = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "PartitionName" in values:
            found.append(_partition(values))
    return found


def find_partition(name: str, known: Iterable[Partition]) -> Partition | None:
    """The partition of that name, the default one for ""; of a list such as "a,b" the first."""
    wanted = name.split(",")[0]
    return next((part for part in known if (part.name == wanted if wanted else part.is_default)), None)


def gpus_of(partition: str) -> int:
    """The number of GPUs of a partition by its nodes' generic resources, down or not; 0 without an answer."""
    answer = ask_slurm(["sinfo", "--noheader", "--Node", f"--partition={partition}", "--format=%N|%G"]) or ""
    return sum(_gpus_of_line(line) for line in answer.splitlines())


def most_gpus_of_a_node(partition: str) -> int:
    """The number of GPUs of the best-equipped node of a partition by its generic resources; 0 without an answer."""
    answer = ask_slurm(["sinfo", "--noheader", "--Node", f"--partition={partition}", "--format=%N|%G"]) or ""
    return max((_gpus_of_line(line) for line in answer.splitlines()), default=0)


def node_names() -> set[str]:
    """Every node that this user may see; empty without an answer."""
    return set((ask_slurm(["sinfo", "--noheader", "--Node", "--format=%N"]) or "").split())


def gpu_seconds(jobs: Iterable[str], timeout_s: float = ASK_TIMEOUT_S) -> float | None:
    """GPU-seconds that these jobs took by Slurm's accounting; None where there is none, or without an answer."""
    names, total = list(jobs), 0.0
    for start in range(0, len(names), MAX_NAMES):
        part = _gpu_seconds(",".join(names[start : start + MAX_NAMES]), timeout_s)
        if part is None:
            return None
        total += part
    return total


def _gpu_seconds(names: str, timeout_s: float) -> float | None:
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", f"--jobs={names}"]
    answer = ask_slurm([*command, "--format=ElapsedRaw,AllocTRES"], timeout_s)
    if answer is None:
        return None
    total = 0.0
    for line in answer.splitlines():
        elapsed, _, resources = line.partition("|")
        if elapsed.isdigit():  # a line of words is no job's
            total += int(elapsed) * _gpus(resources)
    return total


def _gpus_of_line(line: str) -> int:
    """GPUs of one node as sinfo shows it: gpu:4, gpu:a100:4(S:0-1), and several kinds with commas between."""
    return sum(int(count) for count in re.findall(r"[|,]gpu:(?:[^:,()\s]+:)?(\d+)", line))


def _partition(values: Mapping[str, str]) -> Partition:
    name = values["PartitionName"]
    return Partition(
        name=name,
        is_default=values.get("Default") == "YES",
        state=values.get("State", ""),
        default_time_s=duration_s(values.get("DefaultTime", "")),
        max_time_s=duration_s(values.get("MaxTime", "")),
        nodes=values.get("Nodes", ""),
    )


def _gpus(resources: str) -> int:
    """Number of GPUs in a list such as cpu=4,mem=8G,gres/gpu=2."""
    pairs = dict(item.split("=", 1) for item in resources.split(",") if "=" in item)
    count = pairs.get("gres/gpu", "0")
    return int(count) if count.isdigit() else 0
