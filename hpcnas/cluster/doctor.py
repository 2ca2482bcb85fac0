"""Everything about the machines that can be checked before 200 jobs are submitted.

A finding of a check says what to do. It is ok, a warning (it works, but not as well as it could) or failed (it will not
work). No check changes anything but by a tiny job of a few seconds.
"""

import os
import shutil
import socket
import uuid
from dataclasses import dataclass
from enum import StrEnum

from hpcnas.cluster.gpus import visible_gpus
from hpcnas.cluster.slurm import queries as slurm
from hpcnas.cluster.slurm.arrays import SlurmLauncher
from hpcnas.cluster.slurm.batch import time_limit_s
from hpcnas.cluster.slurm.command import SlurmFailed, ask_slurm, run_slurm
from hpcnas.cluster.slurm.queries import Partition
from hpcnas.cluster.task import SAFETY
from hpcnas.config import RunConfig
from hpcnas.errors import HpcnasError
from hpcnas.run_folder import RunFolder
from hpcnas.system.durations import duration
from hpcnas.system.file_system import file_system, is_network
from hpcnas.system.network import check_own, own_addresses

LEAST_FREE_BYTES = 2 << 30  # population, logs and backups of a full search stay below
IMAGENET_GPUS = 8  # of a node, unless HPCNAS_GPUS_PER_NODE says otherwise


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"  # works, with a disadvantage
    FAILED = "failed"  # would not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was found, and what to do about it ("" if nothing)."""

    level: Level
    text: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.level:8s} {self.text}" + (f": {self.advice}" if self.advice else "")


def ok(text: str) -> Finding:
    """A finding that is as it should be."""
    return Finding(Level.OK, text)


def check_folder(folder: RunFolder) -> list[Finding]:
    """Whether the run folder, or the folder that it will be made in, can be written, and what its file system means."""
    place = folder.path
    while not place.exists():
        place = place.parent
    try:
        probe = place / f".hpcnas-doctor-{uuid.uuid4().hex[:8]}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return [Finding(Level.FAILED, f"{place} cannot be written ({error.strerror})", "name another folder with --run")]
    kind = file_system(place) or "unknown"
    findings = [ok(f"{place} can be written")]
    if is_network(place):
        findings.append(ok(f"{place} is on {kind}: SQLite will use its rollback journal, which is safe there with one head"))
    else:
        findings.append(ok(f"{place} is on {kind}, a disk of this machine: SQLite will use its write-ahead log"))
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        findings.append(
            Finding(
                Level.WARNING, f"only {free / 2**30:.1f} GiB are free in {place}", "a full search needs about 2 GiB; make room"
            )
        )
    return findings


def check_network(address: str = "") -> list[Finding]:
    """By what other machines could find this one.

    Args:
        address: that the head will be given by --address; "" for none.
    """
    own = own_addresses()
    if address:
        try:
            check_own("--address", address)
        except HpcnasError as error:
            return [Finding(Level.FAILED, str(error))]
    if not own:
        advice = "workers on other nodes will not find a head here"
        return [Finding(Level.WARNING, f"{address or socket.gethostname()} has no address that other machines see", advice)]
    return [ok(f"a head here would be {address or socket.gethostname()}, or {', '.join(own)}")]


def check_local(config: RunConfig) -> list[Finding]:
    """Check the cores and GPUs of workers on this machine."""
    cores, gpus, workers = len(os.sched_getaffinity(0)), visible_gpus(), config.cluster.workers
    found = ok(f"workers would run here: {cores} cores, {len(gpus)} GPU{'s' * (len(gpus) != 1)}")
    if workers > max(cores, len(gpus)):
        advice = f"--workers {max(1, len(gpus) or cores)} suits this machine"
        return [found, Finding(Level.WARNING, f"--workers {workers} is more than it can run at a time", advice)]
    return [found]


def check_slurm(folder: RunFolder, config: RunConfig) -> list[Finding]:
    """Whether Slurm answers, has the partition, and would take the workers."""
    try:
        version = run_slurm(["sbatch", "--version"]).strip()
        run_slurm(["squeue", "--me", "--noheader"])
    except SlurmFailed as failed:
        return [Finding(Level.FAILED, f"Slurm does not answer ({failed})", "ask again later, or whoever runs the cluster")]
    findings = [ok(f"sbatch and squeue answer ({version})"), _accounting()]
    known = slurm.partitions()
    part = slurm.find_partition(config.cluster.partition, known or [])
    if part is None:
        names = ", ".join(partition.name for partition in known or []) or "none"
        advice = f"name one of these with --partition: {names}"
        return [*findings, Finding(Level.FAILED, f"there is no partition {config.cluster.partition or '(no default)'}", advice)]
    findings += _check_partition(part, config)
    try:
        SlurmLauncher(folder, config.cluster).check(config.cluster.workers)
        findings.append(ok(f"Slurm would take {config.cluster.workers} workers (sbatch --test-only)"))
    except HpcnasError as error:
        findings.append(Finding(Level.FAILED, str(error)))
    return [*findings, *_limits(config)]


def check_genotype_time(config: RunConfig, repeat_s: float | None) -> list[Finding]:
    """A worker's time limit against what a repeat takes.

    Args:
        repeat_s: seconds of one repeat, measured in the run; None before the first.
    """
    limit = time_limit_s(config.cluster)
    if limit is None:
        return [ok("workers have no time limit")]
    if repeat_s is None:
        return [ok(f"a worker may run {duration(limit)}; how long a genotype takes is not known before the first")]
    times = f"a worker may run {duration(limit)}, one repeat takes {duration(repeat_s)}"
    if limit < SAFETY * repeat_s:
        return [Finding(Level.FAILED, times, f"no repeat can be finished: ask for --time of at least {duration(2 * repeat_s)}")]
    if limit < 10 * repeat_s:
        return [Finding(Level.WARNING, times, "much of it goes into starting; a longer --time is better")]
    return [ok(times)]


def _accounting() -> Finding:
    if ask_slurm(["sacct", "--noheader", "--starttime=now"]) is None:
        return Finding(Level.WARNING, "sacct does not answer", "nothing depends on it; GPU-hours come from the run alone")
    return ok("sacct answers")


def _check_partition(part: Partition, config: RunConfig) -> list[Finding]:
    findings = []
    if part.state != "UP":
        findings.append(Finding(Level.FAILED, f"partition {part.name} is {part.state}", "choose another, or wait"))
    wanted, gpus = config.cluster.workers * config.cluster.gpus_per_worker, slurm.gpus_of(part.name)
    if gpus == 0 and wanted:
        advice = "choose one with GPUs, or --gpus-per-worker 0"
        findings.append(Finding(Level.FAILED, f"partition {part.name} has no GPUs that Slurm counts", advice))
    elif gpus < wanted:
        text = f"partition {part.name} has {gpus} GPUs for {wanted} that the workers need"
        findings.append(Finding(Level.WARNING, text, "the rest will wait in the queue"))
    else:
        findings.append(ok(f"partition {part.name} has {gpus} GPUs on {part.nodes}"))
    return [*findings, *_check_nodes(part)]


def _check_nodes(part: Partition) -> list[Finding]:
    """Whether a node has the GPUs that jobs/final_imagenet.sh asks for."""
    given = os.environ.get("HPCNAS_GPUS_PER_NODE", "")  # of jobs/env.sh
    asked = int(given) if given.isdecimal() else IMAGENET_GPUS
    most = slurm.most_gpus_of_a_node(part.name)
    if not 0 < most < asked:
        return []
    text = f"a node of partition {part.name} has at most {most} GPUs, jobs/final_imagenet.sh asks for {asked}"
    advice = f"set HPCNAS_GPUS_PER_NODE={most} in jobs/env.sh and submit with `bash jobs/final_imagenet.sh`"
    return [Finding(Level.WARNING, text, advice)]


def _limits(config: RunConfig) -> list[Finding]:
    """Limits of the QOS on the number of jobs, if accounting has them."""
    name = config.cluster.qos or "normal"
    form = "format=Name,MaxJobsPU,MaxSubmitJobsPU"
    answer = ask_slurm(["sacctmgr", "--noheader", "--parsable2", "show", "qos", name, form])
    findings = []
    for line in (answer or "").splitlines():
        fields = [*line.split("|"), "", ""]
        for limit, meaning in ((fields[1], "run"), (fields[2], "submit")):
            if limit.isdigit() and int(limit) < config.cluster.workers:
                text = (
                    f"QOS {fields[0]} lets you {meaning} {limit} jobs at a time, fewer than --workers {config.cluster.workers}"
                )
                findings.append(Finding(Level.WARNING, text, f"--workers {limit}, or another --qos"))
    return findings
