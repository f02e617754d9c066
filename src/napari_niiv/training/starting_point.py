"""What a training starts from: the checkpoint in use where it can be trained on, and the blur that suits it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_niiv.degradation import Average, Degradation, Gaussian
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.card import Card
from napari_niiv.models.catalog import bundled_models
from napari_niiv.models.checkpoint import read_card
from napari_niiv.training.plan import LEAST_ANISOTROPY, learns_anisotropy

EM, LM = "em", "lm"
# weights of a network beyond which minutes on a CPU teach it nothing: `em` and `lm` have below 4 million, `em-large` 11
_HEAVY = 6_000_000
# of a light microscope's axial blur, beyond its lateral one: its length in pixels, for a lens whose axial blur is three
# times its lateral one, sampled at a little more than two pixels; and the z steps between which that is believed
_BLUR_PIXELS = 6.0
_BLUR_STEPS = (0.5, 2.0)


@dataclass(frozen=True)
class StartingPoint:
    """What to start a training from.

    Attributes
    ----------
    init : str or None
        A bundled name or a path; None is nothing.
    blur : Average, Gaussian, Skip or Measured
        What suits it: the degradation to undo.
    why : str
        Why that blur, as a clause.
    notice : str
        A sentence if another checkpoint was wanted, else empty.
    """

    init: str | None
    blur: Degradation = Average()
    why: str = "sections are imaged in their whole thickness"
    notice: str = ""


def starting_point(wanted: str, anisotropy: float, gpu: bool) -> StartingPoint:
    """The checkpoint wanted, or if it cannot be trained on, the bundled one of its kind, or nothing.

    Parameters
    ----------
    wanted : str
        A bundled name or a path.
    anisotropy : float
        Of the volume; one of voxels said to be isotropic is taken as not known.
    gpu : bool
        Whether there is one to train on.

    Raises
    ------
    CheckpointError
        If the checkpoint cannot be read.
    """
    card = read_card(wanted)
    problem = _problem(wanted, card, anisotropy, gpu)
    if not problem:
        return suited(wanted, anisotropy)
    kind = _kind_of(card)
    usable = kind in bundled_models() and not _problem(kind, read_card(kind), anisotropy, gpu)
    found = suited(kind, anisotropy) if usable else StartingPoint(None)
    notice = f"{problem}: the training starts from {found.init or 'nothing'}."
    return StartingPoint(found.init, found.blur, found.why, notice)


def suited(checkpoint: str, anisotropy: float) -> StartingPoint:
    """A checkpoint as it is, with the blur along z that suits it.

    `lm` was trained on averages, as all bundled checkpoints are, for its volumes were made coarse so; but what a
    stack of light microscopy went through is a point-spread function. Of a checkpoint of the user's own, the blur is
    the one that it learnt to undo.

    Raises
    ------
    CheckpointError
        If the checkpoint cannot be read.
    """
    if checkpoint == LM:
        return StartingPoint(
            checkpoint,
            microscope_blur(anisotropy),
            "for light microscopy: the blur of a lens, three times as long as wide, in z steps of this volume",
        )
    if checkpoint in bundled_models():
        return StartingPoint(checkpoint, read_card(checkpoint).degradation)
    return StartingPoint(checkpoint, read_card(checkpoint).degradation, f"what {Path(checkpoint).name} learnt to undo")


def microscope_blur(anisotropy: float) -> Gaussian:
    """The blur that z has beyond x and y in light microscopy, told from the z step in pixels alone."""
    least, most = _BLUR_STEPS
    return Gaussian(fwhm=round(min(max(_BLUR_PIXELS / anisotropy, least), most), 1))


def _problem(name: str, card: Card, anisotropy: float, gpu: bool) -> str:
    """Why a checkpoint is not trained on; empty if it is."""
    architecture: Architecture = card.architecture
    lowest, highest = architecture.anisotropy_range
    short = Path(name).name
    if architecture.decoder == "reference":
        return f"{short} is a checkpoint of another program and cannot be trained on"
    if card.loss != "mae":
        return f"{short} learnt by {card.loss.upper()}, which needs VGG16 and takes long"
    if anisotropy >= LEAST_ANISOTROPY and not learns_anisotropy(architecture, anisotropy):
        return f"{short} is for anisotropies of {lowest:g} to {highest:g}, and this volume has {anisotropy:.3g}"
    if architecture.parameters > _HEAVY and not gpu:
        return f"{short} needs a GPU to learn something in minutes"
    return ""


def _kind_of(card: Card) -> str:
    """The bundled checkpoint of a kind of microscopy: the one trained on some of the same volumes."""
    names = {volume.name for volume in card.training_volumes}
    for kind in (EM, LM):
        if kind in bundled_models() and names & {volume.name for volume in read_card(kind).training_volumes}:
            return kind
    return EM
