"""What `hpcnas doctor` makes of a node's answer."""

import torch

from hpcnas.cluster.doctor import Level
from hpcnas.cluster.slurm.probe import _judge_devices, engine
from hpcnas.config import ClusterConfig

ANSWER: dict[str, object] = {"node": "n1", "devices": ["NVIDIA H200"], "cuda_visible": "0"}


def test_the_engine_that_would_run_stands_beside_the_gpus():
    told = "repeats would be trained one after the other: Triton is not installed"
    finding = _judge_devices(ANSWER | {"engine": told}, ClusterConfig(gpus_per_worker=1))
    assert finding.level is Level.OK
    assert finding.text == f"torch sees NVIDIA H200 on n1; {told}"


def test_a_node_says_which_engine_would_run_and_why(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert engine("auto") == "repeats would be trained one after the other on the CPU: torch sees no GPU"
