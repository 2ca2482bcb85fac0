"""A process that was given a GPU which torch does not see says which variable gave it and what hides it."""

import pytest
import torch

from hpcnas.training import visible_gpu
from hpcnas.training.visible_gpu import explain_missing_gpu

NO_DRIVER = "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch for GPUs on a machine that shows none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    opens_with(monkeypatch, NO_DRIVER)


def opens_with(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    def init() -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(torch.cuda, "init", init)


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_JOB_GPUS": "0"},
        {"SLURM_STEP_GPUS": "0,1"},
        {"SLURM_GPUS_ON_NODE": "1"},
        {"CUDA_VISIBLE_DEVICES": "0"},
        {"CUDA_VISIBLE_DEVICES": "GPU-5a1c"},
    ],
)
def test_every_way_of_giving_a_gpu_is_named(environment: dict[str, str]) -> None:
    ((name, value),) = environment.items()
    said = explain_missing_gpu(environment)
    assert said is not None
    assert f"gave this process a GPU ({name}={value}) but torch sees none: " in said


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"CUDA_VISIBLE_DEVICES": ""},
        {"CUDA_VISIBLE_DEVICES": "-1"},
        {"CUDA_VISIBLE_DEVICES": "NoDevFiles"},
        {"SLURM_GPUS_ON_NODE": "0"},
        {"SLURM_JOB_GPUS": "", "SLURM_JOB_ID": "7"},
    ],
)
def test_process_without_a_gpu_of_its_own_may_use_the_cpu(environment: dict[str, str]) -> None:
    assert explain_missing_gpu(environment) is None


def test_visible_gpu_needs_no_explanation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert explain_missing_gpu({"SLURM_JOB_GPUS": "0"}) is None


def test_driver_build_and_variable_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"SLURM_JOB_GPUS": "2"}
    said = {"driver": explain_missing_gpu(given), "hidden": explain_missing_gpu({**given, "CUDA_VISIBLE_DEVICES": "-1"})}
    opens_with(monkeypatch, "No CUDA GPUs are available")
    said["wrong"] = explain_missing_gpu({"CUDA_VISIBLE_DEVICES": "7"})
    monkeypatch.setattr(torch.version, "cuda", None)
    said["build"] = explain_missing_gpu(given)
    parts = {
        "driver": "the driver does not work (Found no NVIDIA driver on your system); name that node",
        "hidden": "CUDA_VISIBLE_DEVICES=-1 hides them all; unset it",
        "wrong": "CUDA_VISIBLE_DEVICES=7 names none that is there; correct it",
        "build": f"torch {torch.__version__} is built for the CPU alone; install a build for GPUs",
    }
    for name, part in parts.items():
        assert part in str(said[name])
        assert str(said[name]).endswith("or give --device cpu")


def test_this_machine_is_asked_without_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real torch.cuda: on a machine without GPUs a reason, on one with GPUs none."""
    monkeypatch.undo()
    found = visible_gpu.explain_missing_gpu({"SLURM_JOB_GPUS": "0"})
    assert (found is None) == torch.cuda.is_available()
