"""The model on slices that it is never trained on, beside interpolation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_niiv import geometry
from napari_niiv.degradation import Degradation
from napari_niiv.device import training_precision
from napari_niiv.errors import TrainingError
from napari_niiv.evaluation.baselines import interpolate_last
from napari_niiv.geometry import Sampling, Span
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.inference import restore_box
from napari_niiv.training.data.pool import FLAT
from napari_niiv.training.data.volumes import Box, TrainingVolume

_MOST_CROPS, _EDGE = 8, 256


@dataclass(frozen=True)
class _Crop:
    """A piece of a slice held out: where it is, and its sharp pixels with neighbours, (2k+1, y, x)."""

    subject: TrainingVolume
    anisotropy: float
    box: Box
    sharp: Tensor


class HeldOut:
    """Crops of the held-out slices, degraded along either lateral axis.

    Parameters
    ----------
    subjects : sequence of (TrainingVolume, float)
        Each with the factor to judge by.
    degradation : Degradation
    context : int
        k of the models that will be scored. Until `surround` is called, the neighbours are repetitions.
    device : torch.device

    Raises
    ------
    TrainingError
        If no crop is free of holes.
    """

    def __init__(
        self,
        subjects: Sequence[tuple[TrainingVolume, float]],
        degradation: Degradation,
        context: int,
        device: torch.device,
    ) -> None:
        self._degradation, self._context, self._device = degradation, context, device
        each = max(1, _MOST_CROPS // max(1, sum(len(s.held_out) for s, _ in subjects)))
        crops = [c for subject, factor in subjects for c in self._crops(subject, factor, each)]
        if not crops:
            raise TrainingError(
                "No part of the slices held out for validation is free of NaN; crop the volumes to where they have "
                "data."
            )
        judging = [c for c in crops if float(c.sharp[0].std()) > FLAT] or crops
        self._kept = judging[:: math.ceil(len(judging) / _MOST_CROPS)]
        k = context
        self.linear = self._score(lambda coarse, factor, _: interpolate_last(coarse[:, k], factor, "linear"))
        self.bicubic = self._score(
            lambda coarse, factor, _: interpolate_last(coarse[:, k], factor, "bicubic")
        )

    def score(self, model: Niiv) -> float:
        """PSNR in dB, intensities 0 … 1, over all pixels of all crops and both axes."""
        k, own = self._context, model.context

        def restore(coarse: Tensor, factor: float, at: Sampling) -> Tensor:
            slices = coarse[:, k - own : k + own + 1].contiguous(memory_format=torch.channels_last)
            with training_precision(self._device):
                restored: Tensor = model(slices, factor, at)
            return restored

        training = model.training
        model.eval()
        try:
            with torch.inference_mode():
                return self._score(restore)
        finally:
            model.train(training)

    def surround(self, model: Niiv) -> None:
        """Give the crops the neighbours that `model` infers, as thick as the measured slices."""
        if not self._context:
            return
        with torch.inference_mode():
            self._kept = [self._with_neighbours(crop, model) for crop in self._kept]

    def _with_neighbours(self, crop: _Crop, model: Niiv) -> _Crop:
        k, factor, volume = self._context, crop.subject.anisotropy, crop.subject
        # fine slices around the held-out one, as far as the degradation reaches from its neighbours
        beyond = k + math.ceil(self._degradation.reach * factor) + 1
        axial = Sampling(-beyond / factor, 1 / factor, 2 * beyond + 1)
        around = (
            Span(crop.box[0].lo, crop.box[0].hi).padded(math.ceil(beyond / factor) + 8, volume.shape[0]),
            crop.box[1].padded(8, volume.shape[1]),
            crop.box[2].padded(8, volume.shape[2]),
        )
        measured = volume.read(around).nan_to_num().to(self._device)
        axial = axial.relative_to(around[0].lo - crop.box[0].lo)
        fine = restore_box(
            model,
            measured,
            factor,
            axial,
            ("xz", "yz"),
            geometry.Box(
                axial.support(len(around[0])),
                crop.box[1].shifted(-around[1].lo),
                crop.box[2].shifted(-around[2].lo),
            ),
        )
        at = Sampling(beyond - k, 1, 2 * k + 1)
        thick = self._degradation.apply(fine.permute(1, 2, 0), factor, at).permute(2, 0, 1)
        sharp = thick + (
            crop.sharp[k] - thick[k]
        )  # the same correction for all: they agree with what was measured
        return _Crop(crop.subject, crop.anisotropy, crop.box, sharp)

    def _crops(self, subject: TrainingVolume, factor: float, each: int) -> list[_Crop]:
        """The crops with the most structure of each held-out slice."""
        for edge in (_EDGE, _EDGE // 2, _EDGE // 4, _EDGE // 8):  # smaller ones between holes
            if found := self._crops_of(subject, factor, each, edge):
                break
        return found

    def _crops_of(self, subject: TrainingVolume, factor: float, each: int, edge: int) -> list[_Crop]:
        _, height, width = subject.shape
        found: list[_Crop] = []
        for z in subject.held_out:
            ys, xs = _spans(height, edge), _spans(width, edge)
            step = max(1, math.isqrt(len(ys) * len(xs) // 64))  # not all of a huge slice is looked at
            candidates: list[tuple[float, Box, Tensor]] = []
            for y in ys[::step]:
                for x in xs[::step]:
                    box = (Span(z, z + 1), y, x)
                    values = subject.read(box)[0]
                    if not values.isnan().any():
                        candidates.append((float(values.std()), box, values))
            candidates.sort(reverse=True, key=lambda c: c[0])
            for _, box, values in candidates[:each]:
                sharp = values.to(self._device).expand(2 * self._context + 1, -1, -1)
                found.append(_Crop(subject, factor, box, sharp))
        return found

    def _score(self, restore: Callable[[Tensor, float, Sampling], Tensor]) -> float:
        error, count = 0.0, 0
        for crop in self._kept:
            for sharp in (crop.sharp, crop.sharp.transpose(1, 2)):
                coarse, positions, covered = self._degradation.lesson(sharp[None], crop.anisotropy)
                restored = restore(coarse, crop.anisotropy, positions)
                target = sharp[self._context, :, covered]
                error += float((restored.squeeze() - target).square().sum())
                count += target.numel()
        return 10 * math.log10(count / max(error, 1e-12))


def _spans(size: int, edge: int) -> list[Span]:
    """Crops of at most `edge` pixels along an axis."""
    edge = min(edge, size)
    return [Span(first, first + edge) for first in range(0, size - edge + 1, edge)]
