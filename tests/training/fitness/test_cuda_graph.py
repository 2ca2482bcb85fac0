"""What a captured training step reads, and what its capture leaves; torch's part is imagined."""

import logging
from types import SimpleNamespace

import torch
from torch import Tensor

from hpcnas.training.fitness.cuda_graph import capture_step
from tests.networks.gpu.imagined_cuda import ImaginedCuda


class Step:
    """A training step that moves all that it can move, and notes which batch it reads."""

    def __init__(self) -> None:
        self.network = torch.nn.BatchNorm1d(2)
        self.momenta = [torch.zeros_like(weight) for weight in self.network.parameters()]
        # torch's own loads its compiler at the first step, for seconds.
        states = [{"momentum_buffer": momentum} for momentum in self.momenta]
        self.optimizer = SimpleNamespace(state=dict(zip(self.network.parameters(), states, strict=True)))
        self.choice = torch.zeros(())
        self.read: list[Tensor] = []

    def __call__(self, choice: Tensor) -> Tensor:
        self.choice = choice
        self.again()
        return torch.zeros(())

    def again(self) -> None:
        self.read.append(self.choice.clone())
        self.network(torch.rand(3, 2))  # running statistics
        for tensor in (*self.network.parameters(), *self.momenta):
            tensor.detach().add_(1)


def test_a_capture_leaves_no_trace_and_each_replay_reads_its_own_batch(monkeypatch):
    step, cuda = Step(), ImaginedCuda(monkeypatch)
    cuda.replayed = step.again
    before = {name: tensor.clone() for name, tensor in step.network.state_dict().items()}
    replay = capture_step(step, torch.full((4, 2), 7))
    assert all(torch.equal(tensor, before[name]) for name, tensor in step.network.state_dict().items())
    assert not any(momentum.any() for momentum in step.momenta)
    for number in (8, 9):
        replay(torch.full((4, 2), number))
    assert [int(choice[0, 0]) for choice in step.read[-3:]] == [7, 8, 9]


def test_a_step_is_captured_on_a_stream_of_the_current_device(monkeypatch):
    """That torch takes for all captures lies on the device of the first."""
    step, cuda = Step(), ImaginedCuda(monkeypatch)
    seen: list[list[object]] = []
    monkeypatch.setattr(Step, "again", lambda self: seen.append(cuda.at[1:]))
    capture_step(step, torch.zeros(4, 2))
    (own,) = cuda.streams
    assert seen[0] == [own]
    assert seen[-1][-2:] == ["capture", own]


def test_a_step_that_cannot_be_captured_is_given_back_with_a_line(monkeypatch, caplog):
    step, cuda = Step(), ImaginedCuda(monkeypatch)
    cuda.fault = "operation not permitted when stream is capturing\nmore"
    with caplog.at_level(logging.WARNING):
        assert capture_step(step, torch.zeros(4, 2)) is step
    assert "(operation not permitted when stream is capturing): it runs operator by operator" in caplog.text
