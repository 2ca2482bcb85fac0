"""The numbers of the paper and of those it compares with: Tables 1 to 3 of Liu et al. 2018."""

from dataclasses import dataclass

from hpcnas.report.tables.formatting import Spread, TopErrors

PAPER = "Liu et al. 2018"
CIFAR_RUNS = 5  # section 4.1: mean and standard deviation of 5 trainings
CIFAR_PARAMETERS = 15_700_000  # c0 = 64
IMAGENET_PARAMETERS = 64_000_000


@dataclass(frozen=True, slots=True)
class PublishedSearch:
    """A row of Table 1.

    Attributes:
        space, search: as the paper names them; `random architecture` is one random genotype.
        genotypes: how many were evaluated.
        gpu_hours: one hour of a P100 per genotype (section 4.2); like
        wall_hours, on 200 GPUs, None where the paper does not say.
    """

    space: str
    search: str
    genotypes: int
    cifar: Spread
    imagenet: TopErrors
    gpu_hours: float | None = None
    wall_hours: float | None = None
    parameters: int | None = None


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A row of Table 2 (`cifar`) or Table 3 (`imagenet`)."""

    model: str
    cifar: Spread | None = None
    imagenet: TopErrors | None = None
    parameters: int | None = None


def _cifar(mean: float, std: float) -> Spread:
    return Spread(mean, std, CIFAR_RUNS)


TABLE1 = (
    PublishedSearch("flat", "random architecture", 1, _cifar(4.56, 0.11), TopErrors(21.4, 5.8)),
    PublishedSearch("flat", "random search", 200, _cifar(4.02, 0.11), TopErrors(20.8, 5.7)),
    PublishedSearch("flat", "evolution", 7000, _cifar(3.92, 0.06), TopErrors(20.6, 5.6)),
    PublishedSearch("flat-constrained", "evolution", 7000, _cifar(4.17, 0.08), TopErrors(21.2, 5.8)),
    PublishedSearch("hierarchical", "random architecture", 1, _cifar(4.21, 0.11), TopErrors(21.5, 5.8)),
    PublishedSearch("hierarchical", "random search", 200, _cifar(4.04, 0.2), TopErrors(20.4, 5.3), 200, 1),
    PublishedSearch("hierarchical", "random search", 7000, _cifar(3.91, 0.15), TopErrors(21.0, 5.5), 7000, 36),
    PublishedSearch("hierarchical", "evolution", 7000, _cifar(3.75, 0.12), TopErrors(20.3, 5.2), 7000, 36, CIFAR_PARAMETERS),
)

# One training each, as far as the paper says: no spread.
TABLE2 = (
    *(
        PublishedModel(model, Spread(error, None, 1))
        for model, error in (
            ("ResNet-1001 + pre-activation", 4.62),
            ("Wide ResNet-40-10 + dropout", 3.8),
            ("DenseNet (k=24)", 3.74),
            ("DenseNet-BC (k=40)", 3.46),
            ("MetaQNN", 6.92),
            ("NAS v3", 3.65),
            ("Block-QNN-A", 3.60),
            ("NASNet-A", 3.41),
            ("Evolving DNN", 7.3),
            ("Genetic CNN", 7.10),
            ("Large-scale Evolution", 5.4),
            ("SMASH", 4.03),
        )
    ),
    PublishedModel("Hierarchical, evolution, c0 = 64", _cifar(3.75, 0.12), parameters=CIFAR_PARAMETERS),
    PublishedModel("Hierarchical, evolution, c0 = 128", _cifar(3.63, 0.10)),
)

TABLE3 = (
    PublishedModel("Inception-v3", imagenet=TopErrors(21.2, 5.6)),
    PublishedModel("Xception", imagenet=TopErrors(21.0, 5.5)),
    PublishedModel("Inception-ResNet-v2", imagenet=TopErrors(19.9, 4.9), parameters=55_800_000),
    PublishedModel("NASNet-A", imagenet=TopErrors(19.2, 4.7), parameters=22_600_000),
    PublishedModel("Hierarchical, evolution, c0 = 64", imagenet=TopErrors(20.3, 5.2), parameters=IMAGENET_PARAMETERS),
)
