"""The model on slices that it is never trained on, beside interpolation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from napari_niiv.degradation import Degradation
from napari_niiv.device import training_precision
from napari_niiv.evaluation.baselines import interpolate_last
from napari_niiv.geometry import Box, Sampling, Span
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.inference import restore_box
from napari_niiv.training.data.held_out import EMPTY_DEVIATION
from napari_niiv.training.data.volumes import TrainingVolume

_MOST_CROPS, _EDGE = 8, 256
# edges of crops tried one after the other: smaller ones between holes
_EDGES = (_EDGE, _EDGE // 2, _EDGE // 4, _EDGE // 8)


@dataclass(frozen=True)
class _Crop:
    """A piece of a slice held out: where it is, and its sharp pixels with neighbours, (slices, y, x)."""

    volume: TrainingVolume
    anisotropy: float
    box: Box
    sharp: Tensor


class HeldOut:
    """Crops of the held-out slices, degraded along either lateral axis.

    Parameters
    ----------
    volumes : sequence of (TrainingVolume, float)
        Each with the factor by which its slices are degraded.
    degradation : Degradation
    neighbours : int
        Slices on either side that the models to be scored may see. Until `surround` is called, they are repetitions.
    device : torch.device
    pixels : int
        Edges of crops are multiples of it: whole cells.

    Attributes
    ----------
    linear, bicubic : float or None
        PSNR of interpolation in dB, as `score` tells that of a model.
    """

    def __init__(
        self,
        volumes: Sequence[tuple[TrainingVolume, float]],
        degradation: Degradation,
        neighbours: int,
        device: torch.device,
        pixels: int = 1,
    ) -> None:
        self._degradation, self._neighbours, self._device, self._pixels = degradation, neighbours, device, pixels
        each = max(1, _MOST_CROPS // max(1, sum(len(v.held_out) for v, _ in volumes)))
        crops = [c for volume, factor in volumes for c in self._crops(volume, factor, each)]
        # a blank crop says nothing: whatever it is restored by is right
        structured = [c for c in crops if float(c.sharp[0].std()) > EMPTY_DEVIATION]
        self._chosen = structured[:: max(1, math.ceil(len(structured) / _MOST_CROPS))]

        def interpolated(mode: Literal["linear", "bicubic"]) -> float | None:
            return self._score(lambda coarse, factor, *_: interpolate_last(coarse[:, neighbours], factor, mode))

        self.linear, self.bicubic = interpolated("linear"), interpolated("bicubic")

    def score(self, model: Niiv) -> float | None:
        """PSNR in dB, intensities 0 … 1, over all pixels of all crops and both axes; None where nothing is to be seen.

        Of a model that restores several slices at once, the slice held out takes each place among them in turn.
        """
        seen, own = model.architecture.slices_seen, model.architecture.slices

        def restore(coarse: Tensor, factor: float, at: Sampling, number: int) -> Tensor:
            place = number % own
            first = self._neighbours - place - model.context
            slices = coarse[:, first : first + seen].contiguous(memory_format=torch.channels_last)
            with training_precision(self._device):
                restored: Tensor = model(slices, factor, at)
            return restored[place]

        training = model.training
        model.eval()
        try:
            with torch.inference_mode():
                return self._score(restore)
        finally:
            model.train(training)

    def surround(self, model: Niiv) -> Iterator[float]:
        """Give the crops the neighbours that `model` infers, as thick as the measured slices.

        Yields
        ------
        float
            The part that is done, 0 … 1.
        """
        if not self._neighbours:
            return
        for number, crop in enumerate(self._chosen):
            with torch.inference_mode():
                self._chosen[number] = self._with_neighbours(crop, model)
            yield (number + 1) / len(self._chosen)

    def _with_neighbours(self, crop: _Crop, model: Niiv) -> _Crop:
        k, factor, volume = self._neighbours, crop.volume.anisotropy, crop.volume
        # fine slices around the held-out one, as far as the degradation reaches from its neighbours
        beyond = k + math.ceil(self._degradation.reach * factor) + 1
        axial = Sampling(-beyond / factor, 1 / factor, 2 * beyond + 1)
        box = crop.box.padded((math.ceil(beyond / factor) + 8, 8, 8), volume.shape)
        measured = volume.read(box).nan_to_num(volume.normalization.middle).to(self._device)
        axial = axial.relative_to(box.z.lo - crop.box.z.lo)
        fine = restore_box(
            model,
            measured,
            factor,
            axial,
            ("xz", "yz"),
            Box(
                axial.support(len(box.z)),
                crop.box.y.shifted(-box.y.lo),
                crop.box.x.shifted(-box.x.lo),
            ),
        )
        at = Sampling(beyond - k, 1, 2 * k + 1)
        thick = self._degradation.apply(fine.permute(1, 2, 0), factor, at).permute(2, 0, 1)
        # the same correction for all: they agree with what was measured
        return replace(crop, sharp=thick + (crop.sharp[k] - thick[k]))

    def _crops(self, volume: TrainingVolume, factor: float, each: int) -> list[_Crop]:
        """The crops with the most structure of each held-out slice."""
        for edge in _EDGES:
            if crops := self._crops_of_size(volume, factor, each, edge):
                return crops
        return []

    def _crops_of_size(self, volume: TrainingVolume, factor: float, each: int, edge: int) -> list[_Crop]:
        crops: list[_Crop] = []
        ys, xs = (_spans(size, edge, self._pixels) for size in volume.shape[1:])
        # not all of a huge slice is read
        step = max(1, math.isqrt(len(ys) * len(xs) // 64))
        for z in volume.held_out:
            candidates: list[tuple[float, Box, Tensor]] = []
            for y, x in itertools.product(ys[::step], xs[::step]):
                box = Box(Span(z, z + 1), y, x)
                values = volume.read(box)[0]
                if not values.isnan().any():
                    candidates.append((float(values.std()), box, values))
            candidates.sort(reverse=True, key=lambda c: c[0])
            for _, box, values in candidates[:each]:
                sharp = values.to(self._device).expand(2 * self._neighbours + 1, -1, -1)
                crops.append(_Crop(volume, factor, box, sharp))
        return crops

    def _score(self, restore: Callable[[Tensor, float, Sampling, int], Tensor]) -> float | None:
        if not self._chosen:
            return None
        error, count = 0.0, 0
        for number, crop in enumerate(self._chosen):
            for sharp in (crop.sharp, crop.sharp.transpose(1, 2)):
                coarse, positions, covered = self._degradation.training_pair(sharp[None], crop.anisotropy)
                restored = restore(coarse, crop.anisotropy, positions, number)
                target = sharp[self._neighbours, :, covered]
                error += float((restored.squeeze() - target).square().sum())
                count += target.numel()
        return 10 * math.log10(count / max(error, 1e-12))


def _spans(size: int, edge: int, multiple: int) -> list[Span]:
    """Crops of at most `edge` pixels along an axis, a multiple of `multiple`; none if the axis is too short."""
    edge = min(edge, size) // multiple * multiple
    if not edge:
        return []
    return [Span(first, first + edge) for first in range(0, size - edge + 1, edge)]
