"""Fitness by real training: the data set once, then one genotype after the other."""

from collections.abc import Iterator, Mapping

from hpcnas.config import RecipeConfig
from hpcnas.errors import UnfitHostError, UsageError
from hpcnas.records import Fitness
from hpcnas.representation.genotype import Genotype
from hpcnas.training.data.datasets import load_dataset
from hpcnas.training.fitness.engine import choose_device, make_engine
from hpcnas.training.fitness.evaluator import Progress
from hpcnas.training.visible_gpu import explain_missing_gpu


class TrainedEvaluator:
    """Trains genotypes by the recipe's data set and schedule (paper section 4.1).

    Raises:
        DataError: the data set is missing or damaged.
        UsageError: the crop is larger than the images, or the device is not there.
        UnfitHostError: this process was given a GPU, none was asked for by name, and torch sees none.
    """

    def __init__(self, recipe: RecipeConfig, *, device: str = "auto", is_gpu_optional: bool = False) -> None:
        missing = None if is_gpu_optional or device != "auto" else explain_missing_gpu()
        if missing is not None:
            raise UnfitHostError(missing)
        self.recipe = recipe
        self.device = choose_device(device)
        self.data = load_dataset(recipe.dataset, recipe.data, split_seed=recipe.split_seed, fingerprint=recipe.fingerprint)
        if recipe.crop > self.data.image_px:
            raise UsageError(f"--crop {recipe.crop} is larger than the {self.data.image_px} px of {recipe.dataset}'s images")
        if recipe.batch > len(self.data.train.labels):
            raise UsageError(
                f"--batch {recipe.batch} is larger than the {len(self.data.train.labels)} training images of {recipe.dataset}"
            )
        self.engine = make_engine(recipe, self.data, self.device)

    @property
    def at_once(self) -> int:
        """See `Evaluator`."""
        return self.engine.at_once

    def evaluate(self, genotype: Genotype, seeds: Mapping[int, int], *, progress: Progress) -> Iterator[Fitness]:
        """See `Evaluator.evaluate`."""
        return self.engine.train(genotype, seeds, progress=progress)
