"""Decoders: read a latent grid at any position along the axial axis, on its own lateral pixels.

An output never depends on where a tile begins: two add a residual to the linear interpolation and use coordinates
relative to the latent cell; the one of the paper's code is told where the piece lies in the whole slice.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from napari_niiv.geometry import Sampling
from napari_niiv.resampling import first_taken, resample

# points given to the reference decoder's MLP at once, to bound memory
_POINTS = {"cuda": 1 << 21, "mps": 1 << 19, "cpu": 1 << 17}


def cell_centres(first: int, end: int, size: int) -> Tensor:
    """Coordinates of the cells ``first … end - 1`` of an axis of `size`, whose extent is -1 … 1; shape (n,)."""
    return ((2 * torch.arange(first, end, dtype=torch.float64) + 1) / size - 1).float()


@dataclass(frozen=True, eq=False)
class Frame:
    """Where a piece of axial slices lies in the whole slices; only the reference decoder asks.

    Attributes
    ----------
    first, size : int
        Axial voxel at which the piece begins, and voxels of the whole axial axis.
    lateral : Tensor, shape (B or 1, lateral)
        Coordinates of the piece's lateral pixels in the whole, as from `cell_centres`.
    """

    first: int
    size: int
    lateral: Tensor

    @classmethod
    def whole(cls, lateral: int, axial: int) -> Frame:
        """The frame of slices that are whole."""
        return cls(0, axial, cell_centres(0, lateral, lateral)[None])


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
        """Intensities at the axial positions: linear interpolation plus a residual.

        Parameters
        ----------
        latent : Tensor, shape (B, K, lateral, axial)
        linear : Tensor, shape (B, lateral, n)
            Linear interpolation of the slice at the same positions.
        axial : Sampling
            n positions in voxels of the latent grid.
        finest : float
            Pitch, in voxels, of the detail that training taught. Samples that lie closer were never told apart and
            would show as stripes under a magnifying glass, so they are averaged over it.

        Returns
        -------
        Tensor, shape (B, lateral, n)
        """
        samples, positions, reach = latent.permute(0, 2, 3, 1), axial.refined(self.samples), finest * self.samples
        size = samples.shape[2] * self.samples
        if positions.count == size and first_taken(size, positions, reach) == 0:
            # in one kernel, whatever the type and order of the latent grid
            together: Tensor = linear.unflatten(2, (-1, self.samples)) + samples
            return together.flatten(2)
        return linear + resample(samples.flatten(2).float(), positions, reach)


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
        self.mlp = _mlp(latent_channels + 2 * bands + 2, width, layers)

    def forward(self, latent: Tensor, linear: Tensor, axial: Sampling, finest: float) -> Tensor:
        """As `SubvoxelDecoder.forward`."""
        code = resample(latent.float(), axial).permute(0, 2, 3, 1)
        coordinate = _encoded(axial, self.bands, str(latent.device)).expand(*code.shape[:-1], -1)
        inputs = torch.cat([code, coordinate, linear.float()[..., None]], -1)
        dtype = cast(nn.Linear, self.mlp[0]).weight.dtype
        return linear + cast(Tensor, self.mlp(inputs.to(dtype))).float()[..., 0]


class ReferenceDecoder(nn.Module):
    """The MLP of the paper's code, fed with absolute coordinates; adds no residual to the interpolation.

    Code, intensity and the coordinates of the latent cells are interpolated as if zeros lay beyond the ends of the
    axial axis, where they therefore fade. The two coordinates, lateral and axial, are given by their waves alone.

    Parameters
    ----------
    latent_channels : int
        Length of a latent code.
    width, layers : int
        Hidden width and number of linear layers.
    bands : int
        Octaves of the frequency encoding of the coordinates.
    """

    def __init__(self, latent_channels: int, width: int, layers: int, bands: int) -> None:
        super().__init__()
        self.latent_channels, self.bands = latent_channels, bands
        self.mlp = _mlp(latent_channels + 1 + 4 * bands, width, layers)

    def forward(self, latent: Tensor, linear: Tensor, axial: Sampling, frame: Frame) -> Tensor:
        """Intensities at the axial positions.

        Parameters
        ----------
        latent : Tensor, shape (B, C, lateral, axial)
        linear : Tensor, shape (B, lateral, n)
            Linear interpolation of the slice at the same positions.
        axial : Sampling
            n positions in voxels of the latent grid.
        frame : Frame
            Where the latent grid lies in the whole slice.

        Returns
        -------
        Tensor, shape (B, lateral, n), in 0 … 1
        """
        device = latent.device
        where = frame.first + axial.start + axial.step * torch.arange(axial.count, dtype=torch.float64)
        # interpolation beside zeros is interpolation beside replicas, times this
        fade = torch.minimum(where + 1, frame.size - where).clamp(0, 1)
        along = ((2 * where.clamp(0, frame.size - 1) + 1) / frame.size - 1) * fade
        fade, along = fade.float().to(device), along.float().to(device)
        across = frame.lateral.to(device)[..., None] * fade
        lines = max(1, _POINTS[device.type] // (len(latent) * axial.count))
        parts = []
        for first in range(0, latent.shape[2], lines):
            part = slice(first, first + lines)
            code = (resample(latent[:, :, part].float(), axial) * fade).permute(0, 2, 3, 1)
            inputs = [code, (linear[:, part] * fade)[..., None]]
            for coordinate in (across[:, part], along):
                inputs.append(self._waves(coordinate).expand(*code.shape[:-1], -1))
            parts.append(cast(Tensor, self.mlp(torch.cat(inputs, -1)))[..., 0])
        return torch.cat(parts, 1).clamp(0, 1)

    def _waves(self, coordinate: Tensor) -> Tensor:
        """Sine and cosine in turn, octave by octave: shape (...) to (..., 2 · bands)."""
        octaves = 2.0 ** torch.arange(self.bands, dtype=coordinate.dtype, device=coordinate.device)
        phase = math.pi * (coordinate[..., None] + 1) * octaves
        return torch.stack([phase.sin(), phase.cos()], -1).flatten(-2)


def _mlp(inputs: int, width: int, layers: int) -> nn.Sequential:
    hidden: list[nn.Module] = []
    for i, o in pairwise([inputs] + [width] * (layers - 1)):
        hidden += [nn.Linear(i, o), nn.ReLU(inplace=True)]
    return nn.Sequential(*hidden, nn.Linear(width, 1))


@functools.lru_cache(maxsize=64)
def _encoded(axial: Sampling, bands: int, device: str) -> Tensor:
    """Encoded coordinates within the cells, shape (n, 2 · bands + 1); kept, as CUDA graphs want it."""
    where = axial.start + axial.step * torch.arange(axial.count, dtype=torch.float64)
    # -½ … ½ within the cell; just below an edge counts as on it, lest rounding decide
    inside = where - (where + 0.5 + 1e-6).floor()
    waves = [inside]
    for band in range(bands):
        waves += [torch.sin(2**band * 2 * math.pi * inside), torch.cos(2**band * 2 * math.pi * inside)]
    with torch.inference_mode(False):
        return torch.stack(waves, -1).float().to(device)
