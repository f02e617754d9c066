"""The volumes of a training: each 3-D index by itself, normalised, read box by box, with slices held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_niiv.errors import TrainingError, VolumeError
from napari_niiv.geometry import Box, Shape, three
from napari_niiv.noise import noise_of
from napari_niiv.normalization import Normalization
from napari_niiv.sections.repair import bridged
from napari_niiv.training.data.held_out import held_out_slices
from napari_niiv.volume import Volume

# of the T and C axes of one volume
MOST_INDICES = 16


@dataclass(frozen=True)
class TrainingVolume:
    """A 3-D volume to learn from.

    Attributes
    ----------
    volume : Volume
    normalization : Normalization
    held_out : tuple of int
        Slices that are for validation only.
    noise : float
        Standard deviation of the white noise of its xy slices, as a share of the normalised range.
    """

    volume: Volume
    normalization: Normalization
    held_out: tuple[int, ...]
    noise: float = 0.0

    @property
    def name(self) -> str:
        """The volume's name."""
        return self.volume.name

    @property
    def bridged(self) -> tuple[int, ...]:
        """Slices that were not measured but interpolated: a network would learn their blur."""
        return () if self.volume.repairs is None else self.volume.repairs[()].bridged

    @property
    def shape(self) -> Shape:
        """Voxels along z, y, x."""
        return three(self.volume.shape)

    @property
    def anisotropy(self) -> float:
        """Axial over lateral voxel size."""
        return max(self.volume.anisotropy, 1.0)

    def read(self, box: Box) -> Tensor:
        """Normalised voxels of a box; those that hold no measurement are NaN.

        Raises
        ------
        VolumeError
            If they cannot be read.
        """
        margin = self.normalization.empty.margin
        wide = box.padded((0, margin, margin), self.shape)
        read, inside = self.volume.read_raw(*wide.slices), box.slices_in(wide)
        with np.errstate(invalid="ignore", over="ignore"):
            values = self.normalization.apply(read[inside])
        if (empty := self.normalization.empty.mask(read)) is not None:
            values[empty[inside]] = np.nan
        return torch.from_numpy(values)


def training_volumes(volumes: Sequence[Volume]) -> tuple[list[TrainingVolume], list[str]]:
    """What can be learnt from, and sentences on what cannot.

    Parameters
    ----------
    volumes : sequence of Volume
        Every index of their T and C axes counts by itself, up to 16 of each volume, evenly spread. Blank slices are
        bridged, unless they come from `repair_sections`.

    Raises
    ------
    TrainingError
        If there is no volume, or one has fewer than three slices.
    VolumeError
        If one cannot be read, or there is nothing but constant ones.
    """
    if not volumes:
        raise TrainingError("Give at least one volume to train on.")
    usable: list[TrainingVolume] = []
    notices: list[str] = []
    refusal: VolumeError | None = None
    for volume in map(bridged, volumes):
        if volume.repairs:
            notices.append(f"{volume.name}: {volume.repairs.words}.")
        leading = list(np.ndindex(volume.shape[:-3]))
        chosen = np.unique(np.linspace(0, len(leading) - 1, min(len(leading), MOST_INDICES)).round().astype(int))
        for index in (leading[i] for i in chosen):
            part = volume.at(*index)
            try:
                normalization = Normalization.of(part)
                noise = noise_of(part, normalization.empty) / (normalization.high - normalization.low)
                usable.append(TrainingVolume(part, normalization, held_out_slices(part, normalization), noise))
                if words := normalization.empty.words:
                    notices.append(f"{volume.name}: {words}.")
            except VolumeError as error:
                refusal = error
                notices.append(f"Not trained on index {index} of {volume.name!r}: {error}" if index else str(error))
    notices = list(dict.fromkeys(notices))  # of many times, the same once
    if not usable:
        assert refusal is not None
        raise refusal
    return usable, notices
