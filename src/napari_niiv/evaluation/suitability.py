"""Whether a checkpoint suits a volume, told from the volume's own xy slices, made coarse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_niiv.empty_voxels import intact_part
from napari_niiv.errors import VolumeError
from napari_niiv.evaluation.baselines import interpolate_last
from napari_niiv.interrupt import Interrupt, never
from napari_niiv.models.checkpoint import load_model
from napari_niiv.models.niiv import Niiv
from napari_niiv.normalization import Normalization
from napari_niiv.pieces import scattered
from napari_niiv.reconstruction.trust import degradation_of
from napari_niiv.sections.repair import bridged
from napari_niiv.volume import Volume

# pixels: edge of a piece; how many are looked at, and how many of them, with the most structure, judge
_PIECE, _LOOKED_AT, _JUDGES = 192, 48, 5
# factors that say something: nothing is lost below, and a piece has too few coarse voxels above
_FACTORS = (1.5, 10.0)
# dB: less is no difference that can be seen
LEAST_GAIN = 0.3
# the bundled checkpoints for the kinds of microscopy
KINDS = ("em", "lm")


@dataclass(frozen=True)
class Suitability:
    """How well a checkpoint restores a volume's own xy slices, made coarse by the volume's anisotropy.

    Attributes
    ----------
    name : str
        Of the checkpoint.
    gain : float
        PSNR above bicubic interpolation, in dB; below 0 the checkpoint does worse.
    """

    name: str
    gain: float


def own_gains(volume: Volume, models: Sequence[Niiv], interrupt: Interrupt = never) -> list[float]:
    """PSNR above bicubic interpolation, in dB, of models on a volume's own xy slices, made coarse along y and along x.

    The xy slices are sharp, so what a model makes of them can be compared with the truth. Neighbouring slices are not
    used: they lie a z step away, those of a side view a pixel. So the gains are a little less than those of side views,
    for all models alike.

    Parameters
    ----------
    volume : Volume
        3-D; a few pieces of slices are read, those with the most structure judge.
    models : sequence of Niiv
        On any devices.
    interrupt : Interrupt
        Called between the layers of the networks.

    Returns
    -------
    list of float
        One for each model.

    Raises
    ------
    VolumeError
        If the volume is constant, cannot be read, or has slices too small to be judged by.
    """
    normalization = Normalization.of(volume)
    factor = min(max(volume.anisotropy, _FACTORS[0]), _FACTORS[1])
    pieces = [intact_part(piece, normalization.empty)[0] for piece in scattered(volume, _PIECE, _LOOKED_AT)]
    shape = pieces[0].shape
    least = math.ceil(4 * factor)
    usable = [q for p in pieces if min(p.shape) >= least and (q := normalization.apply(p)).std() > 0]
    if not usable:
        raise VolumeError(
            f"No piece of {volume.name!r} has enough pixels and structure to judge a checkpoint by (looked at "
            f"{len(pieces)}, such as {shape[0]} × {shape[1]} pixels)."
        )
    judges = sorted(usable, key=lambda p: float(p.std()), reverse=True)[:_JUDGES]
    pictures = [torch.from_numpy(np.ascontiguousarray(turned)) for p in judges for turned in (p, p.T)]
    return [_gain(model, pictures, factor, interrupt) for model in models]


def _gain(model: Niiv, pictures: Sequence[Tensor], factor: float, interrupt: Interrupt) -> float:
    error = baseline = 0.0
    slices, pixels = model.architecture.slices_seen, model.cell[1]
    for sharp in pictures:
        sharp = sharp[: len(sharp) // pixels * pixels]
        coarse, positions, covered = degradation_of(model).training_pair(sharp[None], factor)
        target = sharp[:, covered]
        with torch.inference_mode():
            given = coarse.to(model.device)
            latent = model.encode(given.expand(slices, -1, -1)[None], factor, interrupt)
            restored = model.decode(latent[:1], given, positions, factor)[0].cpu()
        bicubic = interpolate_last(coarse, factor, "bicubic")[0, :, : target.shape[1]]
        error += float((restored - target).square().sum())
        baseline += float((bicubic - target).square().sum())
    return 10 * math.log10(max(baseline, 1e-12) / max(error, 1e-12))


@dataclass(frozen=True)
class Verdict:
    """How a checkpoint suits a volume, beside the bundled ones for the kinds of microscopy.

    Attributes
    ----------
    chosen : Suitability
        Of the checkpoint that was asked about.
    best : Suitability
        Of the one that suits best; the chosen one unless another is better by `LEAST_GAIN`.
    """

    chosen: Suitability
    best: Suitability

    @property
    def better(self) -> str:
        """The checkpoint that suits better; empty if none does."""
        return self.best.name if self.best.name != self.chosen.name else ""

    @property
    def sentence(self) -> str:
        """What the user should know; empty if all is well."""
        chosen, best = self.chosen, self.best
        if self.better:
            return (
                f"{best.name} suits this volume better than {chosen.name}: on its own xy slices, made coarse, "
                f"{best.name} errs {_words(best.gain)} than cubic interpolation, {chosen.name} {_words(chosen.gain)}."
            )
        if chosen.gain < LEAST_GAIN:
            return (
                f"{chosen.name} hardly suits this volume: on its own xy slices, made coarse, it errs "
                f"{_words(chosen.gain)} than cubic interpolation; a checkpoint trained on this volume would do better."
            )
        return ""


def verdict(volume: Volume, name: str, model: Niiv, interrupt: Interrupt = never) -> Verdict:
    """Try a checkpoint, and the bundled ones for other microscopy, on a volume's own xy slices.

    Parameters
    ----------
    volume : Volume
        The first index of its T and C axes is looked at.
    name : str
        Of the checkpoint.
    model : Niiv
        Loaded from it.
    interrupt : Interrupt
        Called between the layers of the networks.

    Raises
    ------
    VolumeError
        As `own_gains`.
    """
    volume = bridged(volume.at(*(0 for _ in volume.shape[:-3])))  # blank sections would change the intensities
    others = [other for other in KINDS if other != name]
    models = [model, *(load_model(other, str(model.device)) for other in others)]
    tried = [Suitability(n, g) for n, g in zip((name, *others), own_gains(volume, models, interrupt), strict=True)]
    best = max(tried, key=lambda s: s.gain)
    better = best.gain > 0 and best.gain >= tried[0].gain + LEAST_GAIN
    return Verdict(tried[0], best if better else tried[0])


def _words(gain: float) -> str:
    """By how much errors are smaller, not in dB: a training tells those of whole slices, which are other ones."""
    change = round(100 * (10 ** (-gain / 20) - 1))
    return f"{abs(change)} % {'more' if change > 0 else 'less'}" if change else "no less"
