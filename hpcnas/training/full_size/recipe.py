"""The recipe of the full-size models: the paper's numbers for CIFAR and ImageNet, and what follows from them."""

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from hpcnas.config import DATASETS
from hpcnas.errors import UsageError, check_one_of
from hpcnas.networks.blueprint import DEFAULT_CELLS, DEFAULT_CHANNELS, Tail
from hpcnas.option import Option, check_options, option, options_of, shown_default

FullModel = Literal["cifar", "imagenet"]
FullPrecision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class FullRecipe:
    """One way to train a full-size model; the defaults are the paper's for CIFAR.

    Attributes:
        dataset: a name of hpcnas.training.data.datasets, or imagenet for a folder in ImageNet's layout.
        data: where the data set lies; empty: the default folder of data sets.
        channels, cells: c0 and N.
        steps, batch: of the whole training, over all ranks.
        milestones: shares of `steps` from which the learning rate is a further tenth.
        crop: side in pixels of the square that is trained on; ImageNet also validates on it.
        runs: how many trainings with seeds of their own.
    Source: Liu et al. 2018, section 4.1.
    """

    model: FullModel = option("cifar", "The full-size network.")
    dataset: str = option("cifar10", f"{DATASETS}.", shown="the run's, else cifar10")
    image_px: int = option(
        0, "Side of the images; others are scaled.", shown="the run's, else the data set's", metavar="PX", least=0
    )
    data: str = option("", "Folder of the data set; for imagenet the one that holds train/ and val/.", metavar="DIR")
    channels: int = option(DEFAULT_CHANNELS["cifar"], "c0, the width of the first cell.", metavar="C", least=1)
    cells: int = option(DEFAULT_CELLS["cifar"], "N, cells of a group.", metavar="N", least=1)
    tail: Tail = option("none", "Convolution between last cell and pooling.")
    steps: int = option(80_000, "Steps; the learning rate drops at the same shares.", metavar="N", least=1)
    batch: int = option(256, "Images of a step, over all ranks.", metavar="N", least=1)
    learning_rate: float = option(0.1, "Learning rate at the start.", metavar="RATE", above=0)
    momentum: float = option(0.9, "Momentum of the gradients.", metavar="M", least=0, below=1)
    weight_decay: float = option(3e-4, "Decay of the weights.", metavar="W", least=0)
    milestones: tuple[float, ...] = option(  # 40K, 60K, 70K of 80K; 100K, 150K, 175K of 200K
        (0.5, 0.75, 0.875),
        "Shares of the steps at which the learning rate falls to a tenth.",
        metavar="SHARE,...",
        above=0,
        most=1,
        is_growing=True,
    )
    crop: int = option(24, "Side of the squares trained on, pixels.", metavar="PX", least=1)
    runs: int = option(5, "Trainings with seeds of their own, on one GPU together.", metavar="N", least=1)
    seed: int = option(0, "Of all runs.", metavar="N", least=0)
    precision: FullPrecision = option("auto", "Of the training.", shown="auto: bf16 on a GPU")
    sync_bn: bool = option(False, "Batch statistics over all ranks instead of each rank's own.")

    def __post_init__(self) -> None:
        check_options(self)
        if (self.model == "imagenet") != (self.dataset == "imagenet"):
            raise UsageError(
                f"--model {self.model} does not go with --dataset {self.dataset}; --model imagenet trains on --dataset "
                "imagenet (train/ and val/ below --data), --model cifar on all others"
            )
        if self.model == "imagenet" and self.image_px:
            raise UsageError(f"--image-px {self.image_px} does not go with --model imagenet; give --crop, its images' side")

    def batch_per_rank(self, world_size: int) -> int:
        """Images of one step that one rank trains on; the batch of the whole training stays what it is.

        Raises:
            UsageError: the batch cannot be divided evenly.
        """
        if self.batch % world_size:
            fitting = max(size for size in range(1, min(world_size, self.batch) + 1) if self.batch % size == 0)
            raise UsageError(
                f"--batch {self.batch} cannot be divided among {world_size} ranks; start {fitting} ranks, "
                f"or give a multiple of {world_size}, such as --batch {-(-self.batch // world_size) * world_size}"
            )
        return self.batch // world_size

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of `step`, counted from 0."""
        return self.learning_rate / 10.0 ** sum(step >= round(share * self.steps) for share in self.milestones)

    def run_seed(self, digest: str, run: int) -> int:
        """The seed of one run of one genotype, 63 bits."""
        content = f"final {self.seed} {digest} {self.model} {run}".encode()
        return int.from_bytes(hashlib.sha256(content).digest()[:8]) >> 1

    def settings(self, digest: str, run: int, precision: str) -> dict[str, Any]:
        """The settings that a checkpoint or a result of this training must have."""
        own = {name: value for name, value in asdict(self).items() if name not in ("data", "runs", "precision", "milestones")}
        if not self.image_px:  # in results of 0.1.0 it is no setting
            del own["image_px"]
        return {**own, "milestones": list(self.milestones), "precision": precision, "genotype": digest, "run": run}

    @property
    def folder_name(self) -> str:
        """Names the model in the run folder: cifar, imagenet, or with what differs from the paper's, as cifar-c128."""
        paper = PAPER[self.model]
        parts: list[str] = [self.model]
        if self.channels != paper.channels:
            parts.append(f"c{self.channels}")
        if self.cells != paper.cells:
            parts.append(f"n{self.cells}")
        if self.tail != paper.tail:
            parts.append(self.tail)
        if self.dataset != paper.dataset:
            parts.append("".join(letter if letter.isalnum() else "-" for letter in self.dataset))
        if self.image_px != paper.image_px:
            parts.append(f"{self.image_px}px")
        return "-".join(parts)


PAPER = {
    "cifar": FullRecipe(),
    "imagenet": FullRecipe(
        model="imagenet",
        dataset="imagenet",
        channels=DEFAULT_CHANNELS["imagenet"],
        cells=DEFAULT_CELLS["imagenet"],
        steps=200_000,
        batch=1024,
        weight_decay=1e-4,
        crop=299,
        runs=1,
    ),
}


def full_recipe(model: str, **changes: Any) -> FullRecipe:
    """The paper's recipe for `model` with everything in `changes` that is not None laid over it.

    Raises:
        UsageError: an unknown model or a value out of range.
    """
    check_one_of("--model", model, PAPER)
    return replace(PAPER[model], **{name: value for name, value in changes.items() if value is not None})


def recipe_options() -> list[Option]:
    """The options of FullRecipe; the help shows the default of ImageNet too where it is another one."""
    found = []
    for one in options_of(FullRecipe):
        cifar, imagenet = (shown_default(getattr(PAPER[model], one.field)) for model in ("cifar", "imagenet"))
        is_own = one.shown is None and one.name != "model" and cifar != imagenet
        found.append(replace(one, shown=f"{cifar}, imagenet {imagenet}") if is_own else one)
    return found
