"""Which engine runs, and the one line that says why."""

import logging
import sys
import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from hpcnas.config import RecipeConfig
from hpcnas.networks.gpu import support
from hpcnas.networks.gpu.support import describe_engine, free_bytes, on_device, reason_against, release_memory
from hpcnas.training.fitness import trained
from hpcnas.training.fitness.repeats import RepeatsEngine

GPU, SECOND = torch.device("cuda"), torch.device("cuda", 1)


@pytest.fixture
def good_machine(monkeypatch, tmp_path) -> pytest.MonkeyPatch:
    """An H200 with everything that is needed."""
    monkeypatch.delenv("HPCNAS_TOGETHER", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(support.importlib.util, "find_spec", lambda name: SimpleNamespace(name=name))
    monkeypatch.setenv("CC", "gcc")
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(support.sysconfig, "get_path", lambda name, scheme: str(tmp_path))
    monkeypatch.setitem(sys.modules, "hpcnas.networks.gpu.driver", SimpleNamespace(reason_against_driver=lambda: ""))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA H200")
    return monkeypatch


def test_a_good_machine_trains_all_repeats_together(good_machine):
    assert reason_against(GPU, "auto") == reason_against(GPU, "bf16") == ""
    assert describe_engine("auto") == "all repeats of a genotype would be trained together on NVIDIA H200"


def test_without_triton(good_machine):
    good_machine.setattr(support.importlib.util, "find_spec", lambda name: None)
    assert reason_against(GPU, "auto") == "Triton is not installed"


def test_without_a_c_compiler(good_machine):
    good_machine.delenv("CC")
    good_machine.setattr(support.shutil, "which", lambda name: None)
    assert "no C compiler" in reason_against(GPU, "auto")


def test_without_pythons_headers(good_machine, tmp_path):
    """Triton compiles its link to the driver, at the first launch, against Python.h."""
    (tmp_path / "Python.h").unlink()
    assert reason_against(GPU, "auto") == "Python's header Python.h is not installed (Debian: python3-dev), which Triton needs"


def test_without_a_link_to_the_driver(good_machine):
    good_machine.setattr(sys.modules["hpcnas.networks.gpu.driver"], "reason_against_driver", lambda: "no libcuda")
    assert reason_against(GPU, "auto") == "no libcuda"


def test_on_a_card_before_ampere(good_machine):
    good_machine.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))
    good_machine.setattr(torch.cuda, "get_device_name", lambda device=None: "Tesla T4")
    assert reason_against(GPU, "auto") == "Tesla T4 has compute capability 7.5, and 8.0 is needed"
    assert describe_engine("auto").startswith("repeats would be trained one after the other: Tesla T4")


def test_a_second_card_is_judged_by_its_own_capability(good_machine):
    """A node may have cards of several kinds."""
    good_machine.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5) if device == SECOND else (9, 0))
    assert "8.0 is needed" in reason_against(SECOND, "auto")
    assert reason_against(GPU, "auto") == ""


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_where_another_precision_is_asked_for(good_machine, precision):
    assert reason_against(GPU, precision) == f"--precision {precision} was asked for"


def test_on_an_amd_card(good_machine):
    """torch calls it cuda, and its capability is high enough; the kernels have a line of NVIDIA's assembly."""
    good_machine.setattr(torch.version, "hip", "7.1")
    assert reason_against(GPU, "auto") == "the kernels are written for NVIDIA's cards"


def test_where_it_is_switched_off(good_machine):
    good_machine.setenv("HPCNAS_TOGETHER", "0")
    assert reason_against(GPU, "auto") == "$HPCNAS_TOGETHER=0 switches that off"


def test_what_was_asked_for_is_said_before_what_is_missing(good_machine):
    """Else somebody installs a compiler, and learns only then that it was the option."""
    good_machine.delenv("CC")
    good_machine.setattr(support.shutil, "which", lambda name: None)
    assert reason_against(GPU, "fp32") == "--precision fp32 was asked for"
    good_machine.setattr(support.importlib.util, "find_spec", lambda name: None)
    good_machine.setenv("HPCNAS_TOGETHER", "0")
    assert reason_against(GPU, "fp32") == "$HPCNAS_TOGETHER=0 switches that off"


def test_a_device_is_made_the_current_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext(device))
    for device, current in ((SECOND, SECOND), (torch.device("cpu"), None)):
        with on_device(device) as found:
            assert found == current


def test_blocks_that_torch_keeps_count_as_free(monkeypatch):
    """Else the second genotype of a worker would find the memory of the first one taken."""
    found = {"mem_get_info": (10, 100), "memory_reserved": 80, "memory_allocated": 5}
    for name, value in found.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert free_bytes(GPU) == 10 + 80 - 5


@pytest.mark.parametrize(("device", "lines"), [("cuda", 1), ("cpu", 0)])
def test_the_fallback_is_said_in_one_line_on_a_gpu_alone(good_machine, monkeypatch, caplog, device, lines):
    monkeypatch.setattr(RepeatsEngine, "__init__", lambda self, *arguments: None)
    recipe = RecipeConfig(precision="fp32")
    with caplog.at_level(logging.WARNING):
        assert isinstance(trained.make_engine(recipe, None, torch.device(device)), RepeatsEngine)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * lines


def test_what_a_failed_attempt_held_is_released_though_its_error_is_still_at_hand():
    held: list[weakref.ref[torch.Tensor]] = []

    def attempt() -> None:
        tensor = torch.zeros(1)
        held.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError("CUDA out of memory")

    try:
        attempt()
    except torch.OutOfMemoryError as error:
        assert held[0]() is not None
        release_memory(error)
        assert held[0]() is None


def test_a_skeleton_that_the_kernels_do_not_know_is_refused_with_its_reason():
    triton = pytest.importorskip("triton")
    assert triton
    from hpcnas.networks.blueprint import blueprint
    from hpcnas.networks.gpu.structure import Structure
    from hpcnas.networks.graph import network_graph
    from hpcnas.representation.presets import PUBLISHED

    assert Structure(network_graph(PUBLISHED, blueprint("small")), 10, 3).reason_against() == ""
    imagenet = Structure(network_graph(PUBLISHED, blueprint("imagenet")), 1000, 3)
    assert imagenet.reason_against() == "the stem is not one convolution of stride 1"
    prime = Structure(network_graph(PUBLISHED, blueprint("small", channels=67)), 10, 3)
    assert prime.reason_against() == "values of 268 channels cannot be cut into slices of 16 to 64"
    many = Structure(network_graph(PUBLISHED, blueprint("small", classes=200)), 200, 3)
    assert many.reason_against() == "there are 200 classes, and the kernels hold 128"


def test_a_batch_beyond_offsets_of_32_bits_is_refused_with_its_reason():
    """Offsets within a value are 32-bit numbers: batch x height x width x channels must stay below 2^31."""
    pytest.importorskip("triton")
    from hpcnas.networks.gpu.plans import PassPlan
    from hpcnas.representation.codec import genotype_to_json
    from hpcnas.representation.presets import PUBLISHED

    def reason(crop: int, image_px: int) -> str:
        sizes = {"channels": 16, "cells": 1, "classes": 10, "in_channels": 3, "batch": 256, "evaluation_batch": 500}
        plan = PassPlan(genotype_to_json(PUBLISHED), crop=crop, image_px=image_px, **sizes)
        return plan.reason_against(plan.structure())

    assert reason(crop=24, image_px=32) == reason(crop=362, image_px=256) == ""
    assert reason(crop=363, image_px=256) == "33,732,864 pixels of a batch are too many for offsets of 32 bits"
    assert reason(crop=24, image_px=260) == "33,800,000 pixels of a batch are too many for offsets of 32 bits"


def test_a_batch_of_more_chunks_than_a_launch_has_is_refused_with_its_reason():
    """CUDA's limit for the second axis of a grid; the launches of the largest batch that is let in keep it."""
    pytest.importorskip("triton")
    from hpcnas.networks.gpu.plans import PassPlan
    from hpcnas.representation.codec import genotype_to_json
    from tests.networks.gpu.material import tiny

    def plan(batch: int) -> PassPlan:
        sizes = {"channels": 64, "cells": 1, "classes": 10, "in_channels": 3, "crop": 8, "image_px": 8, "evaluation_batch": 1}
        return PassPlan(genotype_to_json(tiny("every_primitive")), batch=batch, **sizes)

    largest, larger = plan(65_535), plan(65_536)
    assert largest.reason_against(largest.structure()) == ""
    assert larger.reason_against(larger.structure()) == (
        "65,536 images of a batch are cut into 65,536 chunks, and a launch has 65,535"
    )
    most = [max(launch.grid[1] for launch in found.launches(runs=1)) for found in (largest, larger)]
    assert most == [65_535, 65_536]
