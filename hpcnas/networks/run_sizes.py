"""The sizes of the networks of a run's individuals, by its recipe and its data set."""

from dataclasses import dataclass, replace

from hpcnas.config import RecipeConfig


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes that a skeleton takes; None: the paper's for the model."""

    channels: int | None = None
    cells: int | None = None
    classes: int | None = None
    in_channels: int = 3
    image_px: int | None = None


def run_sizes(recipe: RecipeConfig | None, model: str) -> Sizes:
    """The sizes of an individual's network as the run trains it.

    The recipe's c0 and N are the small model's; full-size models take the paper's. ImageNet has classes of its own.

    Args:
        recipe: of the run; None for a genotype of no run.
    """
    if recipe is None or model == "imagenet":
        return Sizes()
    of_data = Sizes(classes=recipe.classes or None, in_channels=recipe.in_channels or 3, image_px=recipe.side_px or None)
    return replace(of_data, channels=recipe.channels, cells=recipe.cells) if model == "small" else of_data
