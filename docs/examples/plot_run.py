"""Opens a run in pandas and plots the best fitness so far: `python plot_run.py RUN --out best.png`.

It only reads, so the search may still be running. It needs pandas: `pip install pandas`.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import hpcnas


def best_so_far(run: Path) -> pd.DataFrame:
    """The evaluated genotypes in the order of their evaluation, with the column `best`: the highest fitness up to each."""
    with hpcnas.Population.open(run) as population:
        order = [individual_id for individual_id, _ in population.evaluation_order()]
        frame = population.frame("evaluated")  # read last: a running search has all of `order` in it, and perhaps more
    frame = frame.loc[order]
    frame["best"] = frame["fitness"].cummax()
    return frame


def plot(frame: pd.DataFrame, out: Path) -> None:
    """Draw each genotype as a dot and the best so far as a line."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    places = range(1, len(frame) + 1)
    axes.plot(places, 100 * frame["fitness"], ".", color="0.6", label="a genotype")
    axes.step(places, 100 * frame["best"], where="post", label="best so far")
    axes.set(xlabel="genotypes evaluated", ylabel="fitness (%)")
    axes.legend()
    figure.savefig(out)
    plt.close(figure)


def main() -> None:
    """Print the five best genotypes and write the figure."""
    parser = argparse.ArgumentParser(description="Plots the best fitness so far of a run.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("best.png"))
    given = parser.parse_args()
    frame = best_so_far(given.run)
    print(frame.nlargest(5, "fitness")[["fitness", "std", "parameters", "parent"]])
    plot(frame, given.out)
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
