"""The weights of R runs on the device, to and from state dicts of the reference network."""

from collections.abc import Mapping

import torch
from torch import Tensor

from hpcnas.networks.gpu.structure import Structure

_AFFINE, _RUNNING = ("norm.weight", "norm.bias"), ("norm.running_mean", "norm.running_var")


class EngineWeights:
    """Parameters, momenta, statistics and what is made from them, see `kernels` for the layout of each.

    Args:
        dtype: T, of values and of the weights that products read.
    """

    def __init__(self, structure: Structure, runs: int, device: torch.device, dtype: torch.dtype) -> None:
        self.structure, self.runs, self.device, self.dtype = structure, runs, device, dtype
        channels = structure.channels * runs

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        self.weights, self.momenta = zeros(runs, structure.size), zeros(runs, structure.size)
        self.shadow = zeros(runs, structure.size, dtype=dtype)
        self.affine, self.affine_momenta, self.running = zeros(channels * 2), zeros(channels * 2), zeros(channels * 2)
        self.sums = zeros(channels * 4, dtype=torch.int64)
        self.coef = zeros(channels * 6)
        self.counters = zeros(channels, dtype=torch.int32)

    def tensors(self) -> dict[str, Tensor]:
        """All of them by the names of the kernels' arguments."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def load(self, run: int, state: Mapping[str, Tensor]) -> None:
        """Take the weights of one run from a state dict of the reference; momenta are not touched."""
        structure, flat = self.structure, self._flat(state)
        self.weights[run] = flat.to(self.device)
        # Products read dense [edge][N][C] tiles: as columns of one [N][K] matrix they spilled registers (C = 64).
        for m, (row, C, N) in structure.packing.items():
            part = slice(structure.weight[m], structure.weight[m] + row * N)
            flat[part] = flat[part].view(N, row // C, C).transpose(0, 1).flatten()
        self.shadow[run] = flat.to(self.device, self.dtype)
        self._load_channels(self.affine, run, state, _AFFINE)
        self._load_channels(self.running, run, state, _RUNNING)

    def load_momenta(self, run: int, momenta: Mapping[str, Tensor]) -> None:
        """Take the momenta of one run, by the names of the weights."""
        self.momenta[run] = self._flat(momenta).to(self.device)
        self._load_channels(self.affine_momenta, run, momenta, _AFFINE)

    def store(self, run: int, state: Mapping[str, Tensor], momenta: bool = False) -> None:
        """Write the weights of one run, or their momenta, into the tensors of a state dict of the reference."""
        structure = self.structure
        flat = (self.momenta if momenta else self.weights)[run].cpu()
        for here, there in self._convolutions(flat, state):
            there.copy_(here)
        state["classifier.weight"].copy_(flat[structure.classifier : structure.bias].view(structure.classes, -1))
        state["classifier.bias"].copy_(flat[structure.bias : structure.bias + structure.classes])
        self._store_channels(self.affine_momenta if momenta else self.affine, run, state, _AFFINE)
        self._store_channels(self.running, run, state, _RUNNING)

    def _flat(self, state: Mapping[str, Tensor]) -> Tensor:
        """Convolutions and classifier of one run as they lie in `weights`, on the CPU."""
        structure = self.structure
        flat = torch.zeros(structure.size)
        for here, there in self._convolutions(flat, state):
            here.copy_(there)
        flat[structure.classifier : structure.bias] = state["classifier.weight"].flatten()
        flat[structure.bias : structure.bias + structure.classes] = state["classifier.bias"]
        return flat

    def _convolutions(self, flat: Tensor, state: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Each module's weights in `flat` with the same ones in the state dict, (channels out, in, 3 or 1, 3 or 1)."""
        pairs = []
        for m, (path, first) in enumerate(self.structure.modules):
            weight, at, size = state[f"{path}.conv.weight"], self.structure.weight[m], self.structure.weight_size[m]
            part = weight[first : first + size // weight[0].numel()]
            pairs.append((flat[at : at + size].view(part.shape), part))
        return pairs

    def _load_channels(self, where: Tensor, run: int, state: Mapping[str, Tensor], names: tuple[str, str]) -> None:
        flat = where.cpu()
        for here, there in self._pairs(flat, run, state, names):
            here.copy_(there)
        where.copy_(flat)

    def _store_channels(self, where: Tensor, run: int, state: Mapping[str, Tensor], names: tuple[str, str]) -> None:
        for here, there in self._pairs(where.cpu(), run, state, names):
            there.copy_(here)

    def _pairs(
        self, flat: Tensor, run: int, state: Mapping[str, Tensor], names: tuple[str, str]
    ) -> list[tuple[Tensor, Tensor]]:
        """Each value's channels in `flat` with the same ones in the state dict."""
        pairs = []
        for v, (m, channel) in self.structure.module.items():
            C, (path, first) = self.structure.widths[v], self.structure.modules[m]
            at = self.structure.channel[v] * self.runs * 2 + run * 2 * C
            for half, name in enumerate(names):
                start = at + half * C
                pairs.append((flat[start : start + C], state[f"{path}.{name}"][first + channel : first + channel + C]))
        return pairs
