"""`hpcnas final` before its first step: what it says, and that it leaves within moments of a signal."""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from hpcnas.system.lock_file import TRAINING_LOCK
from hpcnas.training.full_size import train as final_training
from tests.apart import start_apart
from tests.commands.conftest import command, free_port, tiny
from tests.processes import wait_until

pytestmark = pytest.mark.usefixtures("outside_of_slurm")

SOON_S = 10.0  # 2 s, and patience with a busy machine; without the signal it would be a minute


def sleep_in_python() -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.01)


def hang_in_c() -> None:
    """A call that no signal interrupts: a mutex is locked twice."""
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)


def swallow() -> None:
    """A library that goes on whatever is raised."""
    with contextlib.suppress(Exception):
        sleep_in_python()


def signalled(arguments: list[str], number: signal.Signals, prepare: Callable[[], None]) -> tuple[int | None, float]:
    """Send a signal while the data set is opened by `prepare`; exit code and seconds from then on."""
    opening = Path(arguments[2]).with_name("opening")  # beside the run
    opening.unlink(missing_ok=True)

    def run() -> None:
        really_open = final_training.open_data

        def open_data(*given: Any) -> object:
            opening.touch()
            prepare()
            return really_open(*given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(final_training, "open_data", open_data)
            os._exit(command(*arguments))

    process = start_apart(run)
    wait_until(opening.exists)
    began = time.monotonic()
    os.kill(process.pid or 0, number)
    process.join(60)
    process.kill()
    process.join()
    return process.exitcode, time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("prepare", [sleep_in_python, hang_in_c, swallow])
def test_signal_while_it_prepares_ends_it_within_moments(
    tmp_path: Path, genotype_file: str, number: signal.Signals, prepare: Callable[[], None]
) -> None:
    arguments = tiny(genotype_file, tmp_path / "run", "--runs", "1")
    code, seconds = signalled(arguments, number, prepare)
    assert code == 128 + number
    assert seconds < SOON_S
    assert command(*arguments) == 0


def test_lock_is_given_back(tmp_path: Path, genotype_file: str) -> None:
    """The next job may start on another node, from where nobody can see that this process is gone."""
    assert signalled(tiny(genotype_file, tmp_path / "run"), signal.SIGTERM, sleep_in_python)[0] == 143
    assert list(tmp_path.glob(f"run/**/{TRAINING_LOCK}")) == []


@pytest.mark.parametrize("is_first_gone", [False, True], ids=["together", "the waiting one first"])
def test_ranks_that_wait_for_one_that_prepares_leave_with_it(tmp_path: Path, genotype_file: str, is_first_gone: bool) -> None:
    """Rank 0 reads the data, rank 1 waits in a call of gloo's: both have the signal's exit code, and one line is said."""
    port, opening = free_port(), tmp_path / "opening"

    def load(*_: object, **__: object) -> None:
        opening.touch()
        sleep_in_python()

    def run(rank: int) -> None:
        with (tmp_path / f"said-{rank}").open("w") as said, pytest.MonkeyPatch.context() as patch:
            os.dup2(said.fileno(), 2)
            patch.setattr(final_training, "load_final_data", load)
            for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}.items():
                patch.setenv(name, str(value))
            patch.setenv("MASTER_ADDR", "127.0.0.1")
            os._exit(command(*tiny(genotype_file, tmp_path / "run", "--device", "cpu")))

    ranks = [start_apart(partial(run, rank)) for rank in range(2)]
    wait_until(opening.exists)
    for process in reversed(ranks):
        os.kill(process.pid or 0, signal.SIGTERM)
        if is_first_gone:  # then rank 0 finds, on its way out, that the other one is lost
            process.join(SOON_S)
    for process in ranks:
        process.join(SOON_S)
        process.kill()
        process.join()
    assert [process.exitcode for process in ranks] == [143, 143]
    lines = [line for rank in range(2) for line in (tmp_path / f"said-{rank}").read_text().splitlines()]
    said = [line for line in lines if line.startswith("hpcnas: ")]
    assert said == ["hpcnas: SIGTERM stopped the preparation; the same command goes on there"]


@pytest.mark.parametrize("prepare", [sleep_in_python, hang_in_c])
def test_time_limit_while_it_prepares_requeues_the_job(
    tmp_path: Path, genotype_file: str, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[], None]
) -> None:
    """Once, of an array the task alone."""
    (tmp_path / "scontrol").write_text(
        f'#!/bin/sh\n[ "$1" = requeue ] && echo "$2" >> {tmp_path}/requeued\n'
        "echo 'JobId=12 ArrayJobId=12 ArrayTaskId=1 JobName=x'\n"
    )
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert signalled(tiny(genotype_file, tmp_path / "run"), signal.SIGUSR2, prepare)[0] == 140
    assert (tmp_path / "requeued").read_text() == "12_1\n"


def test_first_line_says_what_is_trained_where_and_from_which_step(
    tmp_path: Path, genotype_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*tiny(genotype_file, tmp_path / "run", "--runs", "1", "--device", "cpu")) == 0
    assert capsys.readouterr().err.splitlines()[0] == (
        "cifar-c2-n1-digits run 0: 960 parameters, digits of 1,500 images, 1 x cpu, fp32, 2 steps of 16 images, from step 0"
    )


@pytest.mark.parametrize("asked", [[], ["--device", "cuda"]])
def test_gpu_that_was_given_and_is_not_seen_is_refused(
    tmp_path: Path,
    genotype_file: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: list[str],
) -> None:
    """With --device cpu the person asked for it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    arguments = tiny(genotype_file, tmp_path / "run", "--runs", "1")
    assert command(*arguments, *asked) == 4
    said = capsys.readouterr().err
    assert "gave this process a GPU (SLURM_JOB_GPUS=0) but torch sees none: " in said
    assert said.count("\n") == 1
    assert command(*arguments, "--device", "cpu") == 0
