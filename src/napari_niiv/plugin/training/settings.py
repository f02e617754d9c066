"""What the form asks for, and how it becomes a training; torch is imported only when that happens."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_niiv.errors import TrainingError
from napari_niiv.volume import Volume

if TYPE_CHECKING:
    from napari_niiv.training.config import TrainingConfig
    from napari_niiv.training.events import Event

LABELS = {
    "minutes": "budget",
    "fwhm": "FWHM",
    "steps": "number of steps",
    "batch": "batch",
    "lateral": "patch size",
    "learning_rate": "learning rate",
}


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that a training needs; None leaves a choice to the training.

    Attributes
    ----------
    volume : Volume
    output : Path
    init : str or None
        None starts from nothing.
    minutes : float
        0 leaves the steps alone to count.
    degradation : {"average", "gaussian", "skip", "measured"}
    fwhm, thickness : float
        In z steps, for "gaussian" and "skip".
    psf : Path or None
        File, for "measured".
    psf_spacing : float or None
        Its z step in the volume's unit; None takes the file's.
    loss : {"mae", "dists"}
    vgg_weights : Path or None
    steps, batch, lateral : int or None
    learning_rate : float or None
    seed : int
    device : str
    resume : bool
    """

    volume: Volume
    output: Path
    init: str | None = "em"
    minutes: float = 5.0
    degradation: str = "average"
    fwhm: float = 2.0
    thickness: float = 0.5
    psf: Path | None = None
    psf_spacing: float | None = None
    loss: str = "mae"
    vgg_weights: Path | None = None
    steps: int | None = None
    batch: int | None = None
    lateral: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    device: str = "auto"
    resume: bool = False

    def start(self) -> Generator[Event, None, None]:
        """Begin the training.

        Raises
        ------
        NiivError
            If it is not possible.
        """
        from napari_niiv.training.train import train

        return train([self.volume], self.config())

    def config(self) -> TrainingConfig:
        """The configuration of the training.

        Raises
        ------
        TrainingError, VolumeError
            If a setting is out of range, or a file unusable.
        """
        from pydantic import ValidationError

        from napari_niiv.training.config import TrainingConfig

        if not self.minutes and not self.steps:
            raise TrainingError("Give a budget of more than 0 minutes.")
        given: dict[str, Any] = {
            "output": self.output,
            "init": self.init,
            "minutes": self.minutes or None,
            "degradation": self._degradation(),
            "loss": self.loss,
            "vgg_weights": self.vgg_weights if self.loss == "dists" else None,
            "steps": self.steps,
            "batch": self.batch,
            "lateral": self.lateral,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "device": self.device,
            "resume": self.resume,
        }
        try:
            return TrainingConfig.model_validate({k: v for k, v in given.items() if v is not None})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][-1]) if first["loc"] else ""
            rule = first["msg"].removeprefix("Input ")
            raise TrainingError(
                f"The {LABELS.get(name, name)} {first['input']} {rule}; correct it."
            ) from error

    def _degradation(self) -> Any:
        if self.degradation == "gaussian":
            return {"kind": "gaussian", "fwhm": self.fwhm}
        if self.degradation == "skip":
            return {"kind": "skip", "thickness": self.thickness}
        if self.degradation == "average":
            return {"kind": "average"}
        from napari_niiv.io.psf import read_psf  # imports torch

        if self.psf is None:
            raise TrainingError("Choose the TIFF file of the measured PSF, the image of a single bead.")
        measured = read_psf(self.psf, self.volume, self.psf_spacing)
        if measured is None:
            raise TrainingError(
                f"{self.psf.name} has no z spacing in {self.volume.unit}; type it under the file's name."
            )
        return measured
