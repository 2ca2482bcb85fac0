"""The numbers that decide the variants of a training and its evaluation, as a value that goes to other processes."""

import json
from dataclasses import asdict, dataclass

import torch

from hpcnas.networks.blueprint import blueprint
from hpcnas.networks.gpu.launch import Launch
from hpcnas.networks.gpu.layout import Descent, ImageBytes, Layout
from hpcnas.networks.gpu.narrow import WIDEST
from hpcnas.networks.gpu.shapes import shape_of
from hpcnas.networks.gpu.steps import Steps
from hpcnas.networks.gpu.structure import Structure
from hpcnas.networks.gpu.weights import EngineWeights
from hpcnas.networks.graph import network_graph
from hpcnas.representation.codec import genotype_from_json

_META = torch.device("meta")
_MOST_NUMBERS = 2**31 - 1  # of one value in one run: the kernels count them in 32 bits
_MOST_CHUNKS = 65_535  # of a launch: CUDA's limit for the second axis of a grid


@dataclass(frozen=True, slots=True)
class PassPlan:
    """A genotype with all sizes.

    Attributes:
        genotype: as JSON, see `representation.codec`.
        batch, crop: of a training step; `image_px` is the side of the data set's images and of an evaluation's.
        evaluation_batch: 0 where the kernels only train.
        model, tail: of the skeleton, see `blueprint`.
        dtype: bfloat16 or float32.
    """

    genotype: str
    channels: int
    cells: int
    classes: int
    in_channels: int
    batch: int
    crop: int
    image_px: int
    evaluation_batch: int
    dtype: str = "bfloat16"
    model: str = "small"
    tail: str = "none"

    @classmethod
    def from_json(cls, text: str) -> "PassPlan":
        """The plan that `to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """As text for another process."""
        return json.dumps(asdict(self))

    def structure(self) -> Structure:
        """The network.

        Raises:
            GenotypeError: the cell's sink cannot be reached.
        """
        sizes = {"channels": self.channels, "cells": self.cells, "classes": self.classes, "in_channels": self.in_channels}
        plan = blueprint(self.model, **sizes, tail=self.tail)
        return Structure(network_graph(genotype_from_json(self.genotype), plan), self.classes, self.in_channels)

    def reason_against(self, structure: Structure) -> str:
        """Why the kernels cannot run this network at these sizes; "" if they can."""
        pixels = max(self.batch * self.crop**2, self.evaluation_batch * self.image_px**2)
        if pixels * WIDEST > _MOST_NUMBERS:
            return f"{pixels:,} pixels of a batch are too many for offsets of 32 bits"
        if self._most_chunks > _MOST_CHUNKS:
            return (
                f"{self.batch:,} images of a batch are cut into {self._most_chunks:,} chunks, and a launch has {_MOST_CHUNKS:,}"
            )
        return structure.reason_against()

    @property
    def _most_chunks(self) -> int:
        """Of the launches that have most: a depthwise backward pass and a product, of the widest values."""
        columns, product = shape_of("depthwise_backward", WIDEST), shape_of("product", WIDEST)
        pairs = self.batch * -(-self.crop // 2)
        pixels = max(self.batch * self.crop**2, self.evaluation_batch * self.image_px**2)
        return max(-(-pairs // columns.block), -(-pixels // (product.block * product.tiles)))

    def layouts(self, runs: int, structure: Structure | None = None) -> list[Layout]:
        """Training and evaluation, if there is one, without memory: their sizes are known before anything is allocated."""
        weights = EngineWeights(structure or self.structure(), runs, _META, getattr(torch, self.dtype))
        images = torch.empty(1, self.image_px, self.image_px, self.in_channels, dtype=torch.uint8, device=_META)
        vector = torch.empty(self.in_channels, device=_META)
        data = ImageBytes(images, torch.empty(1, dtype=torch.int64, device=_META), vector, vector)
        found = [Layout(weights, self.batch, self.crop, data, Descent(0.9, 3e-4))]
        if self.evaluation_batch:
            found.append(Layout(weights, self.evaluation_batch, self.image_px, data, None))
        return found

    def launches(self, runs: int = 4) -> list[Launch]:
        """All launches of a training step and an evaluation."""
        training, *evaluations = self.layouts(runs)
        choices = torch.empty(1, runs, 4, self.batch, dtype=torch.int32, device=_META)
        evaluating = [launch for layout in evaluations for launch in layout.launches]
        return Steps(training, choices, [0.0]).launches + evaluating

    def memory_bytes(self, runs: int, steps: int) -> int:
        """The bytes that a training of `runs` repeats needs on the device, choices of all steps included, data set excluded."""
        layouts = self.layouts(runs)
        weights = sum(tensor.nbytes for tensor in layouts[0].weights.tensors().values())
        choices = 4 * runs * 4 * self.batch * steps
        return 2 * weights + choices + max(layout.memory_bytes for layout in layouts)  # a capture keeps the weights twice
