"""Compare the accuracy of plan and reference on real images: `python -m tests.training.accuracy --steps 500 --repeats 8`.

Each repeat is trained twice from the same seed, once as the plan, once as the network of nested modules. It takes
minutes, so it is no test: docs/performance.md has what it printed.
"""

import argparse
import math
import statistics
from unittest.mock import patch

import torch

from hpcnas.benchmarks.genotypes import load_genotypes
from hpcnas.config import RecipeConfig
from hpcnas.networks.skeletons import Network
from hpcnas.training.fitness.evaluators import load_evaluator

FIRST_SEED = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--genotype", default="sparse", help="a name of hpcnas/training/bench_genotypes.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    recipe = RecipeConfig(dataset="fashion-mnist", train_steps=given.steps, batch=64, repeats=given.repeats, channels=8)
    plan = measure("plan", recipe, given.genotype)
    with patch("hpcnas.training.fitness.repeats.PlannedNetwork", Network):
        reference = measure("reference", recipe, given.genotype)
    error = math.sqrt((statistics.variance(plan) + statistics.variance(reference)) / given.repeats)
    print(f"difference {statistics.mean(plan) - statistics.mean(reference):.2f}, standard error {error:.2f}")


def measure(name: str, recipe: RecipeConfig, genotype: str) -> list[float]:
    """Train all repeats; the accuracies in per cent."""
    evaluator = load_evaluator(recipe, device="cpu")
    seeds = {repeat: FIRST_SEED + repeat for repeat in range(recipe.repeats)}
    found = []
    for fitness in evaluator.evaluate(load_genotypes([genotype])[genotype], seeds, progress=lambda share: None):
        found.append(100 * fitness.accuracy)
        print(f"{name} {fitness.repeat}: {found[-1]:.2f} % in {fitness.seconds:.0f} s", flush=True)
    print(f"{name}: {statistics.mean(found):.2f} +- {statistics.stdev(found):.2f} %, n = {len(found)}", flush=True)
    return found


if __name__ == "__main__":
    main()
