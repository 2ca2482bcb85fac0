"""How a step is captured; nothing is computed."""

import pytest
import torch

pytest.importorskip("triton")

from hpcnas.networks.gpu.steps import Steps
from tests.networks.gpu.imagined_cuda import ImaginedCuda
from tests.networks.gpu.material import meta_layout, tiny


def test_a_step_runs_once_is_then_captured_on_a_stream_of_its_device_and_from_then_on_replayed(monkeypatch):
    """Kernels are loaded by the first run, which a capture forbids; torch's own stream lies on another device, maybe."""
    cuda, done = ImaginedCuda(monkeypatch), list[object]()
    cuda.replayed = lambda: done.append("replayed")
    layout = meta_layout(tiny("smallest"), runs=2, batch=4, side=8)
    steps = Steps(layout, torch.empty(1, 2, 4, 4, dtype=torch.int32, device="meta"), [0.1])
    monkeypatch.setattr(steps, "launches", [lambda: done.append(cuda.at[1:])])
    steps.capture()
    (own,) = cuda.streams
    warmed_up, captured = done
    assert warmed_up == [own]
    assert captured[-2:] == ["capture", own]
    steps.run()
    assert done[2:] == ["replayed"]
