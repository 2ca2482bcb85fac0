"""The reference network: nested modules, plain and readable; it is the meaning of a genotype (paper section 4.1)."""

from torch import Tensor, nn

from hpcnas.networks.blueprint import Blueprint, Cell, Convolution, blueprint
from hpcnas.networks.cell import make_cell
from hpcnas.networks.operations import ConvBNReLU, SeparableConv
from hpcnas.representation.genotype import Genotype


class Network(nn.Module):
    """Stem, cells with separable convolutions between them, global average pooling, linear classifier.

    Accepts any spatial size. Softmax is left to the loss.
    """

    def __init__(self, genotype: Genotype, plan: Blueprint) -> None:
        super().__init__()
        self.blueprint = plan
        self.stem, self.cells, self.between = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width = 0
        for layer in plan.layers:
            if isinstance(layer, Convolution):
                self.stem.append(ConvBNReLU(layer.c_in, layer.c_out, 3, layer.stride))
                width = layer.c_out
            elif isinstance(layer, Cell):
                cell = make_cell(genotype, layer.channels)
                self.cells.append(cell)
                width = cell.width
            else:
                self.between.append(SeparableConv(width, layer.c_out, layer.stride))
                width = layer.c_out
        self.classifier = nn.Linear(width, plan.classes)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W), standardised, to logits (B, classes)."""
        x = images
        for layer in self.blueprint.layers:
            x = self.get_submodule(layer.name)(x)
        return self.classifier(x.mean(dim=(2, 3)))


def build_network(
    genotype: Genotype,
    model: str = "small",
    *,
    channels: int | None = None,
    cells: int | None = None,
    classes: int | None = None,
    in_channels: int = 3,
    tail: str = "none",
) -> Network:
    """Build the reference network.

    Dead parts of the genotype are left out. Weights are He-normal, drawn from torch's global generator.

    Args:
        model: small (the search's), cifar (the same at full size) or imagenet.
        channels: c0, the width of the first cell; None takes the paper's.
        cells: N, cells of a group (ImageNet's first group always has one); None takes the paper's.
        classes: width of the classifier; None is 10, or 1000 for ImageNet.
        in_channels: channels of an image.
        tail: the layer between the last cell and the pooling. `stride1` is a separable convolution of stride 1 with
            the cell's width. `stride2` has stride 2 and twice the width; `none` is no layer.
    Raises:
        GenotypeError: the cell's sink cannot be reached from its source.
        UsageError: an unknown model or tail, or a number below 1.
    """
    plan = blueprint(model, channels=channels, cells=cells, classes=classes, in_channels=in_channels, tail=tail)
    return Network(genotype, plan)


def _initialise(module: nn.Module) -> None:
    # He et al. 2015; fan_in of a depthwise convolution is its 9 taps.
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="linear")
        nn.init.zeros_(module.bias)
