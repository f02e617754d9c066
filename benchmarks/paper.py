"""The architecture of the niiv paper as its script runs it: EDSR, then an MLP for every output pixel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLICES = 15  # that its script gives the network at once


class Paper(nn.Module):
    """EDSR of 16 blocks of 64 features with zeros around, an MLP of 5 layers of 256, and a residual.

    Parameters
    ----------
    factor : int
        Output samples per voxel along z.
    """

    def __init__(self, factor: int, features: int = 64, blocks: int = 16, width: int = 256) -> None:
        super().__init__()
        self.factor = factor
        self.head, self.tail = nn.Conv2d(1, features, 3, padding=1), nn.Conv2d(features, features, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(features, features, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(features, features, 3, padding=1),
            )
            for _ in range(blocks)
        )
        layers: list[nn.Module] = [nn.Linear(features + 1 + 8, width)]
        for _ in range(3):
            layers += [nn.ReLU(inplace=True), nn.Linear(width, width)]
        self.mlp = nn.Sequential(*layers, nn.ReLU(inplace=True), nn.Linear(width, 1))

    def forward(self, slices: Tensor) -> Tensor:
        """Slices (B, lateral, z) to (B, lateral, n)."""
        x = slices[:, None]
        y = head = self.head(x)
        for block in self.blocks:
            y = y + block(y)
        latent = self.tail(y) + head
        batch, lateral, depth = slices.shape
        size = depth * self.factor
        lines, points = ((2 * torch.arange(n, device=x.device, dtype=x.dtype) + 1) / n - 1 for n in (lateral, size))
        grid = torch.stack(torch.meshgrid(points, lines, indexing="xy"), -1).expand(batch, -1, -1, -1)
        code, value = (F.grid_sample(v, grid, align_corners=False) for v in (latent, x))
        phases = [math.pi * 2**octave * (grid + 1) for octave in range(2)]
        inputs = torch.cat(
            [
                code.permute(0, 2, 3, 1),
                value.permute(0, 2, 3, 1),
                *(w(p) for p in phases for w in (torch.sin, torch.cos)),
            ],
            -1,
        )
        return value[:, 0] + self.mlp(inputs)[..., 0]

    @torch.inference_mode()
    def restore(self, voxels: Tensor) -> Tensor:
        """A volume, (z, y, x) to (n, y, x), from its xz slices."""
        slices = voxels.permute(1, 2, 0).to(self.head.weight.dtype)
        return torch.cat([self(batch.contiguous()) for batch in slices.split(SLICES)]).permute(2, 0, 1)
