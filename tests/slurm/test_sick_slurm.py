"""A minute in which Slurm's commands fail or hang: searches go on beside it, and end exactly."""

import itertools
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from hpcnas.cluster.ledger import Ledger
from hpcnas.population.queries import Population
from hpcnas.run_folder import RunFolder
from tests.slurm.faults import ANSWERS_TOO_LATE, FAILS, HANGS, Commands
from tests.slurm.starter import Cluster
from tests.slurm.test_search import assert_sound
from tests.slurm.watching import evaluated, head_output, start_head

MINUTE_S = 60.0
STARTED = 4  # genotypes evaluated before the commands fall ill
WORKERS = 2
SOON_S = 15.0  # for an answer to a person: 5 s of patience with squeue, twice two busy cores' start of Python
UNKNOWN = "Slurm: unknown, squeue failed or took more than 5 s"


@dataclass
class Patient:
    """One search with commands of its own.

    Attributes:
        ills: command -> what it does for the minute.
        steps: more than its workers can do in that minute, one genotype a second each.
        told: what `hpcnas status` says of Slurm meanwhile.
    """

    name: str
    cluster: Cluster
    ills: dict[str, str]
    steps: int
    told: str

    def start(self, folder: Path) -> subprocess.Popen[str]:
        """Its head."""
        self.run = folder / self.name
        self.commands = Commands(folder / f"{self.name}-bin")
        hurry = folder / "hurry.toml"
        hurry.write_text("[cluster]\nlease_s = 20.0\nheartbeat_s = 1.0\n")
        options = ("--config", str(hurry), "--workers", str(WORKERS), "--partition", "gpu", "--cpus-per-worker", "1")
        work = ("--fitness", "synthetic:1", "--repeats", "2", "--steps", str(self.steps), "--population", "20")
        path = self.commands.path(self.cluster)
        return start_head(self.cluster, self.run, *options, *work, HPCNAS_SQUEUE_S="5", PATH=path)

    def tasks(self) -> list[str]:
        """Every task that Slurm ever took from this run."""
        mark = Ledger(RunFolder(self.run)).run_mark
        lines = (line.split("|") for line in self.cluster.squeue("--states=all", form="%i|%k"))
        return [task for task, comment in lines if comment.startswith(mark)]

    def fall_ill(self) -> None:
        """The commands fail from now on, and a worker is missing: the head tries to start another."""
        self.commands.fall_ill(**self.ills)
        self.cluster.run("scancel", self.tasks()[0])

    def assert_status_answers(self) -> None:
        """`hpcnas status` shows the population, and does not wait for a command that hangs."""
        asked = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-m", "hpcnas", "status", "--run", str(self.run)],
            env={**self.cluster.environment, "PATH": self.commands.path(self.cluster)},
            capture_output=True,
            text=True,
            timeout=MINUTE_S,
            check=False,
        )
        assert time.monotonic() - asked < SOON_S, self.name
        assert (ended.returncode, ended.stderr) == (0, ""), self.name
        assert self.told in ended.stdout, (self.name, ended.stdout)

    def longest_pause_s(self, start: float, end: float) -> float:
        """The longest time between `start` and `end` in which no genotype was claimed."""
        with Population.open(self.run) as population:
            claims = [row.started for row in population.attempts() if start < row.started < end]
        return max(after - before for before, after in itertools.pairwise([start, *sorted(claims), end]))


@pytest.mark.timeout(320)
def test_searches_go_on_while_commands_fail_and_hang_for_a_minute(
    on_plain: Cluster, accounted: Cluster, tmp_path: Path, heads: list[subprocess.Popen[str]]
) -> None:
    """Four searches at once, two of them on a cluster without accounting; each loses a worker as its commands fall ill."""
    patients = [
        Patient("all-hang", on_plain, {"sbatch": HANGS, "squeue": HANGS, "sacct": HANGS}, 110, UNKNOWN),
        # The replacement is started, by a submission without an answer: two workers do this minute's work.
        Patient("answer-lost", on_plain, {"sbatch": ANSWERS_TOO_LATE}, 180, "Slurm: "),
        Patient("all-fail", accounted, {"sbatch": FAILS, "squeue": FAILS, "sacct": FAILS}, 110, UNKNOWN),
        Patient("no-submission", accounted, {"sbatch": FAILS, "sacct": HANGS}, 110, "Slurm: 1 running (n"),
    ]
    heads += [patient.start(tmp_path) for patient in patients]
    for patient in patients:
        on_plain.wait_until(lambda patient=patient: evaluated(patient.run) >= STARTED, f"{patient.name} is under way")
        on_plain.wait_until(lambda patient=patient: len(patient.tasks()) == WORKERS, f"{patient.name} has its workers")
    begun = time.time()
    for patient in patients:
        patient.fall_ill()
    time.sleep(8)  # by now every head has noticed that a worker is missing
    for patient in patients:
        patient.assert_status_answers()
    time.sleep(max(0.0, begun + MINUTE_S - time.time()))
    ended = time.time()
    for patient in patients:
        patient.commands.recover()
        assert evaluated(patient.run) < patient.steps, "the minute was over before the search was"
    for patient, head in zip(patients, heads, strict=True):
        assert head.wait(150) == 0, head_output(patient.run)
        assert_sound(patient.run, patient.steps)
        assert patient.longest_pause_s(begun, ended) < 10, patient.name
        assert len(patient.tasks()) <= WORKERS + 1, f"{patient.name}: more were started than one was lost"
    assert_adopted(patients[1], begun, ended)


def test_a_person_need_not_wait_for_an_sbatch_that_hangs(
    on_plain: Cluster, tmp_path: Path, heads: list[subprocess.Popen[str]]
) -> None:
    """Ctrl-C twice leaves at once, also in the half minute that the head gives sbatch."""
    patient = Patient("impatient", on_plain, {"sbatch": f"touch $ILL.asked; {HANGS}"}, 500, "")
    head = patient.start(tmp_path)
    heads.append(head)
    on_plain.wait_until(lambda: evaluated(patient.run) >= STARTED, "the search is under way")
    patient.fall_ill()
    asked = patient.commands.folder / "sbatch.ill.asked"
    on_plain.wait_until(asked.exists, "the head asks for a worker")
    pressed = time.monotonic()
    head.send_signal(signal.SIGINT)
    on_plain.wait_until(lambda: "Ctrl-C again" in head_output(patient.run), "the head drains")
    head.send_signal(signal.SIGINT)
    left = head.wait(MINUTE_S)
    waited_s = time.monotonic() - pressed
    patient.commands.recover()
    on_plain.run("scancel", *patient.tasks())
    assert left == 130, head_output(patient.run)
    assert waited_s < SOON_S


def assert_adopted(patient: Patient, begun: float, ended: float) -> None:
    """The worker whose submission was not answered was found in the queue, and worked in that very minute."""
    with Population.open(patient.run) as population:
        joined = [worker.joined for worker in population.workers()]
    assert len(joined) == len(patient.tasks()) == WORKERS + 1
    assert begun < max(joined) < ended
    lines = (RunFolder(patient.run).slurm / "submissions.jsonl").read_text().splitlines()
    intents = {entry["intent"] for entry in map(json.loads, lines) if "intent" in entry}
    assert len(intents) == 2, "what was not answered was not asked for again"
