"""Decoders: read a latent grid at any position along the axial axis.

Both answer with a residual over linear interpolation, on the lateral pixels of the latent grid, and use coordinates
relative to the latent cell, so an output never depends on where a tile begins.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from napari_niiv.geometry import Sampling
from napari_niiv.resampling import resample


class SubvoxelDecoder(nn.Module):
    """Read each latent code as K samples along its voxel, then resample to the pitch asked for.

    Parameters
    ----------
    samples : int
        K, samples per voxel along z; also the channels of the latent grid.
    """

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.latent_channels = samples

    def forward(self, latent: Tensor, linear: Tensor, axial: Sampling, finest: float) -> Tensor:
        """Residual at the axial positions.

        Parameters
        ----------
        latent : Tensor, shape (B, K, lateral, axial)
        linear : Tensor, shape (B, lateral, n)
            Linear interpolation of the slice at the same positions (not used by this decoder).
        axial : Sampling
            n positions in voxels of the latent grid.
        finest : float
            Pitch, in voxels, of the detail that training taught. Samples that lie closer were never told apart and
            would show as stripes under a magnifying glass, so they are averaged over it.

        Returns
        -------
        Tensor, shape (B, lateral, n)
        """
        samples = latent.permute(0, 2, 3, 1).flatten(2)
        return resample(samples.float(), axial.refined(self.samples), finest * self.samples)


class ImplicitDecoder(nn.Module):
    """The niiv paper's MLP, fed with the interpolated code, the encoded coordinate and the interpolated intensity.

    Parameters
    ----------
    latent_channels : int
        Length of a latent code.
    width, layers : int
        Hidden width and number of linear layers (paper: 256 and 5).
    bands : int
        Octaves of the frequency encoding of the coordinate (paper: 2).
    """

    def __init__(self, latent_channels: int = 64, width: int = 256, layers: int = 5, bands: int = 2) -> None:
        super().__init__()
        self.latent_channels, self.bands = latent_channels, bands
        widths = [latent_channels + 2 * bands + 2] + [width] * (layers - 1)
        hidden: list[nn.Module] = []
        for i, o in pairwise(widths):
            hidden += [nn.Linear(i, o), nn.ReLU(inplace=True)]
        self.mlp = nn.Sequential(*hidden, nn.Linear(width, 1))

    def forward(self, latent: Tensor, linear: Tensor, axial: Sampling, finest: float) -> Tensor:
        """Residual at the axial positions; shapes as in `SubvoxelDecoder.forward`."""
        code = resample(latent.float(), axial).permute(0, 2, 3, 1)
        where = axial.start + axial.step * torch.arange(axial.count, dtype=torch.float64)
        # -½ … ½ within the cell; just below an edge counts as on it, lest rounding decide
        inside = (where - (where + 0.5 + 1e-6).floor()).float().to(latent.device)
        waves = [inside]
        for band in range(self.bands):
            waves += [torch.sin(2**band * 2 * math.pi * inside), torch.cos(2**band * 2 * math.pi * inside)]
        coordinate = torch.stack(waves, -1).expand(*code.shape[:-1], -1)
        inputs = torch.cat([code, coordinate, linear.float()[..., None]], -1)
        dtype = cast(nn.Linear, self.mlp[0]).weight.dtype
        return cast(Tensor, self.mlp(inputs.to(dtype))).float()[..., 0]
