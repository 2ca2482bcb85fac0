"""A fitness without training: how differently an untrained network answers to different images.

Start a search with it from the folder that holds this file:

    hpcnas head --preset smoke --cluster local --fitness untrained:score --run runs/untrained

It takes a second per genotype. Whether it says anything about trained accuracy is for you to measure.
"""

from collections.abc import Callable

import torch

import hpcnas

IMAGES = 32


def score(genotype: hpcnas.Genotype, *, repeat: int, seed: int, progress: Callable[[float], None]) -> float:
    """One minus the mean similarity of the answers to random images.

    Args:
        repeat: which of the repeats this is, from 0; unused, since each has its own seed.
        seed: fixes weights and images.
        progress: called with the share that is done.
    Returns:
        A number from 0 (all answers point the same way) to 1 (no two are alike).
    """
    torch.manual_seed(seed)
    network = hpcnas.build_network(genotype, "small", channels=4)
    progress(0.5)
    with torch.no_grad():
        answers = network(torch.randn(IMAGES, 3, 32, 32))
    directions = torch.nn.functional.normalize(answers, dim=1)
    similarity = (directions @ directions.T).abs()
    others = similarity.sum() - similarity.diagonal().sum()
    return min(1.0, max(0.0, float(1 - others / (IMAGES * (IMAGES - 1)))))
