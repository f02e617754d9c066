"""The events of a training: frozen, so that threads can share them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_niiv.events import Notice as Notice


@dataclass(frozen=True)
class Preparing:
    """Work that is no optimisation: reading, or making the volumes of the second stage.

    Attributes
    ----------
    message : str
        What is being done, in words.
    fraction : float
        Part of the whole budget that is spent, 0 … 1.
    elapsed, remaining : float
        Seconds since the training began, and those left of its budget.
    """

    message: str
    fraction: float
    elapsed: float
    remaining: float


@dataclass(frozen=True)
class TrainingStep:
    """Progress, about once a second.

    Attributes
    ----------
    stage : int
        1 (each slice by itself) or 2 (with its neighbours).
    step : int
        Optimisation steps done, of both stages.
    fraction : float
        Part of the whole budget that is spent, 0 … 1.
    loss : float
        Mean loss since the last event.
    samples : float
        Patches learnt from per second, of all devices.
    elapsed, remaining : float
        Seconds since the training began, and those left as it looks now.
    """

    stage: int
    step: int
    fraction: float
    loss: float
    samples: float
    elapsed: float
    remaining: float


@dataclass(frozen=True)
class Validation:
    """The model on xy slices that it is never trained on, made coarse along y or x, beside interpolation.

    Attributes
    ----------
    stage, step : int
        As in `TrainingStep`.
    fraction : float
        Part of the whole budget that is spent, 0 … 1.
    model, linear, bicubic : float or None
        PSNR in dB (intensities 0 … 1 of the normalised volume); None where all those slices are blank, and there is
        nothing to judge by.
    checkpoint : Path or None
        Where the model was written, if it is the best so far and worth keeping.
    """

    stage: int
    step: int
    fraction: float
    model: float | None
    linear: float | None
    bicubic: float | None
    checkpoint: Path | None

    @property
    def gain(self) -> float | None:
        """PSNR above bicubic interpolation, in dB; None where there is nothing to judge by."""
        return None if self.model is None or self.bicubic is None else self.model - self.bicubic


@dataclass(frozen=True)
class Finished:
    """The end; nothing comes after.

    Attributes
    ----------
    checkpoint : Path
        The best model.
    gain : float or None
        Its PSNR above bicubic interpolation, in dB, on the xy slices held out, made coarse; None where there is
        nothing to judge by.
    steps : int
        Optimisation steps done.
    elapsed : float
        Seconds.
    """

    checkpoint: Path
    gain: float | None
    steps: int
    elapsed: float


Event = Preparing | TrainingStep | Validation | Notice | Finished
