"""The guard of chance starts each test with the same generators."""

import random

import numpy
import pytest
import torch

DRAWN: set[tuple[float, float, float]] = set()


@pytest.mark.xdist_group("chance")
@pytest.mark.parametrize("turn", [0, 1])
def test_the_next_test_draws_the_same(turn: int) -> None:
    DRAWN.add((random.random(), float(numpy.random.random()), float(torch.rand(()))))
    assert len(DRAWN) == 1, turn
